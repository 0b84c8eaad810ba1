"""Tables of numbers as text: a column for each lead, named in the first row, and what is
known as "# key: value" lines."""

from pathlib import Path
from reprlib import repr as brief

import numpy as np

from ..record import ECG
from .channels import Given, Unsaid
from .fields import comments, describe
from .table import from_columns


def read(path: Path, given: Given) -> ECG:
    """Separated by commas, semicolons or tabs; with the latter two also with decimal commas, as in much of Europe."""
    text = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    remarks = [line.lstrip("# ") for line in text if line.startswith("#")]
    said = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in remarks)}
    lines = [line for line in text if line.strip() and not line.startswith("#")]
    between = next((c for c in ";\t" if lines and c in lines[0]), ",")
    rows = [(line if between == "," else line.replace(",", ".")).split(between) for line in lines]
    if len(rows) < 2:
        raise ValueError(f"{path}: expected a row of lead names and rows of numbers")
    names = [cell.strip().strip('"') for cell in rows[0]]
    if all(is_number(cell) for cell in names):
        if given.leads is None:
            raise Unsaid(
                f"{path}: {len(names)} columns without names: give the leads in the order of the columns", "leads"
            )
        names = list(given.leads)
    else:
        rows = rows[1:]
    if any(len(row) != len(names) for row in rows):
        bad = next(k for k, row in enumerate(rows) if len(row) != len(names))
        raise ValueError(f"{path}: row {bad + 1} has {len(rows[bad])} columns, {len(names)} are named")
    return from_columns(
        names, numbers(rows, path), given, str(path), said=said, known=describe(remarks) | {"name": path.stem}
    )


def numbers(rows: list[list[str]], path: Path) -> np.ndarray:
    """Cells as numbers (columns, rows), empty ones NaN."""
    try:
        return np.array([[float(cell) if cell.strip() else np.nan for cell in row] for row in rows]).T
    except ValueError:
        bad = next((r, c) for r, row in enumerate(rows) for c in row if c.strip() and not is_number(c))
        raise ValueError(
            f"{path}: {brief(bad[1].strip())} in row {bad[0] + 1} of the numbers: expected a number"
        ) from None


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def write(ecg: ECG, folder: Path, name: str) -> None:
    lines = [f"# {line}" for line in ("units: mV", f"rate: {ecg.rate!r}", *comments(ecg))]
    lines.append(",".join(ecg.leads))
    lines += [",".join(f"{v:.5f}" for v in row) for row in ecg.signal.T]
    (folder / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
