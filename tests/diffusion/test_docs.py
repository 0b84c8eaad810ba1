"""docs/samplers.md runs as it stands, and leaves out no sampler."""

import math
import re
from pathlib import Path

import pytest
import torch

from ecgtwin.diffusion import Level, levels, sample, solvers
from ecgtwin.diffusion.exact import Gaussian
from ecgtwin.diffusion.solvers import DpmPP

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "samplers.md").read_text(encoding="utf-8")
FIRST, ADDED = re.findall(r"```python\n(.*?)```", PAGE, re.S)


def test_the_first_example_runs():
    names: dict = {}
    exec(FIRST, names)
    assert names["x0"].shape == (3, 4, 128) and torch.isfinite(names["x0"]).all()


def test_a_sampler_of_ten_lines():
    names: dict = {}
    exec(ADDED, names)
    body = ADDED[ADDED.index("@dataclass") :].strip().splitlines()
    assert len([line for line in body if line.strip()]) <= 10

    def grid(steps):
        angles = [math.atan(math.exp(2 - 4 * k / steps)) for k in range(steps + 1)]  # even in log-SNR, from -4 to 4
        return [Level(a, math.cos(a), math.sin(a)) for a in angles]

    exact = Gaussian(0.3, 0.4)
    x = torch.randn(3, 4, 8, dtype=torch.float64)
    leaning = names["Leaning"]()
    assert torch.allclose(sample(exact, x, grid(9), leaning), sample(exact, x, grid(9), DpmPP(2)), atol=1e-12)
    errors = []
    for steps in (80, 160):
        visited = grid(steps)
        errors.append((sample(exact, x, visited, leaning) - exact.flow(x, visited[0], visited[-1])).abs().max().item())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(leaning.order, abs=0.15)


def test_every_sampler_and_spacing_is_on_the_page():
    classes = [
        name
        for name in solvers.__all__
        if isinstance(getattr(solvers, name), type) and hasattr(getattr(solvers, name), "step")
    ]
    missing = [name for name in classes if name != "Solver" and f"`{name}(" not in PAGE]
    assert not missing
    for spacing in ("trailing", "leading", "linspace", "karras", "uniform_logsnr", "at_indices", "respace"):
        assert hasattr(levels, spacing) and f"`{spacing}`" in PAGE
