import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ecgtwin.ecg.plot import GAIN, SPEED, draw, plot, words
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


def test_the_paper_is_to_scale(pair):
    figure = Figure()
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    draw(axes, pair[0], 0.0, 100.0, "black", labels=False)
    strip = next(line for line in axes.lines if len(line.get_xdata()) > 4000)
    x, y = strip.get_xdata(), strip.get_ydata()
    assert x[-1] - x[0] == pytest.approx(10 * SPEED, abs=0.1)
    assert np.ptp(y) == pytest.approx(GAIN * np.ptp(pair[0].select(["II"]).signal), rel=1e-4)
    assert (SPEED, GAIN) == (25.0, 10.0)


def test_an_svg_says_what_it_is(pair, tmp_path):
    from matplotlib import rc_context

    with rc_context({"svg.fonttype": "none"}):
        text = plot(pair[1], tmp_path / "a.svg", reference=pair[0]).read_text()
    for part in ("SYNTHETIC", "not for clinical diagnosis", "25 mm/s", "10 mm/mV", "aVR", "V6"):
        assert part in text


def test_an_unknown_layout_is_refused(pair, tmp_path):
    with pytest.raises(ValueError, match="'stacked'"):
        plot(pair[0], tmp_path / "a.png", layout="diagonal")


def test_traces_stay_on_the_paper_and_words_apart(pair, tmp_path):
    x = pair[0].signal.copy()
    x[0, 100:105] = 34.0
    spiked = ECG(x, pair[0].rate, pair[0].leads)
    figure = Figure(figsize=(5.4, 2.8), dpi=50)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 270), ylim=(0, 140))
    axes.axis("off")
    draw(axes, spiked, 20.0, 110.0, "black", labels=False)
    canvas.draw()
    dark = np.asarray(canvas.buffer_rgba())[..., 0] < 128
    assert dark[32:].any() and not dark[:28].any()  # the paper begins at 30 of 140 from the top
    axes = figure.add_axes((0, 0, 1, 1))
    words(axes, pair[1], spiked, "overlay", "a" * 500, 270.0, 140.0)
    heights = [text.get_position()[1] for text in axes.texts]
    assert len(set(heights[:3])) == 3


def test_other_file_kinds_are_refused(pair, tmp_path):
    with pytest.raises(ValueError, match="ends in .png, .svg or .pdf"):
        plot(pair[0], tmp_path / "a.bmp")
    assert not list(tmp_path.iterdir())
