"""Sampling runs without waste: the same twins as the plain loop, of tiny networks and of the shipped one."""

import pytest
import torch

from ecgtwin import Condition, ECGTwin
from ecgtwin.diffusion import bind, guide_two_ways, sample, seeded_noise
from ecgtwin.diffusion.levels import trailing
from ecgtwin.diffusion.solvers import DpmPP
from ecgtwin.twin import lean as leans
from ecgtwin.twin.lean import LeanTwin, operands, run_of

from .tiny import CONFIG, model, reference

AF = Condition("atrial fibrillation", heart_rate=110)
TWO = Condition("atrial fibrillation|complete right bundle branch block", sex="female")
TOLERANCE_MV = 1e-4
BFLOAT16_UV = 5.0


def three_calls(twin, requests, steps, base_guidance, guidance):
    """Signals by the plain loop: three calls of the network a step."""
    network, prediction = twin.parts.denoiser, twin.config.diffusion.prediction
    c = twin.conditions([r.condition for r in requests], torch.stack([r.base for r in requests]))
    c = twin.with_beats(c, requests)
    none = torch.zeros_like(c.keep_base)
    nothing = c._replace(keep_condition=none, keep_base=none, keep_draft=None if c.draft is None else none)
    branches = (bind(network, one, prediction) for one in (nothing, c._replace(keep_condition=none), c))
    noise = seeded_noise([r.seed for r in requests])
    x = noise(torch.empty(len(requests), twin.config.vae.latent, 1024 // twin.parts.vae.vae.factor))
    denoise = guide_two_ways(*branches, base_guidance, guidance)
    return twin.parts.vae.decode(sample(denoise, x, trailing(twin.schedule, steps), DpmPP(2)))


@pytest.mark.parametrize("inject", ["adax", "adaln", "cross"])
@pytest.mark.parametrize("draft", [False, True])
def test_every_kind_of_network(inject, draft):
    tiny = model(CONFIG | {"denoiser": CONFIG["denoiser"] | {"draft": draft, "inject": inject}})
    requests = [*tiny.requests(reference(1), AF, [0, 1]), *tiny.requests(reference(2), TWO, [2])]
    with torch.inference_mode():
        expected = three_calls(tiny, requests, 3, 1.5, 2.5)
        found = tiny.sample(requests, steps=3, base_guidance=1.5, guidance=2.5)
    assert (found - expected).abs().max() < TOLERANCE_MV and expected.std() > 0.01


@pytest.fixture(scope="module")
def shipped():
    return ECGTwin.from_pretrained(device="cpu")


@torch.inference_mode()
def test_twins_of_the_shipped_model_are_those_of_the_plain_loop(shipped):
    requests = [*shipped.requests(reference(1), AF, [0]), *shipped.requests(reference(2), TWO, [1])]
    requests = [r._replace(start=None, recording=None) for r in requests]  # from noise, and no noise put back
    expected = three_calls(shipped, requests, 4, 1.5, 2.5)
    found = shipped.sample(requests, steps=4, base_guidance=1.5, guidance=2.5, variety=1.0)
    assert (found - expected).abs().max() < TOLERANCE_MV
    if leans.difference(shipped.parts.denoiser.dit, torch.bfloat16, shipped.device) < leans.MISSED:
        half = ECGTwin(shipped.parts)
        half.operands = torch.bfloat16
        missed = half.sample(requests, steps=4, base_guidance=1.5, guidance=2.5, variety=1.0) - expected
        assert 0 < 1000 * missed.square().mean().sqrt() < BFLOAT16_UV


def test_gradients_go_through_the_network_itself():
    tiny = model()
    requests = tiny.requests(reference(1), AF, [0])
    c = tiny.conditions([AF], requests[0].base[None])
    denoise = run_of(tiny.parts.denoiser, c, 128, "v", trailing(tiny.schedule, 3))
    x = torch.randn(1, 4, 128, requires_grad=True)
    answer = denoise(x, tiny.schedule.level(20.0)).x0
    answer.square().sum().backward()
    assert x.grad.abs().sum() > 0
    with torch.inference_mode():
        torch.testing.assert_close(denoise(x, tiny.schedule.level(20.0)).x0, answer.detach(), atol=1e-5, rtol=1e-4)


def test_timesteps_are_worked_out_once(monkeypatch):
    tiny, asked, work = model(), [], LeanTwin.worked_out
    monkeypatch.setattr(LeanTwin, "worked_out", lambda self, times: asked.append(len(times)) or work(self, times))
    tiny.sample(tiny.requests(reference(1), AF, [0]), steps=4)
    assert asked == [4]


def test_bfloat16_where_it_is_wrong_or_slow_is_float32_with_a_warning(monkeypatch):
    tiny = model()
    network, cpu = tiny.parts.denoiser, torch.device("cpu")
    monkeypatch.setattr(leans, "quicker", lambda dtype, device: True)
    assert operands("bfloat16", network, cpu) == torch.bfloat16
    monkeypatch.setattr(leans, "difference", lambda dit, dtype, device: 0.8)
    with pytest.warns(RuntimeWarning, match="gets it wrong, by 80%"):
        assert operands("bfloat16", network, cpu) == torch.float32
    monkeypatch.setattr(leans, "quicker", lambda dtype, device: False)
    with pytest.warns(RuntimeWarning, match="no quicker"):
        assert operands("bfloat16", network, cpu) == torch.float32
    with pytest.raises(ValueError, match="expected one of float32, bfloat16"):
        operands("half", network, cpu)
