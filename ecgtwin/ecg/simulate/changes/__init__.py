"""What each state of the heart changes in a person's beat. What a function does not name stays the person's own."""

from .conduction import first_degree_block, left_anterior_block, left_bundle_block, pre_excitation, right_bundle_block
from .gradient import placed
from .muscle import REGIONS, hypertrophy, infarcted, injured, low_voltage
from .origins import atrial_ectopic, paced, spike, ventricular_ectopic
from .repolarisation import long_qt, st_depression, t_inversion

__all__ = [
    "REGIONS",
    "atrial_ectopic",
    "first_degree_block",
    "hypertrophy",
    "infarcted",
    "injured",
    "left_anterior_block",
    "left_bundle_block",
    "long_qt",
    "low_voltage",
    "paced",
    "placed",
    "pre_excitation",
    "right_bundle_block",
    "spike",
    "st_depression",
    "t_inversion",
    "ventricular_ectopic",
]
