"""Age, sex, statements and notes as files and tables write them, cleaned in one place."""

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from ..record import ECG

NOTICE = "synthetic: counterfactual ECG made by ecgtwin; research use only, not for clinical diagnosis"
OVER_89 = 90.0
"""Ages over 89 are hidden in every data set (300, 90, 91): what is known is that they are at least this."""
SEXES = (None, "female", "male")
"""In the order of their numbers in a store."""
BROKEN = re.compile(r"[�¿½¬¦§©\x00-\x08\x0b-\x1f\x7f-\x9f]")


def number(text: Any) -> float:
    """A number, or NaN for anything else ("", "NaN", "n/a", "Unknown", infinity)."""
    try:
        value = float(str(text).strip())
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def age_of(text: Any) -> tuple[float, bool, bool]:
    """(years or NaN, over 89, implausible). Over 89 is written 90, 91 or 300; everything from 90 to 120, and 300, becomes 90."""
    age = number(text)
    if math.isnan(age):
        return math.nan, False, False
    if age == 300 or 90 <= age <= 120:
        return OVER_89, True, False
    return (age, False, False) if 0 <= age < 90 else (math.nan, False, True)


def sex_of(text: Any) -> str | None:
    """ "female" or "male" from f, F, Female, weiblich, m, M, Male; None for anything else. PTB-XL's 0 and 1 are not read here."""
    letter = str(text or "").strip().lower()
    return {"f": "female", "female": "female", "w": "female", "m": "male", "male": "male"}.get(letter)


def clean_text(text: Any) -> tuple[str, bool]:
    """(text on one line with single spaces, whether characters were lost earlier).

    UTF-8 that was read as Latin-1 ("Ã¤") is turned back; PTB-XL's capital umlauts inside small words become small.
    """
    text = str(text)
    if re.search(r"[ÃÂ][\x80-\xbf]", text):
        try:
            text = text.encode("latin-1").decode()
        except UnicodeError:
            pass
    text = re.sub(r"(?<=[a-zß])[ÄÖÜÅ]|[ÄÖÜÅ](?=[a-zß])", lambda m: m[0].lower(), text)
    broken = bool(BROKEN.search(re.sub(r"[\t\r\n]", " ", text)))
    return " ".join(BROKEN.sub(lambda m: "�" if m[0] == "�" else " " if m[0] < " " else m[0], text).split()), broken


def joined(lines: Sequence[str]) -> str:
    """Report lines as one text with "|" between them, blank ones left out."""
    kept = (" ".join(str(line).replace("|", "/").split()) for line in lines)
    return "|".join(line for line in kept if line)


def plausible_rate(value: float) -> float:
    """A heart rate in beats/min, or NaN outside 15-350."""
    return value if 15 <= value <= 350 else math.nan


def comment_fields(comments: tuple[str, ...]) -> dict[str, list[str]]:
    """The "key: value" lines of header comments, keys in lower case, values in order."""
    found: dict[str, list[str]] = {}
    for line in comments:
        key, colon, value = line.partition(":")
        if colon and value.strip():
            found.setdefault(key.strip().lower(), []).append(value.strip())
    return found


def describe(comments: Iterable[str]) -> dict[str, Any]:
    """Age, sex, reports, notes and whether it is synthetic, from header comments (ours, the Challenge's, PTBDB's)."""
    found: dict[str, Any] = {"reports": (), "notes": ()}
    for line in comments:
        key, _, value = line.strip().lstrip("#").partition(":")
        key, value = key.strip().lower(), value.strip()
        if key == "age" and re.fullmatch(r"\d{1,3}(\.\d+)?", value) and float(value) <= 120:
            found["age"] = float(value)
        elif key == "sex" and value.lower() in ("female", "f", "male", "m"):
            found["sex"] = "female" if value.lower().startswith("f") else "male"
        elif key in ("report", "statement") and value:
            found["reports"] += tuple(part.strip() for part in value.split("|") if part.strip())
        elif key == "dx" and value:
            found["reports"] += tuple(f"snomed:{code.strip()}" for code in value.split(",") if code.strip())
        elif key == "note" and value:
            found["notes"] += (value,)
        elif key == "patient" and value:
            found["patient"] = value
        elif key == "synthetic":
            found["synthetic"] = True
    return found


def comments(ecg: ECG) -> list[str]:
    """The inverse of `describe`."""
    lines = [NOTICE] if ecg.synthetic else []
    lines += [f"age: {ecg.age:g}"] if ecg.age is not None else []
    lines += [f"sex: {ecg.sex}"] if ecg.sex else []
    lines += [f"patient: {one_line(ecg.patient)}"] if ecg.patient else []
    lines += [f"report: {one_line(text)}" for text in ecg.reports]
    return lines + [f"note: {one_line(text)}" for text in ecg.notes]


def one_line(text: str) -> str:
    return " ".join(str(text).split())
