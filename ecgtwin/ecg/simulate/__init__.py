"""Simulated people, whose ECG in another state of the heart is exactly known: see docs/simulator.md."""

from .noise import Noise
from .person import Person
from .run import Simulated, cohort, counterfactual, simulate, simulate_truth
from .states import STATES, State, state

__all__ = ["Noise", "Person", "STATES", "Simulated", "State", "cohort", "counterfactual", "simulate", "simulate_truth", "state"]
