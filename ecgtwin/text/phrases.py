"""Lines that ECG machines print, as MIMIC-IV-ECG's `report_0` ... `report_17` hold them, as statements.

A line is taken apart at "with", "and", commas and dashes, and every part must be a known statement once its qualifiers
(how sure, how old, how often) are gone. What is only weighed ("consider ...", "cannot rule out ...") is not a finding
and gives nothing; "possible", "probable" and "borderline" findings count. Territory lines ("Inferior ST-T changes may
be due to myocardial ischemia") are read by their pattern. The rate behind "rapid ventricular response" is left to the
measured heart rate.
"""

import re

from .statements import SYNONYM, key, ordered, words

TERRITORY = {
    "anterior": ("anterior",),
    "anteroseptal": ("anteroseptal",),
    "antseptal": ("anteroseptal",),
    "anteriorseptal": ("anteroseptal",),
    "septal": ("anteroseptal",),
    "lateral": ("lateral",),
    "highlateral": ("lateral",),
    "anterolateral": ("anterolateral",),
    "anteriorlateral": ("anterolateral",),
    "inferior": ("inferior",),
    "inferolateral": ("inferolateral",),
    "inferiorlateral": ("inferolateral",),
    "inferiorandlateral": ("inferolateral",),
    "anteriorandlateral": ("anterolateral",),
    "antseptalandlateral": ("anteroseptal", "lateral"),
    "septalandlateral": ("anteroseptal", "lateral"),
    "inferiorandanterior": ("inferior", "anterior"),
    "inferiorandantseptal": ("inferior", "anteroseptal"),
    "inferiorandseptal": ("inferior", "anteroseptal"),
    "widespread": (),
    "extensive": (),
    "diffuse": (),
    "generalized": (),
    "": (),
}
"""Where a change is -> leads of the ischemic statements; none: no place is claimed."""

PLACE_WORDS = (
    r"(?P<place>(?:(?:ant|anterior|anteroseptal|septal|lateral|high|anterolateral|inferior|inferolateral|and"
    r"|widespread|extensive|diffuse|generalized) )*)"
)
DEGREE = r"^(?:minor |marked |mild |moderate )?"
CHANGE = re.compile(
    rf"{DEGREE}{PLACE_WORDS}(?P<what>st t|st|t) (?:wave |segment )?(?:change|abnormality)"
    r"(?: (?P<verb>may be|is probably|are probably|is|are|suggest|suggests|probably) (?P<cause>.*))?$"
)
SHIFT = re.compile(
    rf"{DEGREE}{PLACE_WORDS}(?P<what>st (?:segment |junctional )?(?:elevation|depression)|t wave inversion)"
    r"(?P<rest>| (?:is|are|consider|probably|possibly|cannot|suggest|suggests|accompanies|may) .*)$"
)
ISCHEMIA = re.compile(r"^(?:due to )?(?:infarction )?(?:injury ischemia|injury|ischemia)\b")
LESS = re.compile(
    r"\b(possible|possibly|probable|probably|likely|borderline|marked|markedly|moderate|mild|minor|frequent|occasional"
    r"|rare|multiple|multifocal|multiform|consecutive|nonsustained|acute|recent|old|chronic|age undetermined"
    r"|undetermined age|age indeterminate|uncertain rhythm|runs? of|pattern)\b"
)
NOT_A_FINDING = re.compile(
    r"\b(consider|cannot (rule out|exclude)|cannot be (ruled out|excluded)|rule out|not excluded|omitted"
    r"|lead placement|lead reversal|compared|previous ecg|report|analysis|artifact|unreadable|no longer|normal variant"
    r"|not suggested|criterion not met|no significant|without|no evidence|rhythm undetermined)\b"
)
RATE = re.compile(
    r"\b(with|and) (a )?(uncontrolled|controlled|rapid|slow|moderate) ventricular (response|rate)\b|\b(with )?rvr\b"
)
WHOLE = {
    key(text): statements
    for text, statements in {
        "LVH with secondary repolarization abnormality": ("left ventricular hypertrophy", "ventricular strain"),
        "Left ventricular hypertrophy with ST-T changes": ("left ventricular hypertrophy", "ventricular strain"),
        "Nonspecific ST-T changes": ("non-specific ST changes", "non-specific T-wave changes"),
        "Nonspecific ST-T abnormality": ("non-specific ST changes", "non-specific T-wave changes"),
        "Nonspecific ST-T wave changes": ("non-specific ST changes", "non-specific T-wave changes"),
        "Nonspecific ST and T wave abnormality": ("non-specific ST changes", "non-specific T-wave changes"),
        "Nonspecific ST and T wave changes": ("non-specific ST changes", "non-specific T-wave changes"),
        "Bifascicular block": ("complete right bundle branch block", "left anterior fascicular block"),
        "RBBB with LAFB": ("complete right bundle branch block", "left anterior fascicular block"),
        "WPW pattern": ("Wolff-Parkinson-White syndrome",),
        "Otherwise normal ECG": ("normal ECG",),
        "Normal ECG except for rate": (),
        "Demand pacemaker; interpretation is based on intrinsic rhythm": (),
        "Atrial fibrillation/flutter": ("atrial fibrillation", "atrial flutter"),
    }.items()
}
"""Lines that their parts would mislead about."""


def from_phrase(text: str) -> tuple[str, ...]:
    """The statements that one printed line makes, in the order of the vocabulary; none where it makes no clear one.

    "Sinus rhythm with 1st degree A-V block" -> sinus rhythm, first degree AV block. Any of `statements.csv` may come;
    `Vocabulary.keep` leaves those that a model knows.
    """
    return ordered(_read(re.sub(r"\([^)]*\)?", " ", text)) or _read(text))


def _read(text: str) -> tuple[str, ...]:
    line = " ".join(words(text)).replace("non specific", "nonspecific")
    if key(text) in WHOLE:
        return WHOLE[key(text)]
    known = SYNONYM.get("".join(line.split()))
    if known:
        return (known,)
    line = RATE.sub("", line).strip()
    for pattern, reading in ((CHANGE, _change), (SHIFT, _shift)):
        match = pattern.match(line)
        if match:
            return reading(match)
    head = re.split(r"[;:,]|\s[-–—]\s", text)
    if len(head) > 1:
        return _head_and_rest(head)
    return _parts(line)


def _head_and_rest(pieces: list[str]) -> tuple[str, ...]:
    """Findings on either side of commas and dashes count, up to the first that is only weighed."""
    found: tuple[str, ...] = ()
    for piece in pieces:
        if NOT_A_FINDING.search(" ".join(words(piece))):
            break
        found += _read(piece)
    return found


def _parts(line: str) -> tuple[str, ...]:
    """Parts of "A with B and C": all must be understood, else none is taken, so that half a meaning is never kept."""
    if NOT_A_FINDING.search(line):
        return ()
    found = []
    for part in re.split(r"\b(?:with|and)\b", line):
        name = _one(part.strip())
        if part.strip() and name is None:
            return ()
        found += [name] if name else []
    return tuple(found)


def _one(part: str) -> str | None:
    for trial in (part, LESS.sub(" ", part)):
        name = SYNONYM.get("".join(trial.split()))
        if name:
            return name
    return None


def _change(match: re.Match) -> tuple[str, ...]:
    """A "<place> ST|T|ST-T changes <cause>" line."""
    what, cause = match["what"], match["cause"] or ""
    if "normal variant" in cause or "age and gender" in cause or "normal" in cause.split() or "resolved" in cause:
        return ()
    if ISCHEMIA.match(cause):
        return _ischemia(match["place"])
    names = {"st": "non-specific ST changes", "t": "non-specific T-wave changes"}
    return tuple(names[letter] for letter in what.split())


def _ischemia(place: str) -> tuple[str, ...]:
    territory = TERRITORY.get("".join(place.split()))
    if not territory:
        return ("non-specific ischemic ST-T changes",)
    return tuple(f"ischemic ST-T changes in {leads} leads" for leads in territory)


def _shift(match: re.Match) -> tuple[str, ...]:
    """A "<place> ST elevation|depression ..." or "T wave inversion" line: the shift is seen, its cause is a guess."""
    names = {
        "elevation": "non-specific ST elevation",
        "depression": "non-specific ST depression",
        "inversion": "inverted T waves",
    }
    return (names[match["what"].split()[-1]],)
