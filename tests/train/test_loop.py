import math

import pytest
import torch
from torch import nn

from ecgtwin.train.checkpoint import load_tensors, save_tensors
from ecgtwin.train.ema import EMA
from ecgtwin.train.loop import Plan, Training, fit, stream


def start(plan=None):
    torch.manual_seed(0)
    return Training(nn.Linear(3, 2), plan or Plan(steps=12, batch=4, rate=0.1, warmup=3, bf16=False, average=0.9))


def batches(generator):
    return torch.randn(4, 3, generator=generator)


def loss(network, x, generator):
    return (network(x) - torch.randn(4, 2, generator=generator)).square().mean(), {}


def test_a_resumed_run_repeats_the_uninterrupted_one(tmp_path):
    whole = [step.figures["loss"] for step in fit(start(), batches, loss)]
    first, head = start(), []
    for step in fit(first, batches, loss):
        head.append(step.figures["loss"])
        if step.number == 5:
            first.save(tmp_path / "last.safetensors")
            break
    second = start()
    second.load(tmp_path / "last.safetensors")
    tail = [step.figures["loss"] for step in fit(second, batches, loss)]
    assert head + tail == whole
    third = start()
    list(fit(third, batches, loss))
    for name, value in third.ema.shadow.items():
        assert torch.equal(second.ema.shadow[name], value)


def test_a_loss_that_is_not_finite_stops_before_the_weights_are_touched():
    training = start()
    before = {k: v.clone() for k, v in training.network.state_dict().items()}
    with pytest.raises(FloatingPointError, match="step 0"):
        list(fit(training, batches, lambda n, x, g: (n(x).sum() * math.nan, {})))
    assert all(torch.equal(v, before[k]) for k, v in training.network.state_dict().items())


def test_the_rate_warms_up_and_falls_to_its_floor():
    plan = Plan(steps=100, batch=1, rate=1.0, warmup=10, floor=0.1)
    assert plan.rate_at(0) == pytest.approx(0.1) and plan.rate_at(9) == 1.0
    assert plan.rate_at(100) == pytest.approx(0.1) and plan.rate_at(55) == pytest.approx(0.55)


def test_the_average_has_its_closed_form():
    network = nn.Linear(1, 1, bias=False)
    network.weight.data.fill_(0.0)
    ema, expected = EMA(network, 0.5), 0.0
    for n in range(20):
        network.weight.data.fill_(float(n))
        ema.update(network)
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * n
    assert ema.shadow["weight"].item() == pytest.approx(expected, rel=1e-5)


def test_streams_depend_on_their_key_alone():
    draws = [torch.randn(3, generator=stream(*key)) for key in ((0, 1), (0, 1), (1, 0), (0, 2))]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2]) and not torch.equal(draws[0], draws[3])


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = save_tensors(tmp_path / "a.safetensors", {"x": torch.ones(2)}, {"step": 3})
    with pytest.raises(TypeError):
        save_tensors(path, {"x": torch.zeros(2)}, {"step": object()})
    tensors, meta = load_tensors(path)
    assert tensors["x"].tolist() == [1, 1] and meta == {"step": 3}
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]
