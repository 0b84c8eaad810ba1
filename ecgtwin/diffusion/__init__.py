"""Diffusion as pure mathematics on tensors: schedules, denoisers,
samplers, guidance and losses for any number of axes."""

from .denoiser import Denoised, Denoiser, Prediction, bind, clamp_x0
from .guidance import classify, guide, guide_two_ways, two_ways, weigh, within
from .sample import Moment, edit, invert, sample, seeded_noise, trajectory
from .schedule import Flow, Level, Schedule, cosine, linear, scaled_linear, sigmoid, zero_terminal_snr

__all__ = [
    "Denoised",
    "Denoiser",
    "Flow",
    "Level",
    "Moment",
    "Prediction",
    "Schedule",
    "bind",
    "clamp_x0",
    "classify",
    "cosine",
    "edit",
    "guide",
    "guide_two_ways",
    "invert",
    "linear",
    "sample",
    "scaled_linear",
    "seeded_noise",
    "sigmoid",
    "trajectory",
    "two_ways",
    "weigh",
    "within",
    "zero_terminal_snr",
]
