"""Simulated people, whose ECG in another state of the heart is exactly known: see docs/simulator.md."""

from .construct import Constructed, construct
from .fitted import Fitted, fit
from .noise import Noise
from .person import Person
from .run import Simulated, cohort, counterfactual, simulate, simulate_truth
from .states import STATES, State, state

__all__ = [
    "Constructed",
    "Fitted",
    "Noise",
    "Person",
    "STATES",
    "Simulated",
    "State",
    "cohort",
    "construct",
    "counterfactual",
    "fit",
    "simulate",
    "simulate_truth",
    "state",
]
