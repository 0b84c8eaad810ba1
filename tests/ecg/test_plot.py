import re

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ecgtwin.ecg.datasets.ptbxl import read_table
from ecgtwin.ecg.leads import LEADS
from ecgtwin.ecg.plot import FOOT, GAINS, HEAD, MARGIN, PULSE, ROW, SPEED, TITLE, draw, draw_page, plot, rows_of
from ecgtwin.ecg.record import ECG
from ecgtwin.ecg.simulate import Person, simulate


@pytest.fixture(scope="module")
def pair():
    person = Person.draw(3)
    return simulate(person, "sinus rhythm", 70.0, seed=3), simulate(person, "atrial fibrillation", 100.0, seed=3)


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
@pytest.mark.parametrize("layout", ["overlay", "stacked"])
def test_pictures(pair, tmp_path, ending, layout):
    path = plot(pair[1], tmp_path / f"a.{ending}", reference=pair[0], layout=layout)
    assert path.stat().st_size > 10_000 and [p.name for p in tmp_path.iterdir()] == [path.name]


def canvas():
    figure = Figure()
    FigureCanvasAgg(figure)
    return figure


def test_the_paper_is_to_scale(pair):
    axes = canvas().add_axes((0, 0, 1, 1))
    rows = rows_of([pair[0]])
    draw(axes, pair[0], 0.0, 100.0, "black", rows, labels=False)
    strip = next(line for line in axes.lines if len(line.get_xdata()) > 4000)
    x, y = strip.get_xdata(), strip.get_ydata()
    assert x[-1] - x[0] == pytest.approx(10 * SPEED, abs=0.1)
    assert np.ptp(y) == pytest.approx(10 * np.ptp(pair[0].select(["II"]).signal), rel=1e-4)
    assert (SPEED, rows.gain) == (25.0, 10.0)


def test_an_svg_says_what_it_is(pair, tmp_path):
    from matplotlib import rc_context

    with rc_context({"svg.fonttype": "none"}):
        text = plot(pair[1], tmp_path / "a.svg", reference=pair[0]).read_text()
    for part in ("SYNTHETIC", "not for clinical diagnosis", "25 mm/s", "10 mm/mV", "aVR", "V6"):
        assert part in text


def test_an_unknown_layout_is_refused(pair, tmp_path):
    with pytest.raises(ValueError, match="'stacked'"):
        plot(pair[0], tmp_path / "a.png", layout="diagonal")


def page(ecg, reference=None, layout="overlay", title=None):
    """The axes of a page, and its height in mm."""
    axes = canvas().add_axes((0, 0, 1, 1))
    return axes, draw_page(axes, ecg, reference, layout, title)[1]


def pulses(axes):
    """Heights of the calibration pulses, the lines of six points."""
    return [np.ptp(line.get_ydata()) for line in axes.lines if len(line.get_xdata()) == 6]


def assert_nothing_is_cut(ecg, reference=None):
    """Every trace lies in its own row of its sheet, as high as it should be."""
    axes, height = page(ecg, reference)
    ecgs = [ecg] if reference is None else [reference, ecg]
    rows = rows_of(ecgs)
    traces = [line for line in axes.lines if len(line.get_xdata()) > 6]
    assert len(traces) == 13 * len(ecgs)
    edges = height - HEAD - np.cumsum([0.0, *np.add(rows.above, rows.below)])
    assert edges[-1] == pytest.approx(FOOT)
    for k, line in enumerate(traces):
        row = min(k % 13 // 4, 3)
        x, y = line.get_xdata(), line.get_ydata()[np.isfinite(line.get_ydata())]
        assert not len(y) or edges[row + 1] <= y.min() and y.max() <= edges[row]
        assert MARGIN + PULSE <= x.min() and x.max() <= MARGIN + PULSE + 10 * SPEED + 1e-6
    t = np.arange(ecg.signal.shape[1]) / ecg.rate
    shown = ecg.twelve().signal[LEADS.index("V4"), (t >= 7.5) & (t <= 10)]
    drawn = traces[-10].get_ydata()
    assert np.nanmax(drawn) - np.nanmin(drawn) == pytest.approx(rows.gain * float(np.ptp(shown)), rel=1e-4)
    return rows


@pytest.mark.parametrize(
    ("factor", "gains"), [(1, {10.0}), (3, {10.0, 5.0}), (8, {5.0, 2.5}), (40, {1.0, 0.5}), (300, {0.1})]
)
def test_nothing_is_cut_however_high(pair, factor, gains):
    large = ECG(pair[0].signal * factor, pair[0].rate, pair[0].leads)
    rows = assert_nothing_is_cut(large)
    assert rows.gain in gains and gains <= set(GAINS) and min(np.add(rows.above, rows.below)) >= ROW
    axes, _ = page(large)
    texts = " ".join(text.get_text() for text in axes.texts)
    assert f"{rows.gain:g} mm/mV" in texts and ("calibration pulse" in texts) == (rows.gain < 10)
    assert pulses(axes) == pytest.approx([rows.gain] * 4)


def test_a_spike_and_missing_samples_are_drawn(pair):
    x = pair[0].signal.copy()
    x[9, 4200:4205] = 34.0
    x[1, :1000] = np.nan
    x[6] = np.nan
    spiked = ECG(x, pair[0].rate, pair[0].leads)
    assert assert_nothing_is_cut(spiked).gain < 10
    assert_nothing_is_cut(spiked, pair[0])


def test_real_ecgs_with_hypertrophy_are_not_cut(ptbxl):
    table = read_table(ptbxl)
    rows = table[[bool({"LVH", "SEHYP", "RVH", "VCLVH"} & set(codes)) for codes in table["codes"]]]
    paths = [path for low in rows["low"] if (path := ptbxl / f"{low}.hea").is_file()][:12]
    assert len(paths) == 12
    gains = [assert_nothing_is_cut(ECG.read(path)).gain for path in paths]
    assert set(gains) <= {10.0, 5.0} and gains.count(10.0) > 6


def test_both_sheets_of_a_page_have_one_gain(pair):
    large = ECG(pair[0].signal * 8, pair[0].rate, pair[0].leads)
    axes, _ = page(pair[1], large, "stacked")
    assert len(pulses(axes)) == 8 and np.ptp(pulses(axes)) < 1e-9


def test_names_of_leads_stand_over_both_traces(pair):
    high = ECG(pair[0].signal + 2 * (np.arange(5000) < 200), pair[0].rate, pair[0].leads)
    assert (
        rows_of([pair[1], high]).names[0][0]
        == rows_of([high, pair[1]]).names[0][0]
        > rows_of([pair[1]]).names[0][0] + 10
    )


def test_words_are_short_and_apart(pair):
    axes, _ = page(pair[1], pair[0], title="a" * 500 + " $x$")
    found = [text for text in axes.texts if text.get_fontsize() in (8, 10) and text.get_position()[0] == MARGIN]
    assert len({text.get_position()[1] for text in found}) == 3
    assert len(found[0].get_text()) <= TITLE and re.search(r"reference: \d+/min, ", found[1].get_text())


def test_without_a_path_it_is_a_figure_and_other_axes_are_used(pair):
    figure = pair[0].plot()
    assert isinstance(figure, Figure) and figure.get_size_inches()[0] == pytest.approx(270 / 25.4)
    left, right = canvas().subplots(1, 2)
    assert pair[0].plot(ax=left) is left and len(left.lines) > 12 and not right.lines
    part = canvas().subfigures(1, 2)[1]
    assert pair[0].plot(fig=part) is part and len(part.axes[0].lines) > 12
    with pytest.raises(ValueError, match="one of"):
        pair[0].plot("a.png", ax=left)
    with pytest.raises(TypeError, match="expected ECGs"):
        pair[0].plot(reference="a.hea")


def test_other_file_kinds_are_refused(pair, tmp_path):
    with pytest.raises(ValueError, match="ends in .png, .svg or .pdf"):
        plot(pair[0], tmp_path / "a.bmp")
    assert not list(tmp_path.iterdir())
