"""The words of ECG reports: one clear English statement for each finding, and everything that people write for it.

`statements.csv` holds one line per statement: kind, SCP-ECG code of PTB-XL (empty where PTB-XL has none), statement,
synonyms and abbreviations, SNOMED CT codes of the PhysioNet/CinC Challenge 2021 (Reyna et al. 2021; the organisers'
`dx_mapping_scored.csv` and `dx_mapping_unscored.csv`). Its lines are sorted by kind
(rhythm, ectopy, conduction, infarction, ischemia, hypertrophy, QRS, ST-T, summary) and, within a kind, by SCP code:
**this is the order of statements everywhere.**

Text is matched exactly, after what cannot change its meaning is taken out (case, spaces, punctuation, hyphens, plurals,
British spelling). A misspelling is never corrected, since one wrong guess swaps left and right: it is an error that
names the nearest statements.
"""

import csv
import re
import unicodedata
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from importlib.resources import files
from typing import NamedTuple

ONE_FORM = {
    **{word + "s": word for word in (
        "wave change beat contraction voltage lead depolarization extrasystole ectopic disturbance delay defect block "
        "interval infarction pattern criterion rhythm attack couplet code pause aneurysm "
        "pac pvc apc apb vpc vpb vpd pvb veb svpb svpc prc pjc jpc"
    ).split()},
    "complexes": "complex", "abnormalities": "abnormality", "arrhythmias": "arrhythmia", "criteria": "criterion",
    "depolarisation": "depolarization", "depolarisations": "depolarization", "repolarisation": "repolarization",
    "pathologic": "pathological", "ekg": "ecg", "electrocardiogram": "ecg", "atrioventricular": "av",
    "1st": "first", "2nd": "second", "3rd": "third", "deg": "degree", "tach": "tachycardia", "tachy": "tachycardia",
    "brady": "bradycardia", "infarct": "infarction", "infarcts": "infarction", "mi": "infarction", "myocardial": "",
}  # fmt: skip
"""Words that mean the same in every statement."""

AGE = re.compile(
    r"\b(acute|subacute|recent|new|evolving|old|prior|previous|remote|healed|chronic"
    r"|age undetermined|undetermined age|age indeterminate|of undetermined age|possibly acute)\b"
)
NO_SITE = (
    "the site of the infarction is not given, and the inferior one is the most frequent of PTB-XL; "
    "other sites: anterior, anteroseptal, anterolateral, lateral, inferolateral, posterior"
)
ASSUMED = {
    "myocardial infarction": ("inferior myocardial infarction", NO_SITE),
    "acute myocardial infarction": ("inferior myocardial infarction", NO_SITE),
    "old myocardial infarction": ("inferior myocardial infarction", NO_SITE),
    "septal myocardial infarction": ("anteroseptal myocardial infarction", "the nearest site in the vocabulary"),
    "AMI": ("anterior myocardial infarction", "AMI is read as the SCP code, not as 'acute myocardial infarction'"),
    "tachycardia": ("sinus tachycardia", "the origin of the tachycardia is not given"),
    "fast heart rate": ("sinus tachycardia", "the origin of the tachycardia is not given"),
    "bradycardia": ("sinus bradycardia", "the origin of the bradycardia is not given"),
    "ventricular strain": ("left ventricular hypertrophy", "strain has no statement of its own"),
    "non-specific ST-T changes": ("non-specific ST changes", "ST and T changes are two statements; the other is "
                                  "'non-specific T-wave changes'"),
    "non-specific ST-T abnormality": ("non-specific ST changes", "ST and T changes are two statements; the other is "
                                      "'non-specific T-wave changes'"),
}  # fmt: skip
"""Words that leave something open -> (the statement that they are taken for, why). Reading them warns `Assumption`."""


class Assumption(UserWarning):
    """A text left something open, and the vocabulary chose: the message says what and why."""


@dataclass(frozen=True)
class Statement:
    """One line of `statements.csv`."""

    kind: str
    scp: str | None
    name: str
    synonyms: tuple[str, ...]
    snomed: tuple[str, ...]


class Reading(NamedTuple):
    """What a text was taken for, and what had to be assumed for it (None: nothing)."""

    statement: str
    assumed: str | None


def words(text: str) -> list[str]:
    """The words of a text in one form: lower case, no accents, no punctuation, singular, American spelling."""
    text = unicodedata.normalize("NFKD", text).casefold().replace("&", " and ").replace("aem", "em")
    text = "".join(c for c in text if not unicodedata.combining(c))
    return [w for w in (ONE_FORM.get(w, w) for w in re.findall(r"[^\W_]+", text)) if w]


def key(text: str) -> str:
    """What two spellings of one statement share: `key("Non-specific T waves") == key("nonspecific T-wave")`."""
    return "".join(words(text))


def read_statements() -> tuple[Statement, ...]:
    """All lines of `statements.csv`, in order."""
    with files(__package__).joinpath("statements.csv").open(encoding="utf-8", newline="") as file:
        return tuple(
            Statement(
                row["kind"],
                row["scp"] or None,
                row["statement"],
                tuple(filter(None, row["synonyms"].split(";"))),
                tuple(filter(None, row["snomed"].split(";"))),
            )
            for row in csv.DictReader(file)
        )


STATEMENTS: tuple[Statement, ...] = read_statements()
"""All statements: the 71 of PTB-XL, and those that only the Challenge and MIMIC-IV-ECG have."""
SCP: dict[str, str] = {s.scp: s.name for s in STATEMENTS if s.scp}
"""SCP code of PTB-XL -> statement."""
SNOMED: dict[str, tuple[str, ...]] = {
    code: tuple(s.name for s in STATEMENTS if code in s.snomed) for code in {c for s in STATEMENTS for c in s.snomed}
}
"""SNOMED CT code of the Challenge -> statements (ventricular bigeminy, for example, is two)."""
PLACE: dict[str, int] = {s.name: i for i, s in enumerate(STATEMENTS)}
KIND: dict[str, str] = {s.name: s.kind for s in STATEMENTS}
"""Statement -> kind."""
SYNONYM: dict[str, str] = {
    key(text): s.name
    for s in STATEMENTS
    for text in (*s.synonyms, *([s.scp] if s.scp and s.scp not in ASSUMED else []), s.name)
}
"""Key of anything that people write -> statement."""
ASSUMED_KEY = {key(text): choice for text, choice in ASSUMED.items()}


def ordered(statements: Iterable[str]) -> tuple[str, ...]:
    """Each statement once, in the order of the vocabulary; unknown ones last, by letter."""
    return tuple(sorted(set(statements), key=lambda name: (PLACE.get(name, len(PLACE)), name)))


def from_scp(codes: Iterable[str]) -> tuple[str, ...]:
    """Statements of SCP codes, such as the keys of PTB-XL's `scp_codes`. ValueError names a code that PTB-XL lacks."""
    codes = [str(code).strip().upper() for code in codes]
    for code in codes:
        if code not in SCP:
            raise ValueError(f"unknown SCP code {code!r}: expected one of the 71 of PTB-XL: {', '.join(sorted(SCP))}")
    return ordered(SCP[code] for code in codes)


def from_snomed(codes: Iterable[str | int]) -> tuple[str, ...]:
    """Statements of SNOMED CT codes, such as those behind `#Dx:` in a Challenge header.

    Codes that say nothing about the ECG (heart failure) or that have no statement here give none: `code not in SNOMED`
    tells which, for counting.
    """
    return ordered(name for code in codes for name in SNOMED.get(str(code).strip(), ()))


@dataclass(frozen=True)
class Vocabulary:
    """The statements that a model knows, and the way from anything that people write to them.

    statements: their canonical names; by default the 71 of PTB-XL. A statement that is in no list of ours (text that
    one trained on) is found under its own name only.
    """

    statements: tuple[str, ...] = tuple(SCP.values())

    def __post_init__(self):
        object.__setattr__(self, "statements", tuple(self.statements))
        seen: set[str] = set()
        for name in self.statements:
            if name in seen:
                raise ValueError(f"statement {name!r} is in the vocabulary twice: give each once")
            seen.add(name)

    def __len__(self) -> int:
        return len(self.statements)

    def __iter__(self):
        return iter(self.statements)

    def __contains__(self, statement: object) -> bool:
        return statement in self._names

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(self.statements)

    @cached_property
    def _known(self) -> dict[str, str]:
        own = {key(name): name for name in self.statements}
        return {**{k: name for k, name in SYNONYM.items() if name in self._names}, **own}

    @cached_property
    def _spellings(self) -> tuple[tuple[str, str, frozenset[str]], ...]:
        ours = [s for s in STATEMENTS if s.name in self._names]
        texts = [(text, s.name) for s in ours for text in (s.name, *s.synonyms, s.scp or s.name)]
        texts += [(name, name) for name in self.statements if name not in PLACE]
        return tuple((key(text), name, frozenset(words(text))) for text, name in texts)

    def read(self, text: str) -> Reading:
        """The statement that a text means, with what had to be assumed. ValueError names the nearest statements."""
        found = self._known.get(key(text))
        if found:
            return Reading(found, None)
        statement, why = ASSUMED_KEY.get(key(SYNONYM.get(key(text), text)), (None, None))
        if statement in self:
            return Reading(statement, why)
        aged = " ".join("acute infarction" if word == "stemi" else word for word in words(text))
        ageless = AGE.sub(" ", aged)
        if ageless != aged:
            found = self._known.get(key(ageless))
            if found and KIND.get(found) == "infarction":
                return Reading(found, "the vocabulary does not say how old an infarction is")
        raise ValueError(self._unknown(text))

    def normalise(self, text: str) -> str:
        """The canonical name of a statement: `normalise("A-fib") == "atrial fibrillation"`.

        Where the text leaves something open ("heart attack" has no site) the choice is told by an `Assumption` warning.
        ValueError: the text is not known; the message names the nearest statements.
        """
        statement, why = self.read(text)
        if why:
            warnings.warn(f"{text.strip()!r} is taken as {statement!r}: {why}", Assumption, stacklevel=2)
        return statement

    def split(self, text: str) -> tuple[str, ...]:
        """Canonical names of a report with "|" between its statements, each once, in the order given."""
        return tuple(dict.fromkeys(self.normalise(part) for part in text.split("|") if part.strip()))

    def keep(self, statements: Iterable[str]) -> tuple[str, ...]:
        """Those of the statements (canonical names) that are in this vocabulary."""
        return tuple(name for name in statements if name in self)

    def nearest(self, text: str, n: int = 4) -> tuple[str, ...]:
        """The n statements that are written most like a text: likeness of letters and shared words, best first."""
        here, shared = key(text)[:100], frozenset(words(text[:300]))
        match, best = SequenceMatcher(b=here, autojunk=False), {}
        for spelling, name, parts in self._spellings:
            match.set_seq1(spelling)
            likeness = 2 * len(shared & parts) / max(1, len(shared) + len(parts))
            likeness += match.ratio() if match.real_quick_ratio() > 0.3 else 0.0
            best[name] = max(best.get(name, 0.0), likeness)
        return tuple(sorted(best, key=lambda name: (-best[name], PLACE.get(name, len(PLACE)), name))[:n])

    def _unknown(self, text: str) -> str:
        if not text.strip():
            return "empty statement: expected a finding such as 'atrial fibrillation'; `ecgtwin statements` lists all"
        shown = text.strip() if len(text.strip()) <= 80 else text.strip()[:77] + "..."
        elsewhere = SYNONYM.get(key(text))
        what = f"unknown statement {shown!r}"
        if elsewhere:
            what = f"this model does not know {elsewhere!r}" + (f" ({shown!r})" if shown != elsewhere else "")
        return f"{what}: nearest known: {'; '.join(self.nearest(text))}. `ecgtwin statements` lists all"
