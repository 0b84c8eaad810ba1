import numpy as np
import pytest

from ecgtwin.ecg.leads import LEADS
from ecgtwin.ecg.record import ECG


def ecg(samples=5000, rate=500.0, leads=LEADS, **more):
    x = np.random.default_rng(0).standard_normal((len(leads), samples)).astype(np.float32) * 0.3
    return ECG(x, rate, leads, **more)


@pytest.mark.parametrize("rate", [500.0, 1000.0, 257.0])
@pytest.mark.parametrize("new", [102.4, 100.0, 360.0])
def test_resampling_keeps_a_sine(rate, new):
    t = np.arange(int(10 * rate)) / rate
    frequencies = (1.0, 7.0, 0.4 * min(rate, new))
    x = np.stack([np.sin(2 * np.pi * f * t + 0.3) for f in frequencies])
    y = ECG(x, rate, ("I", "II", "V1")).resample(new)
    assert y.rate == new and abs(y.seconds - 10) <= 1 / new
    t = np.arange(y.signal.shape[1]) / new
    expected = np.stack([np.sin(2 * np.pi * f * t + 0.3) for f in frequencies])
    inner = slice(int(0.5 * new), -int(0.5 * new))
    assert np.abs(y.signal - expected)[:, inner].max() < 0.01
    assert np.abs(y.signal - expected)[:2].max() < 0.05  # also at the edges, for what an ECG is made of


def test_resampling_does_not_alias():
    t = np.arange(5000) / 500
    y = ECG(np.sin(2 * np.pi * 80 * t)[None], 500, ("I",)).resample(100)
    assert np.abs(y.signal[:, 50:-50]).max() < 0.01


def test_resampling_does_not_ring_at_the_edges():
    step = np.linspace(0, 3, 5000)[None]  # a slope: cyclic resampling would ring where its ends meet
    y = ECG(step, 500, ("I",)).resample(102.4)
    np.testing.assert_allclose(y.signal[0], np.arange(1024) / 102.4 * 500 * 3 / 4999, atol=2e-3)


def test_select_and_twelve():
    full = ecg()
    eight = full.select(["I", "II", "V1", "V2", "V3", "V4", "V5", "V6"])
    twelve = eight.twelve()
    assert twelve.leads == LEADS
    np.testing.assert_allclose(twelve.signal[2], full.signal[1] - full.signal[0], atol=1e-6)
    np.testing.assert_array_equal(full.select(["v3"]).signal[0], full.signal[8])


def test_crop():
    assert ecg().crop(2, 3).signal.shape == (12, 1500)
    np.testing.assert_array_equal(ecg().crop(2, 3).signal, ecg().signal[:, 1000:2500])
    with pytest.raises(ValueError, match="9 s from 2 s"):
        ecg().crop(2, 9)


@pytest.mark.parametrize(
    ("signal", "rate", "leads", "message"),
    [
        (np.zeros((2, 5)), 100, ("I",), "1 leads"),
        (np.zeros(5), 100, ("I",), "shape"),
        (np.zeros((2, 5)), 100, ("I", "i"), "once"),
        (np.zeros((1, 5)), 0, ("I",), "rate 0"),
        (np.zeros((1, 5)), float("nan"), ("I",), "rate nan"),
        (np.zeros((1, 5)), 100, ("X",), "expected one of"),
    ],
)
def test_what_does_not_fit_is_refused(signal, rate, leads, message):
    with pytest.raises(ValueError, match=message):
        ECG(signal, rate, leads)


@pytest.mark.parametrize(("field", "value"), [("sex", "banana"), ("age", -1.0), ("age", float("nan"))])
def test_whose_it_is_must_make_sense(field, value):
    with pytest.raises(ValueError, match=field):
        ecg(**{field: value})


def test_one_report_is_one_report():
    assert ecg(reports="atrial fibrillation").reports == ("atrial fibrillation",)


@pytest.mark.parametrize("rate", [0, -5, float("nan"), float("inf")])
def test_a_rate_that_is_none(rate):
    with pytest.raises(ValueError, match="positive number of Hz"):
        ecg().resample(rate)


def test_nothing_to_resample_and_nothing_to_crop():
    with pytest.raises(ValueError, match="no samples"):
        ECG(np.zeros((1, 0)), 500, ("I",)).resample(100)
    for start, seconds in ((1, -2), (1, 0), (float("nan"), 2)):
        with pytest.raises(ValueError, match="positive number of seconds"):
            ecg().crop(start, seconds)


def test_it_cannot_be_changed():
    with pytest.raises(ValueError):
        ecg().signal[0, 0] = 1
    with pytest.raises(AttributeError):
        ecg().rate = 3


def test_wrong_kinds_get_a_sentence_that_shows_the_way(tmp_path):
    import pandas as pd

    table = pd.DataFrame({"I": [0.1, 0.2]})
    x = np.zeros((1, 5))
    for make, message in (
        (lambda: ECG(table, 100, ("I",)), "ECG.from_dataframe"),
        (lambda: ECG("a.hea", 100, ("I",)), "ECG.read"),
        (lambda: ECG(tmp_path, 100, ("I",)), "ECG.read"),
        (lambda: ECG(ecg(), 100, ("I",)), "an ECG already"),
        (lambda: ECG([["a"]], 100, ("I",)), "array .leads, samples. of numbers"),
        (lambda: ECG(x.astype(complex), 100, ("I",)), "array .leads, samples. of numbers"),
        (lambda: ECG(None, 100, ("I",)), "array .leads, samples. of numbers"),
        (lambda: ECG(x, "100", ("I",)), "rate '100'"),
        (lambda: ECG(x, None, ("I",)), "rate None"),
        (lambda: ECG(x, 100, "I"), "leads 'I'"),
        (lambda: ECG(x, 100, None), "leads None"),
        (lambda: ECG(x, 100, ("I",), age="63"), "age '63'"),
        (lambda: ECG(x, 100, ("I",), reports=(3,)), "reports"),
        (lambda: ECG.read(table), "ECG.from_dataframe"),
        (lambda: ECG.read(x), r"ECG\(array, rate, leads\)"),
        (lambda: ECG.read(ecg()), "an ECG already"),
        (lambda: ECG.read(None), "the path of a file"),
        (lambda: ECG.read("a.csv", leads="I"), "leads 'I'"),
        (lambda: ECG.from_dataframe(x), r"ECG\(array, rate, leads\)"),
        (lambda: ECG.from_dataframe("a.csv"), "ECG.read"),
    ):
        with pytest.raises(TypeError, match=message):
            make()


def test_samples_by_leads_are_turned():
    one = ecg()
    np.testing.assert_array_equal(ECG(one.signal.T, 500, LEADS).signal, one.signal)
    np.testing.assert_array_equal(ECG(np.arange(4).reshape(2, 2), 500, ("I", "II")).signal, [[0, 1], [2, 3]])


def test_one_line_about_it():
    one = ecg(name="a\nb", sex="female", age=63.0, reports=("x" * 500, "y"), synthetic=True)
    text = repr(one)
    assert "\n" not in text and len(text) < 160
    assert text.startswith("<ECG a b, 12 leads, 10 s at 500 Hz, female, 63 years") and text.endswith("synthetic>")


def test_a_notebook_shows_the_sheet():
    assert ecg()._repr_png_().startswith(b"\x89PNG") and "data:image/png;base64," in ecg(name="<b>")._repr_html_()
    assert "<b>" not in ecg(name="<b>")._repr_html_()
    few = ECG(np.random.randn(1, 5000), 500, ("II",))
    assert few._repr_png_() is None and "1 leads" in few._repr_html_()


def test_data_frames_are_inverse():
    import pandas as pd

    one = ecg(
        rate=102.4, samples=1024, sex="male", age=44.0, patient="p", reports=("sinus rhythm",), name="n", notes=("a",)
    )
    two = ECG.from_dataframe(one.to_dataframe())
    np.testing.assert_array_equal(two.signal, one.signal)
    for name in ("rate", "leads", "sex", "age", "patient", "reports", "name", "notes"):
        assert getattr(two, name) == getattr(one, name), name
    table = pd.DataFrame({"ii (uV)": [100.0, 200.0], "who": ["a", "b"], "time_ms": [0, 4]})
    three = ECG.from_dataframe(table)
    assert three.rate == 250 and three.leads == ("II",) and three.signal[0, 1] == np.float32(0.2)
    timed = pd.DataFrame({"I": [0.1, 0.2, 0.3]}, index=pd.to_timedelta([0, 2, 4], unit="ms"))
    assert ECG.from_dataframe(timed).rate == 500
    with pytest.raises(ValueError, match="no sampling rate"):
        ECG.from_dataframe(pd.DataFrame({"I": [0.1, 0.2]}))
    with pytest.raises(ValueError, match="column 'I': expected numbers"):
        ECG.from_dataframe(pd.DataFrame({"I": ["a", "b"]}), rate=5)


def test_a_rate_beyond_any_recorder_is_refused():
    for rate in (1e7, 1e308, float("inf")):
        with pytest.raises(ValueError, match="at most 1,000,000"):
            ECG(np.zeros((1, 5)), rate, ("I",))
        with pytest.raises(ValueError, match="at most 1,000,000"):
            ecg().resample(rate)
    with pytest.raises(ValueError, match="were asked of"):
        ecg().crop(1e308, 1e308)
