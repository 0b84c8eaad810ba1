"""The closed-form denoisers: proven by Bayes on a grid and by Tweedie's formula."""

import math

import pytest
import torch

from ecgtwin.diffusion import Level
from ecgtwin.diffusion.exact import Gaussian, Mixture

LEVELS = [Level(a, math.cos(a), math.sin(a)) for a in (0.1, 0.7, 1.4)] + [Level(0.5, 0.5, 0.5), Level(1.0, 0.0, 1.0)]
MIXTURE = Mixture(
    torch.tensor([[-1.0], [0.3], [2.0]], dtype=torch.float64), 0.1, torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64)
)


def density(exact, grid):
    clean = Level(0.0, 1.0, 1e-9)  # nearly clean: the grid is far coarser than this noise is wide
    return exact.log_prob(grid[:, None], clean).exp()


@pytest.mark.parametrize("exact", [Gaussian(torch.tensor([0.7], dtype=torch.float64), 0.4), MIXTURE])
@pytest.mark.parametrize("at", LEVELS)
def test_the_denoiser_is_bayes_on_a_grid(exact, at):
    grid = torch.linspace(-6, 7, 4001, dtype=torch.float64)
    prior = density(exact, grid)
    for value in (-1.0, 0.2, 1.7):
        likelihood = torch.exp(-0.5 * ((value - at.alpha * grid) / at.sigma) ** 2)
        weight = prior * likelihood
        x = torch.tensor([[value]], dtype=torch.float64)
        assert exact(x, at).x0.item() == pytest.approx(((weight * grid).sum() / weight.sum()).item(), abs=1e-6)
        evidence = torch.log(weight.sum() * (grid[1] - grid[0]) / math.sqrt(2 * math.pi) / at.sigma)
        assert exact.log_prob(x, at).item() == pytest.approx(evidence.item(), abs=1e-6)


@pytest.mark.parametrize("shape", [(3, 2, 4), (3, 2, 2, 3)])
@pytest.mark.parametrize("at", LEVELS)
def test_tweedie(shape, at):
    """score of log p = (alpha x0 - x) / sigma², by autograd."""
    generator = torch.Generator().manual_seed(0)
    means = torch.randn((4, *shape[1:]), generator=generator, dtype=torch.float64)
    for exact in (Gaussian(means[0], 0.3), Mixture(means, 0.3, torch.ones(4, dtype=torch.float64))):
        x = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
        (score,) = torch.autograd.grad(exact.log_prob(x, at).sum(), x)
        assert torch.allclose(score, (at.alpha * exact(x, at).x0 - x) / at.sigma**2, atol=1e-9)


def test_flow_keeps_the_quantile():
    exact = Gaussian(torch.tensor([0.5, -1.0], dtype=torch.float64), torch.tensor([0.2, 3.0], dtype=torch.float64))
    t, s = LEVELS[2], LEVELS[0]
    x = torch.randn(5, 2, dtype=torch.float64)
    moved = exact.flow(x, t, s)

    def quantile(x, at):
        return (x - exact.at(at).mean) / exact.at(at).variance.sqrt()

    assert torch.allclose(quantile(x, t), quantile(moved, s))
    assert torch.allclose(exact.flow(moved, s, t), x)


def test_draw_follows_the_weights():
    drawn = MIXTURE.draw(20000, torch.Generator().manual_seed(0))
    assert drawn.shape == (20000, 1)
    share = torch.softmax(MIXTURE.component_log_prob(drawn, Level(0.0, 1.0, 0.0)), 1).mean(0)
    assert torch.allclose(share, torch.tensor([0.25, 0.5, 0.25], dtype=torch.float64), atol=0.02)
    assert drawn.mean().item() == pytest.approx(0.25 * -1 + 0.5 * 0.3 + 0.25 * 2, abs=0.03)


def test_bad_mixtures_are_refused():
    with pytest.raises(ValueError, match="one positive weight per mean"):
        Mixture(torch.zeros(2, 1), 0.1, torch.ones(3))
    with pytest.raises(ValueError, match="not negative"):
        Mixture(torch.zeros(2, 1), -0.1, torch.ones(2))
