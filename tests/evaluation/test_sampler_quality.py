"""Quality of samples against real ECGs, and the two scripts that search by it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ecgtwin.diffusion.levels import trailing
from ecgtwin.diffusion.solvers import DDIM, DpmPP
from ecgtwin.ecg.store.recordings import Recordings
from ecgtwin.evaluation.sampler_quality import Panel

from .. import tiny_store
from ..twin.tiny import model

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("panel")
    tiny_store.write_store(folder / "store", people=80, each=2)
    model().save_pretrained(folder / "model")
    return folder


@pytest.fixture(scope="module")
def recordings(place):
    from ecgtwin.ecg.store import Store

    return Recordings.of([Store.open(place / "store")]).only("validation")


@pytest.fixture(scope="module")
def panel(recordings):
    return Panel(model(), recordings, 8)


def test_real_latents_are_nearer_than_noise(panel, recordings):
    m = panel.model
    z = m.parts.vae.encode(torch.from_numpy(recordings.millivolts(slice(0, 8))))
    x = recordings.millivolts(slice(0, 8))
    panel_signals = panel.signals
    panel.signals = lambda latents: x  # a perfect model
    real = panel.quality(z)
    panel.signals = panel_signals
    noise = panel.quality(torch.randn(panel.shape))
    assert abs(real.distance) < 0.2 * noise.distance and real.rate_error < 40


def test_seeds_decide_the_draw(panel):
    levels = trailing(panel.model.schedule, 3)
    a, b, c = (panel.draw(DpmPP(2), levels, seed=s) for s in (0, 0, 1))
    assert torch.equal(a, b) and not torch.allclose(a, c)
    assert not torch.allclose(a, panel.draw(DpmPP(2), levels, guidance=3.0))
    assert not torch.allclose(a, panel.draw(DpmPP(2), levels, base_guidance=2.0))


def test_guidance_one_is_the_model_s_own(panel):
    x, level = torch.randn(panel.shape), trailing(panel.model.schedule, 5)[1]
    expected = panel.model.denoiser(panel.requests, guidance=1.0, base_guidance=1.0)(x, level).x0
    torch.testing.assert_close(panel.denoiser()(x, level).x0, expected, atol=1e-4, rtol=1e-4)
    assert panel.draw(DDIM(), trailing(panel.model.schedule, 2)).isfinite().all()


def test_too_many_are_refused(recordings):
    with pytest.raises(ValueError, match="expected 8 to"):
        Panel(model(), recordings, 10_000)


def run(script, place, *more, command=None):
    where = ["--real", place / "store", "--model", place / "model"]
    line = [sys.executable, SCRIPTS / script, *([command] if command else []), *where, *more, "--json"]
    result = subprocess.run(list(map(str, line)), capture_output=True, text=True, timeout=200)
    assert result.returncode == 0, result.stderr[-2000:]
    return json.loads(result.stdout)


def test_the_bench_runs(place, tmp_path):
    found = run("bench_samplers_ecg.py", place, "--ecgs", 8, "--steps", 6, "--calls", 4, "--output", tmp_path)
    rows = {(r["sampler"], r["calls"]): r for r in found["rows"]}
    assert ("DDIM, 6 steps", 6) in rows and ("DPM-Solver++ 2M", 4) in rows and ("Heun", 3) in rows
    assert rows["DDIM", 4]["latent"] > 0 and (tmp_path / "samplers_ecg.png").stat().st_size > 10_000


def test_the_grid_finds_the_best_and_draws_it(place, tmp_path):
    more = ("--sampler", "DDIM", "--sampler", "UniPC 2", "--steps", 2, "--steps", 3, "--guidance", 1, "--guidance", 3)
    rows = run("grid.py", place, "--ecgs", 8, *more, "--output", tmp_path, command="ecg")
    assert len(rows) == 8 and (tmp_path / "grid.png").stat().st_size > 10_000
    best = [row["figures"]["kernel distance x 1000"] for row in rows]
    assert best == sorted(best) and json.loads((tmp_path / "grid.json").read_text()) == rows
    command = [sys.executable, SCRIPTS / "grid.py", "ecg", "--real", place, "--output", tmp_path, "--sampler", "Magic"]
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 2 and "DPM-Solver++ 2M" in refused.stderr
