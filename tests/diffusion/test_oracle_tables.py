"""Tables, spacings and straight flows against diffusers."""

import pytest
import torch

from ecgtwin.diffusion import Flow, Schedule, bind, cosine, linear, sample, scaled_linear, zero_terminal_snr
from ecgtwin.diffusion.levels import karras, leading, linspace, trailing
from ecgtwin.diffusion.solvers import Euler, Heun

diffusers = pytest.importorskip("diffusers", reason="the oracle is diffusers: pip install diffusers")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

TABLES = {
    "linear": {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02},
    "scaled linear": {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
}
OURS = {"linear": linear(), "scaled linear": scaled_linear(), "cosine": cosine()}
SHAPES = [(2, 4, 8), (2, 4, 3, 5)]


@pytest.mark.parametrize("table", TABLES)
def test_tables(table):
    theirs = diffusers.DDPMScheduler(**TABLES[table]).alphas_cumprod.double()
    assert torch.allclose(OURS[table].alpha_bar, theirs, rtol=2e-4, atol=1e-7)  # theirs is a product in float32
    theirs = diffusers.DDIMScheduler(**TABLES[table], rescale_betas_zero_snr=True).alphas_cumprod.double()
    assert torch.allclose(zero_terminal_snr(OURS[table]).alpha_bar, theirs, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 3, 7, 20, 30, 50, 999])
def test_spacings(steps):
    for ours, name in ((trailing, "trailing"), (leading, "leading"), (linspace, "linspace")):
        theirs = diffusers.DDPMScheduler(timestep_spacing=name)
        theirs.set_timesteps(steps)
        if name == "linspace" and steps == 1:
            continue  # theirs visits index 0 alone, where there is nothing left to remove; ours the noisiest
        assert [level.t for level in ours(linear(), steps)[:-1]] == theirs.timesteps.tolist()


@pytest.mark.parametrize("steps", [2, 10, 25])
def test_karras_spacing(steps):
    theirs = diffusers.EulerDiscreteScheduler(**TABLES["scaled linear"], use_karras_sigmas=True)
    theirs.set_timesteps(steps)
    levels = karras(Schedule(theirs.alphas_cumprod.double()), steps)
    found = torch.tensor([level.sigma / level.alpha for level in levels])
    assert torch.allclose(found, theirs.sigmas, rtol=1e-5)
    # the index told to the network: theirs interpolates log sigma between table entries, ours the angle
    gaps = [abs(level.t - t) for level, t in zip(levels, theirs.timesteps.tolist(), strict=False)]
    assert max(gaps) < 0.2


@pytest.mark.parametrize("shape", SHAPES, ids=["1-D", "2-D"])
@pytest.mark.parametrize("name, solver", [("Euler", Euler()), ("Heun", Heun())])
def test_flow_matching(name, solver, shape):
    theirs = getattr(diffusers, f"FlowMatch{name}DiscreteScheduler")(shift=3.0)
    theirs.set_timesteps(12)
    flow = Flow(1000)
    ratios = dict.fromkeys(float(sigma) for sigma in theirs.sigmas)
    levels = [flow.level(1000 * sigma) for sigma in ratios]

    def network(x, t, condition):
        sigma = t.view(-1, *[1] * (x.ndim - 1)) / 1000
        return x - 0.8 * torch.tanh(1.3 * x + sigma)

    x = start = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    for t in theirs.timesteps:
        x = theirs.step(network(x, torch.full((len(x),), float(t)), None), t, x).prev_sample
    ours = sample(bind(network, None, "flow"), start, levels, solver)
    assert torch.allclose(ours, x, rtol=5e-6, atol=5e-6)
