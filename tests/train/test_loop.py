import math
import shutil
from contextlib import nullcontext
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from ecgtwin.train import batch as batches
from ecgtwin.train.batch import Drawn, stream
from ecgtwin.train.checkpoint import load_tensors, save_tensors
from ecgtwin.train.ema import EMA
from ecgtwin.train.loop import Training, by_contrast, by_sample, fit
from ecgtwin.train.plan import Plan

PLAN = {"steps": 12, "batch": 8, "lr": 0.1, "warmup": 3, "ema_decay": 0.9}


class Points(NamedTuple):
    x: Tensor
    y: Tensor


class Regression:
    """Random points on a random target; the network has dropout, so that its random state matters."""

    def __init__(self, size=8):
        self.size = size

    def draw(self, generator):
        return Points(torch.randn(self.size, 3, generator=generator), torch.randn(self.size, 2, generator=generator))

    def load(self, batch):
        return batch

    def backward(self, training, batch):
        return by_sample(training, self.losses, batch)

    def losses(self, network, batch):
        error = (network(batch.x) - batch.y).square().sum(1)
        return error, {"worst": error.max()}

    def names(self, batch):
        return [f"point {k}" for k in range(len(batch.x))]


class Likeness(Regression):
    """The second half of the features is to recognise the first among all samples."""

    def backward(self, training, batch):
        return by_contrast(training, self.embed, self.compare, batch)

    def embed(self, network, batch):
        return network(batch.x), network[0].bias

    def compare(self, embeddings, parameters, batch):
        logits = embeddings @ batch.y.T + parameters.sum()
        return nn.functional.cross_entropy(logits * parameters.exp().mean(), torch.arange(len(logits))), {}


def start(dropout=0.0, accelerator=None, **more):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Dropout(dropout), nn.Linear(5, 2))
    return Training(network, Plan(**PLAN | more), accelerator=accelerator)


def losses(training, objective=None):
    return [step.figures["loss"] for step in fit(training, objective or Regression())]


def same(a, b):
    return all(torch.equal(v, b.network.state_dict()[k]) for k, v in a.network.state_dict().items())


@pytest.mark.parametrize("precision", ["float32", "bf16", "fp16"])
def test_a_resumed_run_repeats_the_uninterrupted_one(tmp_path, precision):
    whole = start(dropout=0.5, precision=precision, ema_stds=(0.1,))
    expected = losses(whole)
    first, head = start(dropout=0.5, precision=precision, ema_stds=(0.1,)), []
    for step in fit(first, Regression()):
        head.append(step.figures["loss"])
        if step.number == 5:
            first.save(tmp_path / "last.safetensors")
            break
    second = start(dropout=0.5, precision=precision, ema_stds=(0.1,))
    second.load(tmp_path / "last.safetensors")
    assert head + losses(second) == expected
    assert same(second, whole)
    for one, other in zip((whole.ema, *whole.powers), (second.ema, *second.powers), strict=True):
        for name, value in one.shadow.items():
            assert torch.equal(other.shadow[name], value)


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_accumulated_parts_give_the_whole_batch_s_gradient(parts):
    for objective in (Regression(), Likeness()):
        whole, cut = start(), start(grad_accum=parts)
        assert losses(cut, objective) == pytest.approx(losses(whole, objective), rel=1e-4)
        for name, value in whole.network.state_dict().items():
            torch.testing.assert_close(cut.network.state_dict()[name], value, rtol=1e-3, atol=1e-5)


def test_parts_must_be_equal():
    with pytest.raises(ValueError, match="batch 8 does not go into 1 processes x 3 parts"):
        start(grad_accum=3)


def test_gradient_checkpointing_changes_nothing_but_memory():
    whole, twice = start(), None
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Dropout(0.0), nn.Linear(5, 2))
    calls = []
    network[1].register_forward_hook(lambda *_: calls.append(1))
    twice = Training(network, Plan(**PLAN | {"gradient_checkpointing": True}), blocks=(nn.Tanh,))
    assert losses(twice) == losses(whole) and same(twice, whole)
    with pytest.raises(ValueError, match="no blocks"):
        Training(nn.Linear(3, 2), Plan(**PLAN | {"gradient_checkpointing": True}), blocks=(nn.Tanh,))


def test_a_block_is_computed_twice():
    class Counted(nn.Tanh):
        calls = 0

        def forward(self, x):
            Counted.calls += 1
            return super().forward(x)

    torch.manual_seed(0)
    plan = Plan(**PLAN | {"gradient_checkpointing": True, "steps": 1})
    list(fit(Training(nn.Sequential(nn.Linear(3, 2), Counted()), plan, blocks=(Counted,)), Regression()))
    assert Counted.calls == 2


def test_a_compiled_network_trains_alike():
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        pytest.skip("torch.compile needs a C++ compiler")
    assert losses(start(compile=True, steps=3)) == pytest.approx(losses(start(steps=3)), rel=1e-4)


@pytest.mark.parametrize("objective", [Regression, Likeness])
def test_a_loss_that_is_not_finite_names_step_and_sample_and_touches_no_weight(objective):
    class Broken(objective):
        def load(self, batch):
            if training.done >= 1:
                batch.x[5] = math.nan
            return batch

    for parts in (1, 2):
        training = start(grad_accum=parts)
        seen = []
        with pytest.raises(FloatingPointError, match=r"step \d.*not finite: point 5\."):
            for _ in fit(training, Broken()):
                seen = {k: v.clone() for k, v in step_weights(training).items()}
        assert training.done >= 1
        assert all(torch.equal(v, seen[k]) for k, v in step_weights(training).items())


def step_weights(training):
    return training.network.state_dict()


def test_a_stop_ends_after_the_step():
    training, steps = start(), []
    for step in fit(training, Regression()):
        steps.append(step)
        training.stop = step.number == 4
    assert [s.number for s in steps] == [1, 2, 3, 4, 5] and steps[-1].stopping and not steps[-2].stopping


def test_an_error_while_drawing_arrives():
    class Missing(Regression):
        def load(self, batch):
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(fit(start(), Missing()))


def test_batches_are_cut_and_mapped():
    whole = (torch.arange(6), None, Points(torch.arange(12).reshape(6, 2), torch.ones(6)))
    part = batches.cut(whole, 1, 3)
    assert part[0].tolist() == [2, 3] and part[1] is None and part[2].x.tolist() == [[4, 5], [6, 7]]
    assert isinstance(part[2], Points) and len(batches.tensors(whole)) == 3
    with pytest.raises(ValueError, match="6 samples do not go into 4"):
        batches.cut(whole, 0, 4)
    with pytest.raises(TypeError, match="dict"):
        batches.cut({"x": torch.ones(2)}, 0, 1)


def test_the_learning_rate_warms_up_and_falls_to_its_floor():
    plan = Plan(steps=100, batch=1, lr=1.0, warmup=10, floor=0.1)
    assert plan.lr_at(0) == pytest.approx(0.1) and plan.lr_at(9) == 1.0
    assert plan.lr_at(100) == pytest.approx(0.1) and plan.lr_at(55) == pytest.approx(0.55)


def test_decay_acts_on_matrices_alone():
    training = start()
    for group in training.optimiser.param_groups:
        assert all((p.ndim >= 2) == (group["weight_decay"] > 0) for p in group["params"])
    assert sum(len(g["params"]) for g in training.optimiser.param_groups) == 4


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


class Together:
    """What accelerate does for one of two processes, played one after the other."""

    device, num_processes, is_main_process = torch.device("cpu"), 2, True

    def __init__(self, rank, embeddings):
        self.process_index, self.embeddings = rank, embeddings

    def prepare_model(self, network):
        return network

    def no_sync(self, network):
        return nullcontext()

    def gather(self, mine):
        size = len(mine)
        torch.testing.assert_close(mine, self.embeddings[self.process_index * size : (self.process_index + 1) * size])
        return self.embeddings.clone()


def gradients(training):
    return {name: p.grad.clone() for name, p in training.network.named_parameters()}


@pytest.mark.parametrize("parts", [1, 2])
def test_the_mean_gradient_of_two_processes_is_that_of_the_whole_batch(parts):
    """A comparison of all samples is a sum over the processes' embeddings, while their gradients are averaged."""
    objective = Likeness()
    batch = objective.draw(stream(7))
    whole = start()
    objective.backward(whole, Drawn(batch, batch, 0.0))
    with torch.no_grad():
        embeddings = whole.network(batch.x)
    found = []
    for rank in range(2):
        one = start(grad_accum=parts, accelerator=Together(rank, embeddings))
        objective.backward(one, Drawn(batch, batches.cut(batch, rank, 2), 0.0))
        found.append(gradients(one))
    for name, expected in gradients(whole).items():
        torch.testing.assert_close((found[0][name] + found[1][name]) / 2, expected, atol=1e-6, rtol=1e-4)


def test_the_gradient_that_acts_is_clipped():
    training, norms = start(grad_clip=0.01), []
    step = training.optimiser.step

    def watched(*arguments, **options):
        norms.append(torch.stack([p.grad.norm() for p in training.network.parameters()]).norm().item())
        return step(*arguments, **options)

    training.optimiser.step = watched
    before = [s.figures["norm"] for s in fit(training, Regression())]
    assert min(before) > 0.1 and norms == pytest.approx([0.01] * len(before), rel=1e-3)
