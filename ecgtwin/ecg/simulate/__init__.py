"""Simulated people, whose ECG in another state of the heart is exactly known."""

from .noise import Noise
from .person import Person
from .run import Simulated, simulate, simulate_truth
from .states import STATES, State

__all__ = ["Noise", "Person", "STATES", "Simulated", "State", "simulate", "simulate_truth"]
