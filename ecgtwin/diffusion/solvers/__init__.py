"""Samplers: each one frozen dataclass that knows how to step from a noisier level to a cleaner one."""

from ecgtwin.diffusion.solvers.ancestral import DDIM, DDPM, Euler, EulerAncestral
from ecgtwin.diffusion.solvers.dpm import DpmPPSingle, DpmSolver
from ecgtwin.diffusion.solvers.dpm_pp import DpmPP
from ecgtwin.diffusion.solvers.heun import Heun
from ecgtwin.diffusion.solvers.pndm import PNDM, PseudoRungeKutta
from ecgtwin.diffusion.solvers.solver import (
    Evaluation,
    History,
    Noise,
    Solver,
    first_order,
    posterior_spread,
    transition_spread,
)
from ecgtwin.diffusion.solvers.unipc import UniPC

__all__ = [
    "DDIM",
    "DDPM",
    "DpmPP",
    "DpmPPSingle",
    "DpmSolver",
    "Euler",
    "EulerAncestral",
    "Evaluation",
    "Heun",
    "History",
    "Noise",
    "PNDM",
    "PseudoRungeKutta",
    "Solver",
    "UniPC",
    "first_order",
    "posterior_spread",
    "transition_spread",
]
