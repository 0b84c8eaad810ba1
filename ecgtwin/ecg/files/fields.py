"""Age, sex, patient, statements and notes, as files and tables write them: read in this one place, whoever asks."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from reprlib import repr as brief
from typing import Any, NamedTuple

from ..record import ECG

NOTICE = "synthetic: counterfactual ECG made by ecgtwin; research use only, not for clinical diagnosis"
OVER_89 = 90.0
"""Ages over 89 are hidden in every data set (300, 90, 91): what is known is that they are at least this."""
SEXES = (None, "female", "male")
"""In the order of their numbers in a store."""
BLANK = {"", "n/a", "na", "nan", "none", "null", "no", "-", "?", "unknown", "unspecified", "not known", "not given"}
"""What stands for "not given"; unlike anything else that cannot be read it is not remarked on."""
FEMALE = {
    "f",
    "female",
    "w",
    "woman",
    "weiblich",
    "frau",
    "femme",
    "féminin",
    "femenino",
    "mujer",
    "femminile",
    "donna",
    "kvinna",
}
MALE = {
    "m",
    "male",
    "man",
    "männlich",
    "maennlich",
    "mann",
    "homme",
    "masculin",
    "masculino",
    "hombre",
    "maschile",
    "uomo",
}
STATEMENTS = ("report", "statement", "diagnosis", "diagnoses")
"""Keys of header comments whose values are statements."""
BROKEN = re.compile(r"[�¿½¬¦§©\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Age(NamedTuple):
    """years: 0 to 90, NaN where it is not known. over_89: at least 90. implausible: a number that no age is."""

    years: float
    over_89: bool
    implausible: bool


def number(text: Any) -> float:
    """A number, or NaN for anything else ("", "NaN", "n/a", "Unknown", infinity)."""
    try:
        value = float(str(text).strip())
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def age_of(text: Any) -> Age:
    """An age in years ("63", "63.0", "063Y", "63 years"). Over 89 is written 90, 91 or 300; everything
    from 90 to 120, and 300, is 90."""
    age = number(re.sub(r"(?<=\d)\s*(y|a|yrs?|years?( old)?|jahre?)\.?\s*$", "", str(text), flags=re.IGNORECASE))
    if math.isnan(age):
        return Age(math.nan, False, False)
    if age == 300 or 90 <= age <= 120:
        return Age(OVER_89, True, False)
    return Age(age, False, False) if 0 <= age < 90 else Age(math.nan, False, True)


def sex_of(text: Any, codes: Mapping[str, str] | None = None) -> str | None:
    """ "female" or "male" from a word or letter of several languages (f, Female, weiblich, M,
    homme); None for anything else.

    codes: what a data set's own numbers mean. Numbers alone say nothing: 1 is female in PTB-XL and male in ISO 5218.
    """
    word = str("" if text is None else text).strip().lower()
    if codes is not None and word in codes:
        return codes[word]
    return "female" if word in FEMALE else "male" if word in MALE else None


def patient_of(text: Any) -> str | None:
    """Whose recording it is; None for what stands for nobody ("", "unknown", "-1"), so that
    strangers never become one person."""
    name = one_line("" if text is None else text)
    return None if name.lower() in BLANK | {"anonymous", "anonymized", "anonymised"} or number(name) < 0 else name


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


def plausible_heart_rate(value: float) -> float:
    """A heart rate in beats/min, or NaN outside 15-350."""
    return value if 15 <= value <= 350 else math.nan


def comment_fields(comments: Iterable[str]) -> dict[str, list[str]]:
    """The "key: value" parts of header comments, keys in lower case, values in order; also
    "<age>: 65 <sex>: F" on one line."""
    found: dict[str, list[str]] = {}
    for line in comments:
        line = line.strip().lstrip("#").strip()
        parts = re.findall(r"<([^<>]+)>:?([^<]*)", line) if line.startswith("<") else [line.partition(":")[::2]]
        for key, value in parts:
            if value.strip():
                found.setdefault(key.strip().lower(), []).append(value.strip())
    return found


def statements_of(said: Mapping[str, list[str]]) -> list[str]:
    """The statements among header comments ("report: a|b"), one by one."""
    return [
        part.strip() for key in STATEMENTS for text in said.get(key, ()) for part in text.split("|") if part.strip()
    ]


def snomed_of(said: Mapping[str, list[str]]) -> list[str]:
    """The codes of "Dx: 164889003,59118001", each once."""
    codes = [code.strip() for text in said.get("dx", ()) for code in text.split(",")]
    return list(dict.fromkeys(code for code in codes if re.fullmatch(r"[0-9]+", code)))


def describe(comments: Iterable[str]) -> dict[str, Any]:
    """The fields of an ECG that header comments tell (ours, the Challenge's, PTBDB's). What cannot be
    read is noted, not dropped."""
    lines = list(comments)
    said = comment_fields(lines)
    found: dict[str, Any] = {
        "synthetic": any(line.strip().lstrip("# ").lower().startswith("synthetic:") for line in lines)
    }
    notes = list(said.get("note", ()))
    given = next(iter(said.get("age", ())), "")
    age = age_of(given)
    found["age"] = None if math.isnan(age.years) else age.years
    if age.over_89 and number(given) != OVER_89:
        notes.append(f"age {given} is kept as {OVER_89:g}: ages over 89 are one group")
    elif found["age"] is None and given.lower() not in BLANK:
        notes.append(f"age {brief(given)} was not understood: expected years")
    given = next(iter(said.get("sex", ()) or said.get("gender", ())), "")
    found["sex"] = sex_of(given)
    if found["sex"] is None and given.lower() not in BLANK | {"u", "o", "x", "other"}:
        notes.append(f"sex {brief(given)} was not understood: expected female or male")
    found["patient"] = patient_of(next(iter(said.get("patient", ())), None))
    found["reports"] = (*statements_of(said), *(f"snomed:{code}" for code in snomed_of(said)))
    return found | {"notes": tuple(notes)}


def comments(ecg: ECG) -> list[str]:
    """The inverse of `describe`."""
    lines = [NOTICE] if ecg.synthetic else []
    lines += [f"age: {ecg.age:g}"] if ecg.age is not None else []
    lines += [f"sex: {ecg.sex}"] if ecg.sex else []
    lines += [f"patient: {one_line(ecg.patient)}"] if ecg.patient else []
    lines += [f"report: {one_line(text)}" for text in ecg.reports]
    return lines + [f"note: {one_line(text)}" for text in ecg.notes]


def one_line(text: Any) -> str:
    return " ".join(str(text).split())
