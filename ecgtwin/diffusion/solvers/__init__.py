"""Samplers: each one frozen dataclass that knows how to step from a noisier level to a cleaner one."""

from .ancestral import DDIM, DDPM, Euler, EulerAncestral
from .dpm import DpmPPSingle, DpmSolver
from .dpm_pp import DpmPP
from .fitted import Fitted
from .heun import Heun
from .pndm import PNDM, PseudoRungeKutta
from .solver import Evaluation, History, Noise, Solver, first_order, posterior_spread, transition_spread
from .unipc import UniPC

__all__ = [
    "DDIM",
    "DDPM",
    "DpmPP",
    "DpmPPSingle",
    "DpmSolver",
    "Euler",
    "EulerAncestral",
    "Evaluation",
    "Fitted",
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
