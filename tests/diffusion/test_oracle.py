"""Whole trajectories against diffusers: same table, same levels, same noise, same network.

Where the libraries differ, the difference is named, and what
diffusers computes is shown to be a converted form of ours.
"""

import importlib
import inspect
import math
import types

import pytest
import torch

from ecgtwin.diffusion import Schedule, bind, sample, solvers
from ecgtwin.diffusion.denoiser import target
from ecgtwin.diffusion.levels import at_indices

diffusers = pytest.importorskip("diffusers", reason="the oracle is diffusers: pip install diffusers")

pytestmark = [  # both are about the insides of diffusers
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*algorithm_type.*deprecated:FutureWarning"),
]

TABLES = {
    "linear": {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02},
    "scaled linear": {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
}
PREDICTIONS = {"eps": "epsilon", "v": "v_prediction"}
SHAPES = [(2, 4, 8), (2, 4, 3, 5)]
every_case = [
    pytest.mark.parametrize("shape", SHAPES, ids=["1-D", "2-D"]),
    pytest.mark.parametrize("prediction", PREDICTIONS),
    pytest.mark.parametrize("table", TABLES),
]


def for_every_case(test):
    for mark in every_case:
        test = mark(test)
    return test


class Pair:
    """One scheduler of diffusers and our levels on the very same table, with one network for both."""

    def __init__(self, name, table, prediction, shape, steps=20, end=-1.0, **settings):
        self.theirs = getattr(diffusers, name)(**TABLES[table], prediction_type=PREDICTIONS[prediction], **settings)
        self.theirs.set_timesteps(steps)
        self.schedule = Schedule(self.theirs.alphas_cumprod.double())
        indices = dict.fromkeys(float(t) for t in self.theirs.timesteps)  # once each, in order
        self.levels = [*(self.schedule.level(i) for i in indices), self.schedule.level(end)]
        self.prediction = prediction
        generator = torch.Generator().manual_seed(0)
        self.start = torch.randn(shape, generator=generator)
        self.tape = torch.randn((2 * steps, *shape), generator=generator)

    def network(self, x, t, condition):
        """A bounded, curved estimate of x0 that depends on the index, told as eps or v."""
        at = self.schedule.level(t[0].item())
        x0 = 0.8 * torch.tanh(1.3 * x + 0.2 * math.sin(at.t / 200))
        output = target(self.prediction, x0, (x - at.alpha * x0) / at.sigma, at.alpha, at.sigma)
        return output if condition is None else torch.cat([output, torch.sin(3 * x)], dim=1)

    def ours(self, solver, levels=None, learned_variance=False):
        noise = iter(self.tape)
        condition = "variance" if learned_variance else None
        denoise = bind(self.network, condition, self.prediction, learned_variance=learned_variance)
        return sample(denoise, self.start, levels or self.levels, solver, lambda x: next(noise))

    def reached(self, monkeypatch, scaled=False, learned_variance=False, **step_settings):
        """Where diffusers ends; `scaled`: its state is x / alpha, as in the samplers after Karras et al."""
        noise = iter(self.tape)
        module = importlib.import_module(type(self.theirs).__module__)
        if hasattr(module, "randn_tensor"):
            monkeypatch.setattr(module, "randn_tensor", lambda *args, **kwargs: next(noise))
        x = self.start / self.levels[0].alpha if scaled else self.start
        for t in self.theirs.timesteps:
            seen = self.theirs.scale_model_input(x, t)
            output = self.network(seen, torch.full((len(x),), float(t)), "variance" if learned_variance else None)
            x = self.theirs.step(output, t, x, **step_settings).prev_sample
        return x


def agree(ours, theirs, tolerance=5e-6):
    """To float32 rounding of a few dozen steps, relative to the largest entry."""
    assert torch.isfinite(ours).all()
    assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max()


def spacing(table):
    """The cosine table ends at alpha = 5e-5, where an estimate of x0 carries 6e-8/5e-5 = 1e-3 of rounding; the leading
    spacing starts below that. `test_cosine_from_its_very_end` starts there all the same."""
    return {"timestep_spacing": "leading" if table == "cosine" else "trailing"}


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("way", ["leading", "trailing"])
@for_every_case
def test_ddim(table, prediction, shape, eta, way, monkeypatch):
    pair = Pair("DDIMScheduler", table, prediction, shape, clip_sample=False, timestep_spacing=way)
    agree(
        pair.ours(solvers.DDIM(eta)),
        pair.reached(monkeypatch, eta=eta),
        tolerance=max(5e-6, 6e-8 / pair.levels[0].alpha),
    )


@pytest.mark.parametrize(
    "ours, theirs", [("small", "fixed_small"), ("large", "fixed_large"), ("learned", "learned_range")]
)
@for_every_case
def test_ddpm(table, prediction, shape, ours, theirs, monkeypatch):
    """With the leading spacing, which ends at index 0. Elsewhere
    diffusers adds noise in its last step too: see below."""
    pair = Pair("DDPMScheduler", table, prediction, shape, clip_sample=False, variance_type=theirs)
    learned = ours == "learned"
    agree(pair.ours(solvers.DDPM(ours), learned_variance=learned), pair.reached(monkeypatch, learned_variance=learned))


def test_ddpm_last_step(monkeypatch):
    """diffusers leaves out the noise only at index 0. Where the last index is higher its large variance noises the
    final x0; ours, like the paper's algorithm 2, returns the mean. The difference is that noise and nothing else."""
    settings = {"clip_sample": False, "variance_type": "fixed_large", "timestep_spacing": "trailing"}
    pair = Pair("DDPMScheduler", "linear", "v", SHAPES[0], **settings)
    last = pair.levels[-2]
    assert last.t > 0
    agree(pair.ours(solvers.DDPM("large")) + last.sigma * pair.tape[19], pair.reached(monkeypatch))


@for_every_case
def test_euler(table, prediction, shape, monkeypatch):
    pair = Pair("EulerDiscreteScheduler", table, prediction, shape, **spacing(table))
    agree(pair.ours(solvers.Euler()), pair.reached(monkeypatch, scaled=True))


@for_every_case
def test_euler_ancestral(table, prediction, shape, monkeypatch):
    pair = Pair("EulerAncestralDiscreteScheduler", table, prediction, shape, **spacing(table))
    agree(pair.ours(solvers.EulerAncestral()), pair.reached(monkeypatch, scaled=True))


@for_every_case
def test_heun(table, prediction, shape, monkeypatch):
    pair = Pair("HeunDiscreteScheduler", table, prediction, shape, **spacing(table))
    agree(pair.ours(solvers.Heun("edm")), pair.reached(monkeypatch, scaled=True))


@for_every_case
def test_dpm_pp_2m(table, prediction, shape, monkeypatch):
    pair = Pair("DPMSolverMultistepScheduler", table, prediction, shape, **spacing(table))
    agree(pair.ours(solvers.DpmPP(2)), pair.reached(monkeypatch))


@for_every_case
def test_sde_dpm_pp_2m(table, prediction, shape, monkeypatch):
    settings = {"algorithm_type": "sde-dpmsolver++", **spacing(table)}
    pair = Pair("DPMSolverMultistepScheduler", table, prediction, shape, **settings)
    agree(pair.ours(solvers.DpmPP(2, eta=1.0)), pair.reached(monkeypatch))


@for_every_case
def test_dpm_pp_3m_with_its_curvature_halved(table, prediction, shape, monkeypatch):
    """diffusers, as the authors' code, weighs the second difference with (e^-h - 1 + h)/h² - 1/2. That difference is
    half the second derivative, so the weight should be twice as large: test_solvers shows ours to be exact on parabolas
    and of third order, and a run with half the weight to be of second. With the weight halved the two agree."""
    pair = Pair("DPMSolverMultistepScheduler", table, prediction, shape, solver_order=3, **spacing(table))
    source, ours = inspect.getsource(solvers.dpm_pp), "1 - 2 * (decay + h) / h**2"
    assert source.count(ours) == 1
    halved = types.ModuleType("halved")
    halved.__package__ = solvers.__name__
    exec(source.replace(ours, f"({ours}) / 2"), halved.__dict__)
    theirs = pair.reached(monkeypatch)
    agree(pair.ours(halved.DpmPP(3)), theirs)
    assert (pair.ours(solvers.DpmPP(3)) - theirs).abs().max() > 1e-4


def between(levels):
    """The level that lies inside a step of two: levels 1, 3, 5 … by the log-SNR asked for."""

    def level_at(logsnr):
        k = next(k for k in range(2, len(levels), 2) if logsnr <= levels[k].logsnr)
        return levels[k - 1]

    return level_at


@for_every_case
def test_dpm_pp_2s(table, prediction, shape, monkeypatch):
    """diffusers counts each call as a step: its 21 are ten of our
    steps of two calls, with the odd levels inside, and one."""
    pair = Pair("DPMSolverSinglestepScheduler", table, prediction, shape, steps=21, lower_order_final=True)
    if table == "cosine":  # from where alpha is not tiny; see `spacing`
        pair.theirs.set_timesteps(timesteps=[950 - 45 * k for k in range(21)])
        pair.levels = at_indices(pair.schedule, [950 - 45 * k for k in range(21)])
    ours = pair.ours(solvers.DpmPPSingle(between(pair.levels)), [*pair.levels[:-1:2], pair.levels[-1]])
    agree(ours, pair.reached(monkeypatch))


@for_every_case
def test_dpm_solver_2(table, prediction, shape, monkeypatch):
    """On eps, from a list of 21 levels: ten steps of two calls, the last to index 0."""
    settings = {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}
    pair = Pair("DPMSolverSinglestepScheduler", table, prediction, shape, end=0.0, **settings)
    if table == "cosine":
        pair.theirs.set_timesteps(timesteps=[950 - 45 * k for k in range(20)])
        pair.levels = [pair.schedule.level(950 - 45 * k) for k in range(20)] + [pair.schedule.level(0)]
    ours = pair.ours(solvers.DpmSolver(between(pair.levels), 2), pair.levels[::2])
    agree(ours, pair.reached(monkeypatch))


@for_every_case
def test_unipc(table, prediction, shape, monkeypatch):
    pair = Pair("UniPCMultistepScheduler", table, prediction, shape, **spacing(table))
    agree(pair.ours(solvers.UniPC(2)), pair.reached(monkeypatch))


@pytest.mark.parametrize("memory, weighting", [(1, "bh2"), (2, "bh1"), (3, "bh2"), (3, "bh1")])
@for_every_case
def test_unipc_to_a_noisy_end(table, prediction, shape, memory, weighting, monkeypatch):
    """diffusers lowers the order over the last steps, and its bh1 divides infinities at sigma = 0; ours is lowered at
    sigma = 0 alone. To index 0 at full order the two agree."""
    settings = {"final_sigmas_type": "sigma_min", "lower_order_final": False, **spacing(table)}
    settings |= {"solver_order": memory, "solver_type": weighting}
    if table == "cosine":
        settings["steps_offset"] = 3  # above index 0, where the run ends
    pair = Pair("UniPCMultistepScheduler", table, prediction, shape, end=0.0, **settings)
    pair.levels = pair.levels if pair.levels[-2].t > 0 else pair.levels[:-1]
    agree(
        pair.ours(solvers.UniPC(memory, weighting)), pair.reached(monkeypatch), tolerance=2e-5
    )  # theirs solves in float32


@for_every_case
def test_pndm_plms(table, prediction, shape, monkeypatch):
    settings = {"skip_prk_steps": True, "set_alpha_to_one": True}
    pair = Pair("PNDMScheduler", table, prediction, shape, **settings)
    agree(pair.ours(solvers.PNDM() if prediction == "eps" else AverageOfV()), pair.reached(monkeypatch))


@pytest.mark.parametrize("shape", SHAPES, ids=["1-D", "2-D"])
@pytest.mark.parametrize("table", TABLES)
def test_pndm_runge_kutta(table, shape, monkeypatch):
    """In eps alone: on v, diffusers averages v here too, see AverageOfV."""
    pair = Pair("PNDMScheduler", table, "eps", shape, set_alpha_to_one=True)
    calls = [float(t) for t in pair.theirs.timesteps]
    pair.levels = at_indices(pair.schedule, [calls[0], calls[4], calls[8], *calls[12:]])
    agree(pair.ours(solvers.PNDM(solvers.PseudoRungeKutta(pair.schedule.level))), pair.reached(monkeypatch))


class AverageOfV:
    """PNDM as diffusers runs it on v: the Adams-Bashforth mean is taken of v, each from its own level, and read as a v
    of the present level. The paper's mean (eq. 12), and ours, is of eps."""

    order = 1

    def step(self, denoise, x, t, s, past, noise):
        x0 = denoise(x, t).x0
        now = (solvers.Evaluation(t, x, x0), *past[:3])
        weights = solvers.pndm.ADAMS_BASHFORTH[len(now) - 1]
        if past:
            mean = sum(w * self.v(e) for w, e in zip(weights, now, strict=True))
        else:
            ahead = solvers.pndm.transfer(x, t.alpha * self.v(now[0]) + t.sigma * x, t, s)
            mean = (self.v(now[0]) + self.v(solvers.Evaluation(s, ahead, denoise(ahead, s).x0))) / 2
        return solvers.pndm.transfer(x, t.alpha * mean + t.sigma * x, t, s), now

    @staticmethod
    def v(evaluation):
        at, x, x0 = evaluation
        return (at.alpha * x - x0) / at.sigma


SOLVERS_FROM_THE_END = {
    "DDIMScheduler": (solvers.DDIM(), {"clip_sample": False}),
    "DPMSolverMultistepScheduler": (solvers.DpmPP(2), {}),
    "UniPCMultistepScheduler": (solvers.UniPC(2), {}),
}


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("name", SOLVERS_FROM_THE_END)
def test_cosine_from_its_very_end(name, prediction, monkeypatch):
    """alpha = 5e-5: the same within what float32 can hold there, 6e-8 / 5e-5 relative to x0."""
    solver, settings = SOLVERS_FROM_THE_END[name]
    pair = Pair(name, "cosine", prediction, SHAPES[0], timestep_spacing="trailing", **settings)
    assert 4e-5 < pair.levels[0].alpha < 6e-5
    agree(pair.ours(solver), pair.reached(monkeypatch), tolerance=6e-8 / 5e-5)
