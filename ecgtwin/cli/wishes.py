"""What a user's words mean to a model: free text that was confirmed, and the rhythm that goes without saying."""

from pathlib import Path

from ..ecg.record import ECG
from ..text.encoder import SentenceTransformerEncoder
from ..text.nearest import nearest
from ..twin.twin import ECGTwin

RHYTHMS = (
    "atrial fibrillation", "atrial flutter", "paced rhythm", "supraventricular tachycardia",
    "supraventricular arrhythmia", "sinus bradycardia", "sinus tachycardia", "sinus arrhythmia", "sinus rhythm",
)  # fmt: skip
"""Statements that say which rhythm an ECG is in; of several the first leads."""


def meant(
    model: ECGTwin, reports: tuple[str, ...], encoder: Path | None, accept: bool, notes: list[str]
) -> tuple[str, ...]:
    """Statements as the model knows them; free text by its nearest statement if `accept` confirms that.

    encoder: folder of the model's own text encoder. ValueError, showing the nearest with their
        cosines, where nobody confirmed.
    """
    known, loaded = [], None
    for text in reports:
        try:
            known.append(model.normalise((text,))[0])
            continue
        except ValueError as error:
            if encoder is None:
                raise ValueError(f"{error}. For free text give the text encoder's folder: --encoder PATH") from None
        loaded = loaded or SentenceTransformerEncoder(encoder)
        near = nearest(model.table, loaded, text)
        if not accept:
            shown = "\n".join(f"  {one}" for one in near)
            raise ValueError(
                f"{text!r} is no known statement; take the nearest by --accept-nearest, or name another:\n{shown}"
            )
        notes.append(f"{text!r} was taken as {near[0]}; next in meaning: {', '.join(map(str, near[1:]))}")
        known.append(near[0].statement)
    return model.normalise(known)


def with_rhythm(
    model: ECGTwin,
    reports: tuple[str, ...],
    own: tuple[str, ...],
    heart_rate: float | None,
    notes: list[str],
    reference: ECG,
) -> tuple[str, ...]:
    """The statements asked for, with the reference's own rhythm where none of them names one: no model has
    seen an ECG without a rhythm, and what it draws then is none (QRS of 180 to 300 ms in bundle branch block).

    A sinus rhythm that is called slow or fast is taken over as a sinus rhythm where a heart rate was asked for.
    own: statements of the reference; where they name no rhythm, it is read from its beats.
    """
    rhythm = next((name for name in RHYTHMS if name in own), None)
    if not reports or any(name in (*RHYTHMS, "normal ECG") for name in reports):
        return reports
    if rhythm is None:
        rhythm = read_rhythm(reference)
        if rhythm not in model.statements:
            return reports
        notes.append(
            f"no rhythm was asked for and the reference's statements name none: {rhythm} was read from its beats; "
            "ask for another if that is wrong"
        )
        return model.normalise((*reports, rhythm))
    if heart_rate is not None and rhythm in ("sinus bradycardia", "sinus tachycardia"):
        rhythm = "sinus rhythm"
    notes.append(f"no rhythm was asked for: the reference's own was taken, {rhythm}")
    return model.normalise((*reports, rhythm))


def read_rhythm(ecg: ECG) -> str:
    """Fibrillation where beats come without order and without P waves, else a sinus rhythm."""
    found = ecg.measured()
    disordered = found.regularity == "irregular" and found.p_present is False
    return "atrial fibrillation" if disordered else "sinus rhythm"
