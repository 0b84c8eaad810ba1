import numpy as np
import pytest

from ecgtwin.ecg.leads import INDEPENDENT
from ecgtwin.ecg.quality import prepare
from ecgtwin.ecg.record import ECG
from ecgtwin.ecg.simulate import Person, simulate


@pytest.fixture(scope="module")
def good():
    return simulate(Person.draw(3), "sinus rhythm", 70.0, seed=3)


def changed(ecg, change):
    x = ecg.signal.copy()
    change(x)
    return ECG(x, ecg.rate, ecg.leads)


def test_a_good_ecg_passes_unchanged(good):
    ready = prepare(good)
    assert ready.leads == INDEPENDENT and ready.notes == ()
    np.testing.assert_array_equal(ready.signal, good.select(INDEPENDENT).signal)


def test_missing_samples(good):
    def change(x):
        x[3, 100:120] = np.nan

    with pytest.raises(ValueError, match="lead aVR has 20 samples that are not finite.*0.20 s and 0.24 s"):
        prepare(changed(good, change))


@pytest.mark.parametrize("how", ["zero", "constant for most of the time"])
def test_a_flat_lead(good, how):
    def change(x):
        x[8, : 5000 if how == "zero" else 2600] = 0.0

    with pytest.raises(ValueError, match="flat lead: V3"):
        prepare(changed(good, change))


def test_too_short_and_longer(good):
    with pytest.raises(ValueError, match="3.0 s long: 10 s are needed"):
        prepare(good.crop(0, 3))
    long = ECG(np.tile(good.signal, 2), good.rate, good.leads)
    ready = prepare(long, start=4)
    assert ready.signal.shape == (8, 5000) and "10 s from 4 s of 20.0 s" in ready.notes[0]


def test_offsets_are_removed_and_said(good):
    ready = prepare(changed(good, lambda x: np.add(x, 3.0, out=x)))
    assert abs(np.median(ready.signal[3])) < 1e-3 and "V2 +3.0" in ready.notes[0]


@pytest.mark.parametrize(
    ("scale", "advice"), [(1000, "give units uV; if they are counts"), (1e-3, "units V"), (0.0, "flat lead: I, II")]
)
def test_wrong_units(good, scale, advice):
    with pytest.raises(ValueError, match=advice):
        prepare(changed(good, lambda x: np.multiply(x, scale, out=x)))


def test_too_slow(good):
    with pytest.raises(ValueError, match="50 Hz"):
        prepare(ECG(np.random.randn(12, 400), 40, good.leads))


def test_one_lead_in_microvolts_is_named(good):
    with pytest.raises(ValueError, match="in V3: no heart makes that"):
        prepare(changed(good, lambda x: np.multiply(x[8], 1000, out=x[8])))


def test_one_artefact_is_not_a_wrong_unit(good):
    def change(x):
        x[8, 700:705] = 34.0  # mV, as in one PTB-XL record

    assert prepare(changed(good, change)).signal[4].max() > 30
