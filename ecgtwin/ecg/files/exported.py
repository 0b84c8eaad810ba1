"""What ECG machines and their archives export: DICOM, GE MUSE XML, Philips Sierra XML, HL7 aECG,
SCP-ECG, EDF, ISHNE and others.

Decoded by ecgdatakit (Apache-2.0, extra `formats`). Taken over are the leads in mV, the rate, sex, age and the
statements of the report; who the patient is stays behind unless it is asked for.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..record import ECG
from .channels import Given, factor, standard_leads
from .fields import age_of, clean_text, sex_of


@dataclass(frozen=True)
class Kind:
    """One kind of exported file. marks: bytes one of which stands in the beginning, in small letters;
    at: where, None: anywhere."""

    name: str
    endings: tuple[str, ...]
    marks: tuple[bytes, ...]
    at: int | None = None

    def begins(self, head: bytes) -> bool:
        """Whether a file that begins with these bytes is of this kind; XML in 16 bits a letter too."""
        if self.at is not None:
            return any(head[self.at :].startswith(mark) for mark in self.marks)
        text = head.replace(b"\x00", b"").lower()
        return any(mark in text for mark in self.marks)


KINDS = (
    Kind("dicom", (".dcm", ".dicom"), (b"DICM",), 128),
    Kind("muse", (".xml",), (b"<restingecg>", b"<restingecg ", b"<museinfo")),
    Kind("sierra", (".xml",), (b"<restingecgdata",)),
    Kind("aecg", (".xml", ".aecg"), (b"annotatedecg",)),
    Kind("scp", (".scp",), (b"SCPECG",), 16),
    Kind("edf", (".edf",), (b"0       ",), 0),
    Kind("ishne", (".ecg", ".ishne"), (b"ISHNE1.0", b"ANN  1.0"), 0),
)


def read(path: Path, given: Given) -> ECG:
    """An exported file. ImportError, saying what to install, without the extra; ValueError
    for what cannot be decoded."""
    try:
        from ecgdatakit.exceptions import ECGDataKitError
        from ecgdatakit.parsing import FileParser
    except ImportError as error:
        raise ImportError(
            f"{path.name}: this kind of file needs: in a clone of ecgtwin run pip install '.[formats]' ({error})"
        ) from None
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            record = FileParser.parse(path)
        except (ECGDataKitError, ValueError, KeyError, IndexError, ArithmeticError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: cannot be decoded: {error}") from None
    rows, rate = samples(record.leads, given, path)
    found, kept, left = standard_leads(given.leads or [lead.label for lead in record.leads], str(path))
    about: dict[str, Any] = {"sex": sex_of(record.patient.sex)}
    age, _, implausible = age_of("" if record.patient.age is None else record.patient.age)
    about["age"] = None if np.isnan(age) else age
    notes = [*left, *dict.fromkeys(clean_text(w.message)[0] for w in said if issubclass(w.category, UserWarning))]
    notes += [f"age {record.patient.age} is not plausible, left out"] if implausible else []
    statements = [clean_text(" ".join(str(s[0]).split()))[0] for s in record.interpretation.statements]
    series = str(record.raw_metadata.get("series_description", ""))
    return ECG(
        rows[kept],
        rate,
        found,
        patient=(record.patient.patient_id or None) if given.identify else None,
        reports=tuple(dict.fromkeys(s for s in statements if s)),
        name=path.stem,
        synthetic=series.lower().startswith("synthetic"),
        notes=tuple(notes),
        **about,
    )


def samples(leads: list, given: Given, path: Path) -> tuple[np.ndarray, float]:
    """(leads, samples) in mV and the rate in Hz; ValueError where channels differ in rate or
    length, or nobody says the unit."""
    rates = {float(lead.sampling_rate) for lead in leads if standard(lead.label)} or {
        float(lead.sampling_rate) for lead in leads
    }
    if len(rates) != 1 and given.rate is None:
        raise ValueError(
            f"{path}: leads of {', '.join(f'{r:g}' for r in sorted(rates))} Hz in one file: expected one rate"
        )
    if len(rates) == 1 and given.rate not in (None, *rates):
        raise ValueError(
            f"{path}: the file says {min(rates):g} Hz, but {given.rate:g} Hz were given: leave the rate out"
        )
    rate = given.rate or rates.pop()
    if not leads:
        raise ValueError(f"{path}: no lead in it")
    if given.leads is not None and len(given.leads) != len(leads):
        raise ValueError(f"{path}: leads names {len(given.leads)} channels, the file has {len(leads)}")
    longest = max(len(lead.samples) for lead in leads if standard(lead.label) or given.leads)
    rows = np.full((len(leads), longest), np.nan)
    for row, lead in zip(rows, leads, strict=True):
        if given.leads is None and not standard(lead.label):
            continue  # a marker channel may have a rate and a unit of its own
        if len(lead.samples) != longest:
            raise ValueError(f"{path}: lead {lead.label} has {len(lead.samples)} samples, others {longest}")
        unit = given.units or (None if lead.is_raw else lead.units)
        if not unit:
            raise ValueError(f"{path}: lead {lead.label} does not say its unit: pass units='mV', 'uV' or 'V'")
        row[:] = np.asarray(lead.samples) * factor(unit, str(path))
    return rows, rate


def standard(label: str) -> bool:
    from ..leads import canonical

    try:
        return bool(canonical(label))
    except ValueError:
        return False
