"""Does an ECG show what a statement says, by the criteria that readers use? Simple rules on
measurements, no learned part.

Criteria after the AHA/ACCF/HRS recommendations (Surawicz et al. 2009, doi:10.1161/CIRCULATIONAHA.108.191095; Hancock et
al. 2009, doi:10.1161/CIRCULATIONAHA.108.191097; Rautaharju et al. 2009, doi:10.1161/CIRCULATIONAHA.108.191096), as far
as `Measurements` can tell. They are coarser than a reader: a rule that holds does not make the diagnosis, and
statements without a clear rule have none.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..ecg.intervals import Measurements

Check = Callable[[Measurements], bool | None]


@dataclass(frozen=True)
class Rule:
    """text: the criterion in words. holds: True, False, or None where it cannot be measured."""

    text: str
    holds: Check


def within(name: str, low: float = -1e9, high: float = 1e9) -> Check:
    def holds(m: Measurements) -> bool | None:
        value = getattr(m, name)
        return None if value is None else bool(low <= value < high)

    return holds


def wave(lead: str, of: Callable) -> Check:
    """A check of one lead's `Amplitudes`."""

    def holds(m: Measurements) -> bool | None:
        row = (m.amplitudes or {}).get(lead)
        return None if row is None else of(row)

    return holds


def several(leads: Sequence[str], of: Callable, least: int = 2) -> Check:
    """At least `least` of these leads pass; None where too few of them can be measured."""

    def holds(m: Measurements) -> bool | None:
        found = [of(m.amplitudes[lead]) for lead in leads if lead in (m.amplitudes or {})]
        found = [x for x in found if x is not None]
        return None if len(found) < least else sum(found) >= least

    return holds


def any_of(*checks: Check) -> Check:
    def holds(m: Measurements) -> bool | None:
        found = [check(m) for check in checks]
        return True if True in found else None if None in found else False

    return holds


def said(name: str, value: object) -> Check:
    def holds(m: Measurements) -> bool | None:
        found = getattr(m, name)
        return None if found is None else found == value

    return holds


def cornell(m: Measurements) -> bool | None:
    rows = m.amplitudes or {}
    return None if not {"aVL", "V3"} <= rows.keys() else rows["aVL"].r - rows["V3"].s > 2.8


def low_limbs(m: Measurements) -> bool | None:
    rows = [m.amplitudes[lead] for lead in LIMBS if lead in (m.amplitudes or {})]
    return None if len(rows) < 6 else all(row.r - min(row.q, row.s) < 0.55 for row in rows)


LIMBS = ("I", "II", "III", "aVR", "aVL", "aVF")
MOST = ("I", "II", "III", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
P_WAVES = Rule("a P wave in front of QRS", said("p_present", True))
NO_P = Rule("no P wave in front of QRS", said("p_present", False))
REGULAR = Rule(
    "not irregular: the usual RR intervals vary by at most 8 %",
    lambda m: None if m.regularity is None else m.regularity != "irregular",
)
IRREGULAR = Rule("irregular: the usual RR intervals vary by more than 8 %", said("regularity", "irregular"))
BROAD = Rule("QRS at least 120 ms", within("qrs", 120))
EARLY = Rule("an RR interval below 0.75 or above 1.33 of the median", within("odd_fraction", 1e-6))
TALL = Rule(
    "S V1 + R V5 at least 3.5 mV, or R aVL above 1.1 mV, or R aVL + S V3 above 2.8 mV",
    any_of(within("sokolow", 3.5), wave("aVL", lambda w: w.r > 1.1), cornell),
)
LONG_PR = Rule("PR above 200 ms", within("pr", 200.001))


def q_waves(leads: Sequence[str]) -> Rule:
    return Rule(f"Q of at least 0.1 mV in two of {', '.join(leads)}", several(leads, lambda w: w.q <= -0.1))


def lost_r(leads: Sequence[str]) -> Rule:
    return Rule(
        f"Q of at least 0.1 mV or R below 0.3 mV in two of {', '.join(leads)}",
        several(leads, lambda w: w.q <= -0.1 or w.r < 0.3),
    )


def ischemic(leads: Sequence[str]) -> Rule:
    return Rule(
        f"ST at or below -0.05 mV or T at or below -0.1 mV in two of {', '.join(leads)}",
        several(leads, lambda w: w.st <= -0.05 or (w.t is not None and w.t <= -0.1)),
    )


ANTERIOR, SEPTAL, LATERAL, INFERIOR = (
    ("V2", "V3", "V4"),
    ("V1", "V2", "V3"),
    ("I", "aVL", "V5", "V6"),
    ("II", "III", "aVF"),
)
RULES: dict[str, tuple[Rule, ...]] = {
    "atrial fibrillation": (IRREGULAR, NO_P),
    "sinus rhythm": (P_WAVES, REGULAR),
    "sinus arrhythmia": (P_WAVES, Rule("RR intervals vary by more than 5 %", within("rr_variation", 0.05))),
    "sinus bradycardia": (Rule("heart rate below 60/min", within("heart_rate", 0, 60)), P_WAVES),
    "sinus tachycardia": (Rule("heart rate above 100/min", within("heart_rate", 100.001)),),
    "supraventricular tachycardia": (Rule("heart rate above 100/min", within("heart_rate", 100.001)), REGULAR),
    "paced rhythm": (BROAD,),
    "atrial premature complex": (EARLY,),
    "ventricular premature complex": (EARLY,),
    "bigeminy": (Rule("RR intervals vary by more than 15 %", within("rr_variation", 0.15)),),
    "trigeminy": (EARLY,),
    "first degree AV block": (LONG_PR,),
    "prolonged PR interval": (LONG_PR,),
    "complete left bundle branch block": (
        BROAD,
        Rule("V1 mostly negative", wave("V1", lambda w: -min(w.q, w.s) > w.r)),
        Rule(
            "R larger than S in V6 or in I", any_of(wave("V6", lambda w: w.r > -w.s), wave("I", lambda w: w.r > -w.s))
        ),
    ),
    "complete right bundle branch block": (
        BROAD,
        Rule("V1 ends upright: R larger than the S that follows it", wave("V1", lambda w: w.r > -w.s)),
        Rule(
            "S of at least 0.1 mV in I or V6",
            any_of(wave("I", lambda w: w.s <= -0.1), wave("V6", lambda w: w.s <= -0.1)),
        ),
    ),
    "incomplete left bundle branch block": (Rule("QRS 100 to 120 ms", within("qrs", 100, 120.001)),),
    "incomplete right bundle branch block": (Rule("QRS 90 to 120 ms", within("qrs", 90, 120.001)),),
    "non-specific intraventricular conduction disturbance": (Rule("QRS above 110 ms", within("qrs", 110.001)),),
    "left anterior fascicular block": (Rule("axis -90 to -30 degrees", within("qrs_axis", -90, -30)),),
    "left posterior fascicular block": (Rule("axis above 90 degrees", within("qrs_axis", 90)),),
    "Wolff-Parkinson-White syndrome": (
        Rule("PR below 120 ms", within("pr", 0, 120)),
        Rule("QRS above 110 ms", within("qrs", 110.001)),
    ),
    "left ventricular hypertrophy": (TALL,),
    "voltage criteria for left ventricular hypertrophy": (TALL,),
    "high QRS voltage": (TALL,),
    "right ventricular hypertrophy": (
        Rule("R larger than S in V1", wave("V1", lambda w: w.r > -w.s)),
        Rule("axis above 90 degrees", within("qrs_axis", 90)),
    ),
    "low QRS voltage": (Rule("QRS below 0.55 mV from top to bottom in all limb leads", low_limbs),),
    "left atrial enlargement": (Rule("P at least 120 ms", within("p", 120)),),
    "right atrial enlargement": (
        Rule("P above 0.25 mV in II", wave("II", lambda w: None if w.p is None else w.p > 0.25)),
    ),
    "anterior myocardial infarction": (lost_r(ANTERIOR),),
    "anteroseptal myocardial infarction": (lost_r(SEPTAL),),
    "anterolateral myocardial infarction": (lost_r((*ANTERIOR, "V5", "V6", "I", "aVL")),),
    "lateral myocardial infarction": (q_waves(LATERAL),),
    "inferior myocardial infarction": (q_waves(INFERIOR),),
    "inferolateral myocardial infarction": (q_waves(INFERIOR),),
    "Q waves present": (q_waves(MOST),),
    "ischemic ST-T changes in anterolateral leads": (ischemic((*ANTERIOR, *LATERAL)),),
    "ischemic ST-T changes in anterior leads": (ischemic(ANTERIOR),),
    "ischemic ST-T changes in anteroseptal leads": (ischemic(SEPTAL),),
    "ischemic ST-T changes in inferolateral leads": (ischemic((*INFERIOR, *LATERAL)),),
    "ischemic ST-T changes in inferior leads": (ischemic(INFERIOR),),
    "ischemic ST-T changes in lateral leads": (ischemic(LATERAL),),
    "inverted T waves": (
        Rule("T at or below -0.1 mV in two leads", several(MOST, lambda w: None if w.t is None else w.t <= -0.1)),
    ),
    "low amplitude T waves": (
        Rule(
            "T below 0.1 mV in three of I, II, V4-V6",
            several(("I", "II", "V4", "V5", "V6"), lambda w: None if w.t is None else abs(w.t) < 0.1, 3),
        ),
    ),
    "non-specific ST depression": (
        Rule("ST at or below -0.05 mV in two leads", several(MOST, lambda w: w.st <= -0.05)),
    ),
    "non-specific ST elevation": (Rule("ST at or above 0.1 mV in two leads", several(MOST, lambda w: w.st >= 0.1)),),
    "long QT interval": (Rule("QTc (Fridericia) at least 460 ms", within("qtc_fridericia", 460)),),
    "normal ECG": (
        P_WAVES,
        Rule("PR 110 to 200 ms", within("pr", 110, 200.001)),
        Rule("QRS below 120 ms", within("qrs", 0, 120)),
        Rule("QTc (Fridericia) below 460 ms", within("qtc_fridericia", 0, 460)),
        Rule("axis -30 to 105 degrees", within("qrs_axis", -30, 105)),
    ),
}
"""Criteria by statement of the vocabulary. A statement that is not here cannot be checked by rules."""


def check(statements: Sequence[str], found: Measurements) -> list[tuple[str, Rule, bool | None]]:
    """(statement, rule, whether it holds) for every rule of every statement that has one."""
    return [(name, rule, rule.holds(found)) for name in statements for rule in RULES.get(name, ())]


def validity(statements: Sequence[str], found: Measurements, heart_rate: float | None = None) -> float | None:
    """The share of rules that hold, a rate within 10 % of the one asked for being one of them; None
    where nothing can be checked."""
    results = [ok for _, _, ok in check(statements, found) if ok is not None]
    if heart_rate is not None and found.heart_rate is not None:
        results.append(abs(found.heart_rate - heart_rate) <= 0.1 * heart_rate)
    return sum(results) / len(results) if results else None
