"""Generators of other kinds: exact mathematics where it is exact, and that each learns, draws, saves and goes on."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal

from ecgtwin.ecg.leads import LEADS
from ecgtwin.ecg.store.recordings import Recordings
from ecgtwin.nets.latents import Latents
from ecgtwin.text.table import StatementTable
from ecgtwin.train.batch import stream
from ecgtwin.train.checkpoint import load_tensors
from ecgtwin.train.device import accelerator_of
from ecgtwin.train.loop import Training, fit
from ecgtwin.train.run import Run
from ecgtwin.train.strict import parse
from ecgtwin.training.comparators.config import KINDS, ComparatorConfig, FlowConfig, read_config
from ecgtwin.training.comparators.flow import Coupling, Flow
from ecgtwin.training.comparators.gan import GAN
from ecgtwin.training.comparators.generate import Trained
from ecgtwin.training.comparators.stage import ComparatorStage, build, latents_of
from ecgtwin.twin import model as models
from ecgtwin.twin.condition import Condition, stack
from ecgtwin.twin.config import ModelConfig, SignalConfig

from ..tiny_store import write_store
from ..twin.tiny import CONFIG, STATEMENTS, Letters

ROOT = Path(__file__).resolve().parents[2]
PLAN = {
    "steps": 4,
    "validate_every": 2,
    "batch": 8,
    "lr": 3.0e-3,
    "warmup": 2,
    "ema_decay": 0.9,
    "drop_condition": 0.0,
    "drop_field": 0.0,
}
SMALL = {"latent": 8, "told": 16, "widths": [16, 16, 8], "fold": 8, "groups": 4}
TREE = {
    "signal": {"samples": 128},
    "text": {"width": 12, "statements": 4},
    "gan": SMALL,
    "cvae": SMALL,
    "flow": {"couplings": 3, "fold": 2, "width": 16, "depth": 1, "heads": 2},
    "ddpm": {"denoiser": {"width": 16, "depth": 1, "heads": 2, "patch": 4}, "steps": 3},
    "train": {kind: PLAN for kind in KINDS},
}
SETTINGS = parse(ComparatorConfig, TREE, "tiny")
TABLE = StatementTable.build(STATEMENTS, Letters())


@pytest.fixture(scope="module")
def codec() -> Latents:
    torch.manual_seed(0)
    return models.build_codec(parse(ModelConfig, CONFIG, "tiny")).eval().requires_grad_(False)


def told(*conditions: Condition):
    return stack(list(conditions), TABLE.lookup, SETTINGS)


def stirred(network):
    """With weights that do something: layers that start at zero would hide mistakes."""
    generator = stream(7)
    for p in network.parameters():
        p.data.add_(0.15 * torch.randn(p.shape, generator=generator))
    return network


def flow(**changes) -> Flow:
    torch.manual_seed(0)
    return Flow((4, 8), 12, FlowConfig(couplings=3, fold=2, width=16, depth=1, heads=2, **changes)).double()


CONDITIONS = (Condition(STATEMENTS[0], "male", 60, 80), Condition(STATEMENTS[2], heart_rate=50), Condition())


def conditions():
    return told(*CONDITIONS).to(torch.float64)


def test_a_new_flow_is_the_standard_normal_distribution():
    x = torch.randn(3, 4, 8, dtype=torch.float64, generator=stream(1))
    expected = Independent(Normal(torch.zeros(4, 8).double(), 1.0), 2).log_prob(x)
    # The rotations are orthogonal in float32.
    torch.testing.assert_close(flow().log_density(x, conditions()), expected, rtol=1e-5, atol=1e-5)


def test_a_coupling_of_constants_is_a_gaussian_of_known_mean_and_deviation():
    one = Coupling(4, FlowConfig(width=16, depth=1, heads=2), 0).double()
    one.turn.copy_(torch.eye(4))
    log_scale, shift = torch.tensor([0.3, -0.5]).double(), torch.tensor([1.5, -2.0]).double()
    raw = one.limit * torch.atanh(log_scale / one.limit)
    one.network.head.bias.data.copy_(torch.cat([raw, shift]))  # its weights are zero
    x, r = torch.randn(5, 4, 3, dtype=torch.float64, generator=stream(2)), torch.zeros(5, 16).double()
    y, volume = one(x, r)
    found = volume - 0.5 * (y.square() + math.log(2 * math.pi)).flatten(1).sum(1)
    # y = x exp(s) + t is standard normal: x is normal around -t exp(-s), with deviation exp(-s).
    mean, std = torch.zeros(4, 1).double(), torch.ones(4, 1).double()
    mean[2:, 0], std[2:, 0] = -shift * (-log_scale).exp(), (-log_scale).exp()
    expected = Independent(Normal(mean.expand(4, 3), std.expand(4, 3)), 2).log_prob(x)
    torch.testing.assert_close(found, expected)


def test_the_flows_volume_is_that_of_its_jacobian_and_its_inverse_is_exact():
    network, c = stirred(flow()), conditions()
    x = torch.randn(3, 4, 8, dtype=torch.float64, generator=stream(3))
    r = network.told(c)
    noise, volume = network.to_noise(x, r)
    assert volume.abs().min() > 0.1
    torch.testing.assert_close(network.from_noise(noise, r), x, rtol=1e-5, atol=1e-5)
    for k in range(3):

        def one(flat, k=k):
            return network.to_noise(flat.view(1, 4, 8), r[k : k + 1])[0].flatten()

        jacobian = torch.autograd.functional.jacobian(one, x[k].flatten())
        torch.testing.assert_close(torch.linalg.slogdet(jacobian)[1], volume[k].detach(), rtol=1e-5, atol=1e-5)


def test_the_critic_learns_from_its_own_loss_alone_and_so_does_the_generator():
    network = stirred(GAN((8, 256), 12, SETTINGS.gan))
    x, noise = torch.randn(3, 8, 256, generator=stream(4)), torch.randn(3, 8, generator=stream(5))
    c = told(*CONDITIONS)
    _, figures = network(x, c, noise, torch.zeros(3))
    grow, critic = list(network.grow.parameters()), list(network.critic.parameters())

    def slopes(loss, weights):
        found = torch.autograd.grad(loss.sum(), weights, retain_graph=True, allow_unused=True)
        return [g for g in found if g is not None and g.abs().sum() > 0]

    assert not slopes(figures["generator"], critic) and not slopes(figures["critic"], grow)
    assert len(slopes(figures["critic"], critic)) > 20 and len(slopes(figures["generator"], grow)) > 10


def learned(kind, codec, steps):
    """A comparator trained on two kinds of made-up ECGs, one for each of two statements: above and below zero."""
    torch.manual_seed(0)
    network = build(kind, SETTINGS, codec)
    shape = (8, 128) if network.sees == "signals" else (codec.channels, 128 // codec.factor)
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    c = told(*(Condition(STATEMENTS[k % 2]) for k in range(16)))
    sign = torch.tensor([1.0, -1.0]).repeat(8)[:, None, None]
    for step in range(steps):
        g = stream(9, step)
        x = sign + 0.1 * torch.randn(16, *shape, generator=g)
        noise = torch.randn(16, *network.noise_shape, generator=g)
        loss = network(x, c, noise, torch.rand(16, generator=g))[0].mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval()


@pytest.mark.parametrize(("kind", "steps"), [("cvae", 80), ("flow", 90), ("ddpm", 60)])
def test_what_was_learned_follows_the_condition(kind, steps, codec):
    network = learned(kind, codec, steps)
    noise = torch.randn(8, *network.noise_shape, generator=stream(6))
    with torch.no_grad():
        level = network.draw(told(*(Condition(STATEMENTS[k % 2]) for k in range(8))), noise).mean((1, 2))
    assert level[::2].mean() > 0.3 and level[1::2].mean() < -0.3


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_drawn_follows_the_condition_and_the_seed_and_not_the_batch(kind, codec):
    made = Trained(kind, SETTINGS, stirred(build(kind, SETTINGS, codec)).eval(), codec, TABLE)
    asked = [Condition(STATEMENTS[k % 2]) for k in range(6)]
    x = made.generate(asked, range(6))
    assert x.shape == (6, 12, 128) and x.dtype == np.float32 and np.isfinite(x).all()
    one, two, three, avr, avl, avf = (x[:, LEADS.index(name)] for name in LEADS[:6])
    np.testing.assert_allclose(three, two - one, atol=1e-5)
    np.testing.assert_allclose(avr + avl + avf, 0, atol=1e-5)
    np.testing.assert_allclose(made.generate(asked, range(6), batch=4), x, atol=1e-4)
    assert np.abs(made.generate(asked, range(1, 7)) - x).max() > 1e-3
    other = made.generate([Condition(STATEMENTS[2], heart_rate=150)] * 6, range(6))
    assert (np.abs(other - x).max((1, 2)) > 1e-4).all()
    with pytest.raises(ValueError, match="5 seeds for 6"):
        made.generate(asked, range(5))


@pytest.mark.parametrize("kind", ["gan", "flow"])
def test_a_training_that_was_interrupted_ends_as_one_that_was_not(kind, codec, tmp_path):
    settings = SETTINGS.model_copy(update={"signal": SignalConfig(samples=1024)})
    recordings = Recordings.of([write_store(tmp_path / "store", people=20, each=1)])
    device = accelerator_of(cpu=True)
    bank = latents_of(settings, recordings, codec, "key", tmp_path / "bank", device)

    def run(folder, stop=None):
        stage = ComparatorStage(kind, settings, recordings, bank, codec, "key", TABLE, device.device)
        training = Training(stage.network, stage.plan, blocks=stage.blocks, accelerator=device)
        going = Run(folder, resume=True)
        with going.of(training, stage):
            for step in fit(training, stage):
                if stage.plan.due(step.number):
                    going.keep(going.validate())
                    going.save()
                if step.number == stop:
                    return
        return load_tensors(going.weights)[0]

    whole = run(tmp_path / "whole")
    assert run(tmp_path / "parts", stop=3) is None
    parts = run(tmp_path / "parts")
    assert whole.keys() == parts.keys() and all(torch.equal(whole[k], parts[k]) for k in whole)
    made = Trained.load(tmp_path / "parts" / "weights.safetensors", codec, "key", TABLE)
    assert made.kind == kind and made.generate([Condition()], [1]).shape == (1, 12, 1024)
    with pytest.raises(ValueError, match="trained with another vae"):
        Trained.load(tmp_path / "parts" / "weights.safetensors", codec, "another", TABLE)


def test_the_configuration_builds_at_the_sizes_of_the_default_model():
    settings = read_config(ROOT / "configs" / "comparators" / "small.yaml", ["train.gan.steps=7"])
    assert settings.train.gan.steps == 7
    codec = models.load(models.DEFAULT).vae
    for kind in KINDS:
        network = build(kind, settings, codec)
        assert 0.3e6 < sum(p.numel() for p in network.parameters()) < 4e6
