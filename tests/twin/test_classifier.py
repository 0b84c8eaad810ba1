"""Classifier guidance of twins: towards the statements of a request that the classifier knows."""

import pytest
import torch

from ecgtwin import Condition
from ecgtwin.nets.noisy import NoisyClassifier
from ecgtwin.train.checkpoint import save_tensors

from . import tiny


@pytest.fixture(scope="module")
def twin():
    return tiny.model()


@pytest.fixture
def file(twin, tmp_path):
    torch.manual_seed(0)
    network = NoisyClassifier(twin.latent[0], ["atrial fibrillation"], (8,), dims=1, exclusive=False)
    facts = {"classifier": network.facts | {"space": twin.latent_space}}
    return save_tensors(tmp_path / "c.safetensors", network.state_dict(), {"config": facts})


def signal(twin, *reports, **options):
    (one,) = twin.generate(tiny.reference(), Condition(reports), steps=3, guidance=0.0, **options)
    return torch.from_numpy(one.signal)


def test_it_acts_by_its_scale_on_what_it_knows_alone(twin, file):
    judge = twin.load_classifier(file)
    known, other = "atrial fibrillation", "sinus rhythm"
    plain = signal(twin, known)
    torch.testing.assert_close(signal(twin, known, classifier=(judge, 0.0)), plain)
    assert not torch.allclose(signal(twin, known, classifier=(judge, 5.0)), plain)
    torch.testing.assert_close(signal(twin, other, classifier=(judge, 5.0)), signal(twin, other))


def test_one_of_another_auto_encoder_is_refused(twin, file):
    other = tiny.model()
    with torch.no_grad():
        next(other.parts.vae.parameters()).add_(1)
    with pytest.raises(ValueError, match="another auto-encoder"):
        other.load_classifier(file)
