"""The twelve leads: their names in any spelling, and the limb leads that follow from two of
them (Einthoven, Goldberger)."""

import re
from collections.abc import Mapping
from reprlib import repr as brief

import numpy as np

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
INDEPENDENT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
LIMB = LEADS[:6]

_KNOWN = {name.lower(): name for name in LEADS} | {
    "1": "I",
    "2": "II",
    "3": "III",
    "mli": "I",
    "mlii": "II",
    "mliii": "III",
}
_KNOWN |= {"di": "I", "dii": "II", "diii": "III", "d1": "I", "d2": "II", "d3": "III"}  # French, Spanish, Portuguese


def canonical(name: str) -> str:
    """The standard spelling of a lead: "AVR", "avr", "Lead aVR", "v1" … ValueError for anything else, also "-aVR"."""
    text = re.sub(r"^(lead|ecg|derivation)[\s_:-]*", "", str(name).strip().lower())
    found = _KNOWN.get(re.sub(r"[\s_.-]+", "", text))
    if found and text[0] in "-−":
        raise ValueError(f"lead {brief(name)} is inverted: change its sign and call it {found}")
    if found is None:
        raise ValueError(f"lead {brief(name)}: expected one of {', '.join(LEADS)} in any spelling")
    return found


def derive_limb(one: np.ndarray, two: np.ndarray) -> dict[str, np.ndarray]:
    """All six limb leads of I and II: III = II - I, aVR = -(I + II)/2, aVL = I - II/2, aVF = II - I/2."""
    return {"I": one, "II": two, "III": two - one, "aVR": -(one + two) / 2, "aVL": one - two / 2, "aVF": two - one / 2}


def with_limbs(signals: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """These leads, and the other limb leads where I and II are among them."""
    return dict(signals) | (derive_limb(signals["I"], signals["II"]) if {"I", "II"} <= signals.keys() else {})


# I and II as combinations (a, b) of two other limb leads; every pair of limb leads determines the frontal plane.
_IN_TERMS = {"I": (1, 0), "II": (0, 1), "III": (-1, 1), "aVR": (-0.5, -0.5), "aVL": (1, -0.5), "aVF": (-0.5, 1)}


def complete(signals: Mapping[str, np.ndarray], wanted: tuple[str, ...]) -> np.ndarray:
    """The wanted leads (leads, samples), limb leads derived from any two others; ValueError names what is missing."""
    limb = [name for name in LIMB if name in signals]
    have = dict(signals)
    if any(name in LIMB and name not in have for name in wanted) and len(limb) >= 2:
        first, second = limb[:2]
        inverse = np.linalg.inv(np.array([_IN_TERMS[first], _IN_TERMS[second]], float))
        pair = np.stack([signals[first], signals[second]]).astype(np.float64)
        one, two = (signals.get(n, inverse[k] @ pair) for k, n in enumerate(("I", "II")))
        have = derive_limb(np.asarray(one, np.float64), np.asarray(two, np.float64)) | have
    missing = [name for name in wanted if name not in have]
    if missing:
        advice = "limb leads can be derived from any two of them; precordial leads cannot be derived"
        raise ValueError(f"ECG has leads {', '.join(signals)} but {', '.join(missing)} are needed too: {advice}")
    return np.stack([np.asarray(have[name], np.float32) for name in wanted])
