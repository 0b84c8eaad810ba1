import numpy as np
import pytest

from ecgtwin.ecg.leads import INDEPENDENT, LEADS, canonical, complete, derive_limb


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("AVR", "aVR"),
        ("avf", "aVF"),
        ("i", "I"),
        ("Lead II", "II"),
        ("v1", "V1"),
        ("MLII", "II"),
        (" V6 ", "V6"),
        ("ecg_v2", "V2"),
    ]
    + [("V1-", "V1"), ("DIII", "III")],
)
def test_spellings(given, name):
    assert canonical(given) == name


@pytest.mark.parametrize("given", ["vx", "V7", "", "MCL1", "PLETH", "IV"])
def test_other_channels_are_refused(given):
    with pytest.raises(ValueError, match="expected one of"):
        canonical(given)


def test_the_limb_leads_obey_einthoven_and_goldberger():
    one, two = np.random.default_rng(0).standard_normal((2, 50))
    x = derive_limb(one, two)
    np.testing.assert_allclose(x["I"] + x["III"], x["II"], atol=1e-12)
    np.testing.assert_allclose(x["aVR"] + x["aVL"] + x["aVF"], 0, atol=1e-12)


@pytest.mark.parametrize(
    "pair", [("I", "II"), ("II", "III"), ("I", "aVF"), ("aVL", "aVF"), ("aVR", "III"), ("aVR", "aVL")]
)
def test_any_two_limb_leads_give_the_others(pair):
    rng = np.random.default_rng(1)
    full = derive_limb(*rng.standard_normal((2, 30)))
    chest = {f"V{k}": rng.standard_normal(30) for k in range(1, 7)}
    found = complete({name: full[name] for name in pair} | chest, LEADS)
    for name, row in zip(LEADS, found, strict=True):
        np.testing.assert_allclose(row, (full | chest)[name], atol=1e-5)


def test_a_missing_lead_is_named():
    x = {name: np.zeros(3) for name in INDEPENDENT if name != "V4"}
    with pytest.raises(ValueError, match="V4 are needed.*precordial leads cannot be derived"):
        complete(x, INDEPENDENT)
    with pytest.raises(ValueError, match="II are needed"):
        complete({"I": np.zeros(3)}, ("I", "II"))


def test_an_inverted_lead_is_not_taken_for_the_lead():
    with pytest.raises(ValueError, match="inverted: change its sign and call it aVR"):
        canonical("-aVR")
