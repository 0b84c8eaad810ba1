"""pandas data frames: a column for each lead, and what else is known in the frame's attrs."""

from reprlib import repr as brief
from typing import Any

import numpy as np
import pandas as pd

from ..leads import canonical
from ..record import ECG, wrong_source
from .channels import Given
from .table import from_columns

FIELDS = ("patient", "sex", "age", "reports", "name", "synthetic", "notes")
"""Of the ECG, kept in attrs."""


def read(table: pd.DataFrame, given: Given) -> ECG:
    """See `ECG.from_dataframe`."""
    if not isinstance(table, pd.DataFrame):
        raise TypeError(
            wrong_source(table)
            if not isinstance(table, pd.Series)
            else "a Series has one column: use table.to_frame('II')"
        )
    index = table.index
    if isinstance(index, (pd.TimedeltaIndex, pd.DatetimeIndex)):
        since = index - index[0] if len(index) else index
        table = table.assign(**{"time": since / pd.Timedelta(seconds=1)})
    elif str(index.name or "").lower().startswith("time"):
        table = table.reset_index()
    names, values = [], []
    for name, column in table.items():
        try:
            values.append(pd.to_numeric(column).to_numpy(np.float64, na_value=np.nan))
            names.append(str(name))
        except (TypeError, ValueError) as error:
            if is_lead(name):
                raise ValueError(f"column {brief(name)}: expected numbers ({str(error)[:100]})") from None
    if not values:
        raise ValueError(
            f"the table has columns {brief(list(map(str, table.columns)))}: expected a column for each lead"
        )
    said = {"rate": repr(table.attrs["rate"])} if "rate" in table.attrs else {}
    said |= {"units": str(table.attrs["units"])} if "units" in table.attrs else {}
    known = {name: table.attrs[name] for name in FIELDS if name in table.attrs}
    return from_columns(names, np.stack(values), given, "the table", said=said, known=known)


def is_lead(name: Any) -> bool:
    try:
        canonical(str(name))
    except ValueError:
        return False
    return True


def write(ecg: ECG) -> pd.DataFrame:
    """See `ECG.to_dataframe`."""
    time = pd.Index(np.arange(ecg.signal.shape[1]) / ecg.rate, name="time (s)")
    table = pd.DataFrame(ecg.signal.T, index=time, columns=list(ecg.leads))
    table.attrs |= {"rate": ecg.rate, "units": "mV"} | {name: getattr(ecg, name) for name in FIELDS}
    return table
