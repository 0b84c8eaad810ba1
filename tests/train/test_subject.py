"""The stage of subjects: which samples a batch has, what learns, and that it learns a known answer."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from ecgtwin.train.batch import Drawn, stream
from ecgtwin.train.device import accelerator_of
from ecgtwin.train.loop import Training, fit
from ecgtwin.train.subject import Samples, SubjectPlan, SubjectStage, joined


class Told(NamedTuple):
    number: Tensor
    nothing: Tensor | None = None


class Squared:
    """An objective whose loss is the squared distance of x0 from what the network answers."""

    def draw(self, n, generator, part=1.0):
        return torch.zeros(n)

    def losses(self, network, condition, x0, i, eps):
        return (network(condition.number) - x0).square().flatten(1).mean(1)


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.known, self.learned = nn.Parameter(torch.zeros(3), requires_grad=False), nn.Parameter(torch.zeros(3))

    def forward(self, number):
        return torch.where(number[:, None] > 0, self.learned, self.known)


def stage(prior: float = 0.25, steps: int = 120) -> SubjectStage:
    plan = SubjectPlan(steps=steps, batch=8, lr=0.1, warmup=1, prior=prior, ema_decay=0.9, weight_decay=0.0)
    own = Samples(torch.arange(3.0).repeat(5, 1), Told(torch.ones(5)))
    others = Samples(torch.zeros(4, 3), Told(torch.zeros(4)))
    return SubjectStage(Named(), plan, Squared(), own, others, blocks=(), config={}, inputs={})


def test_a_batch_has_its_share_of_the_class_and_what_learns_finds_the_subject():
    found = stage()
    batch = found.draw(stream(0, 1))
    assert ((batch.rows >= 5).sum(), (batch.rows < 5).sum()) == (2, 6)
    assert (stage(prior=0.0).draw(stream(0, 1)).rows < 5).all()
    loaded = found.load(batch)
    assert torch.equal(loaded.condition.number, (batch.rows < 5).float()) and loaded.condition.nothing is None
    training = Training(found.network, found.plan, accelerator=accelerator_of(cpu=True))
    *_, last = fit(training, found)
    assert last.figures["loss"] < 1e-3
    assert set(found.result(found.network)) == {"learned"}
    torch.testing.assert_close(found.network.learned.detach(), torch.arange(3.0), atol=0.05, rtol=0)
    assert not found.network.known.any()
    assert found.names(batch)[-1].endswith("of the class") and isinstance(
        found.backward(training, Drawn(batch, loaded, 0.0)).broken, list
    )


def test_samples_are_joined_with_all_that_they_are_told():
    both = joined(Samples(torch.ones(2, 3), Told(torch.ones(2))), Samples(torch.zeros(1, 3), Told(torch.zeros(1))))
    assert both.x0.shape == (3, 3) and both.condition.number.tolist() == [1, 1, 0] and both.condition.nothing is None
    mixed = Samples(torch.ones(1, 3), Told(torch.ones(1), torch.ones(1)))
    with pytest.raises(ValueError, match="others have not"):
        joined(mixed, Samples(torch.zeros(1, 3), Told(torch.zeros(1))))


def test_what_does_not_learn_stays_bit_for_bit():
    found = stage(steps=2)
    with torch.no_grad():
        found.network.known.copy_(torch.tensor([-0.0, 1.0, -0.0]))
    training = Training(found.network, found.plan, accelerator=accelerator_of(cpu=True))
    list(fit(training, found))
    found.finish(training.ema.shadow)
    assert torch.signbit(found.network.known).tolist() == [True, False, True]
    assert (
        torch.equal(found.network.learned, training.ema.shadow["learned"]) and not found.network.learned.requires_grad
    )
