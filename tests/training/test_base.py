import math

import pytest
import torch

from ecgtwin.training.base import Contrasted, contrast

from ..twin.test_base import conditions, extractor


def scale(temperature=0.07):
    return torch.tensor(-math.log(temperature))


def test_uniform_similarity_costs_log_batch():
    ones = torch.ones(7, 4)
    assert contrast(ones, ones, torch.arange(7), scale()).item() == pytest.approx(math.log(7), rel=1e-5)


def test_other_ecgs_of_a_patient_are_no_negatives():
    a, b = torch.randn(4, 8), torch.randn(4, 8)
    one = contrast(a, b, torch.tensor([0, 1, 2, 2]), scale())
    # Rows 2 and 3 are one patient: neither may count as the other's negative.
    normal = torch.nn.functional.normalize
    full = scale().exp() * normal(a, dim=-1) @ normal(b, dim=-1).T
    full[2, 3] = full[3, 2] = float("-inf")
    target, cross = torch.arange(4), torch.nn.functional.cross_entropy
    assert one.item() == pytest.approx(((cross(full, target) + cross(full.T, target)) / 2).item(), rel=1e-5)
    assert one.item() < contrast(a, b, torch.arange(4), scale()).item()


def test_same_views_and_low_temperature_cost_nothing():
    a = torch.eye(5)
    assert contrast(a, a, torch.arange(5), scale(0.01)).item() < 1e-6


def test_the_temperature_is_learned_with_the_extractor():
    network = Contrasted(extractor())
    base, log_scale = network(torch.randn(2, 4, 8), conditions())
    assert log_scale.item() == pytest.approx(-math.log(0.07), rel=1e-5)
    contrast(base, base.flip(0), torch.arange(2), log_scale).backward()
    assert network.scale.grad is not None and network.scale.grad != 0
