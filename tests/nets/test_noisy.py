"""The classifier of noisy samples: what it is asked, its file, and that guidance by it follows its gradient."""

import pytest
import torch

from ecgtwin.diffusion import classify
from ecgtwin.diffusion.exact import Gaussian
from ecgtwin.diffusion.objective import Objective
from ecgtwin.diffusion.schedule import cosine
from ecgtwin.nets import noisy
from ecgtwin.nets.noisy import NoisyClassifier
from ecgtwin.train.batch import stream
from ecgtwin.train.checkpoint import save_tensors
from ecgtwin.train.device import accelerator_of
from ecgtwin.train.loop import Training, fit
from ecgtwin.train.noisy import NoisyStage
from ecgtwin.train.plan import Plan

SCHEDULE = cosine(100)


def classifier(exclusive: bool = True, dims: int = 1) -> NoisyClassifier:
    torch.manual_seed(0)
    return NoisyClassifier(2, ["low", "high"], (32,), dims=dims, exclusive=exclusive)


def stage(network: NoisyClassifier, steps: int = 25) -> NoisyStage:
    target = torch.arange(64) % 2
    waves = torch.tensor([[1.0, -1, 1, -1, 1, -1, 1, -1], [1, 1, -1, -1, 1, 1, -1, -1]])
    samples = waves[target][:, None].expand(-1, 2, 8).contiguous()
    plan = Plan(steps=steps, batch=32, lr=1e-2, warmup=1, ema_decay=0.9)
    return NoisyStage(
        network, plan, Objective(SCHEDULE), samples, torch.nn.functional.one_hot(target, 2).float(), 16,
        config={"classifier": network.facts | {"space": "s"}}, inputs={},
    )  # fmt: skip


@pytest.mark.parametrize("exclusive", [True, False])
def test_it_learns_to_tell_two_clouds_apart_and_its_file_is_read_again(exclusive, tmp_path):
    network = classifier(exclusive)
    one = stage(network)
    before = one.validate(network.eval())
    training = Training(network, one.plan, accelerator=accelerator_of(cpu=True))
    list(fit(training, one))
    after = one.validate(network.eval())
    assert after["held_clean"] < 0.5 * before["held_clean"] and after["held_clean"] < after["held"]
    save_tensors(tmp_path / "c.safetensors", one.result(network), {"config": one.config})
    again = noisy.load(tmp_path / "c.safetensors", "s")
    x, logsnr = torch.randn(3, 2, 8), torch.tensor([-3.0, 0.0, 3.0])
    torch.testing.assert_close(again(x, logsnr), network(x, logsnr))
    with pytest.raises(ValueError, match="another auto-encoder"):
        noisy.load(tmp_path / "c.safetensors", "t")
    save_tensors(tmp_path / "d.safetensors", one.result(network), {"config": {}})
    with pytest.raises(ValueError, match="no noise-aware classifier"):
        noisy.load(tmp_path / "d.safetensors", "s")


def test_noise_is_the_schedules():
    one = stage(classifier())
    x0, level = torch.ones(3, 2, 8), torch.tensor([0, 50, 99])
    x, logsnr = one.noised(x0, level, torch.zeros(3, 2, 8))
    for k, i in enumerate(level.tolist()):
        at = SCHEDULE.level(i)
        torch.testing.assert_close(x[k], torch.full((2, 8), at.alpha))
        assert logsnr[k].item() == pytest.approx(at.logsnr, abs=1e-2)
    assert one.draw(stream(0, 1)).rows.max() < one.epoch


def test_guidance_adds_the_gradient_of_its_log_probability_also_in_inference_mode():
    network, prior, at = classifier(False).eval().requires_grad_(False), Gaussian(), SCHEDULE.level(40)
    toward = network.toward([["high"], []])
    x = torch.randn(2, 2, 8, generator=torch.Generator().manual_seed(3))
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network(leaf, torch.full((2,), at.logsnr))[0, 1].sigmoid().log(), leaf)
    with torch.inference_mode():
        found = classify(prior, toward, 3.0)(x.clone(), at).x0
    torch.testing.assert_close(found.clone(), prior(x, at).x0 + 3.0 * at.sigma**2 / at.alpha * gradient)
    assert not gradient[1].any()  # nothing is wanted of the second
    with pytest.raises(ValueError, match="knows low, high"):
        network.toward([["middle"]])
