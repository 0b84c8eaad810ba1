import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ecgtwin.ecg.plot import GAIN, SPEED, draw, plot
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
    for words in ("SYNTHETIC", "not for clinical diagnosis", "25 mm/s", "10 mm/mV", "aVR", "V6"):
        assert words in text


def test_an_unknown_layout_is_refused(pair, tmp_path):
    with pytest.raises(ValueError, match="'stacked'"):
        plot(pair[0], tmp_path / "a.png", layout="diagonal")
