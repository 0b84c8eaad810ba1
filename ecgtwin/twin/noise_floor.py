"""The noise of a recording that the auto-encoder takes out between the waves, put back in other phases.

In a QRS complex the decoder draws as much power as there was. Between the complexes it draws less: the noise that it
could not tell. Where beats are then more alike than they were, a reader finds waves that nobody has, such as P in
fibrillation. What is put back has the spectrum, lead by lead, that is missing there, and the cross-spectra of what was
taken out. Surrogates: Prichard and Theiler, Phys Rev Lett 1994; 73:951; one random phase for each frequency, the same
in all leads.

Shapes: 8 leads I, II, V1-V6 · L samples · F = L // 2 + 1 frequencies.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from ..ecg.rhythm import r_peaks
from .request import Request

if TYPE_CHECKING:
    from .twin import ECGTwin

BEFORE, AFTER, EDGE = 0.08, 0.12, 0.04
"""Seconds before and after R that count as its complex, and within which the stretch between complexes fades in."""
LEAST = 0.1
"""Share of an ECG between complexes below which nothing can be told of its noise."""
ATRIA = 12.0
"""Hz below which a recording in fibrillation or flutter shows the atria between its complexes, and not noise."""
LOW = 3.0
"""Hz below which is baseline."""
SMOOTH = 4.0
"""Hz (standard deviation) over which spectra are smoothed before they are compared."""
LIMIT = 2.5
"""Standard deviations (of the median) beyond which a sample is a fault of a moment, not noise."""
SLOPE = 2.5
"""Hz within which the noise fades out below its upper end."""


def with_noise(model: "ECGTwin", signals: Tensor, requests: Sequence[Request]) -> Tensor:
    """Signals (B, 8, L) in mV with the noise of their references' recordings, each from its own seed alone."""
    found: dict[tuple[int, bool], np.ndarray] = {}
    noise = []
    for request in requests:
        key = id(request.recording), request.atria
        if request.recording is not None and key not in found:
            found[key] = lost(model, request.recording, request.atria)
        noise.append(np.zeros(signals.shape[1:]) if request.recording is None else turned(found[key], request.seed))
    return signals + torch.from_numpy(np.stack(noise)).to(signals)


def in_place(model: "ECGTwin", recording: Tensor, atria: bool = True) -> Tensor:
    """The noise (8, L) in mV that a model's auto-encoder takes out of a recording, where and as it was: between its
    complexes. atria: see `lost`."""
    room = between(
        r_peaks(recording.cpu().numpy(), model.config.signal.rate), recording.shape[-1], model.config.signal.rate
    )
    return torch.from_numpy(np.fft.irfft(lost(model, recording, atria)) * np.sqrt((room**2).mean())).to(recording)


def lost(model: "ECGTwin", recording: Tensor, atria: bool = True) -> np.ndarray:
    """`spectrum_lost` of a recording (8, L) in mV through a model's auto-encoder, in its band. atria: whether waves of
    fibrillation in it may stay; else what lies below `ATRIA` is not counted."""
    band = model.config.sampling.noise_floor
    if band is None:
        raise ValueError("the model's configuration has no sampling.noise_floor")
    low, high = band
    x = recording.to(model.device)
    y = model.parts.vae.decode(model.parts.vae.encode(x[None]))[0]
    return spectrum_lost(
        x.cpu().numpy(), y.cpu().numpy(), model.config.signal.rate, (low if atria else max(low, ATRIA), high)
    )


def spectrum_lost(recording: np.ndarray, decoded: np.ndarray, rate: float, band: tuple[float, float]) -> np.ndarray:
    """Spectrum (8, F), as of `np.fft.rfft`, of the noise in a recording (8, L) in mV that is not in what the decoder
    made of it, within band (Hz).

    In size the power between complexes that the decoder lacks, at most that of the difference; in phase, from lead to
    lead, the difference. Zero where complexes leave no room.
    """
    n, leads = recording.shape[-1], len(recording)
    hz = np.fft.rfftfreq(n, 1 / rate)
    peaks = r_peaks(recording, rate)
    calm = between(peaks, n, rate)
    share = (calm**2).mean()
    if share < LEAST:
        return np.zeros((leads, len(hz)), complex)
    parts = np.concatenate([recording, decoded, recording - decoded]).astype(np.float64)
    parts = np.fft.irfft(np.fft.rfft(parts) * np.clip(2 * hz / LOW - 1, 0, 1), n)
    parts = without_beat(parts, peaks, rate)
    limit = LIMIT * 1.4826 * np.median(np.abs(parts[-leads:][:, calm > 0.5]), -1, keepdims=True)
    parts[-leads:] = parts[-leads:].clip(-limit, limit)
    spectra = np.fft.rfft(parts * calm) / np.sqrt(share)
    power = gaussian_filter1d(np.abs(spectra) ** 2, SMOOTH * n / rate, axis=-1, mode="nearest")
    was, now, difference = power.reshape(3, leads, -1)
    gain = np.sqrt(np.clip((was - now) / np.maximum(difference, 1e-12), 0, 1))
    low, high = band
    inside = np.clip((high - hz) / SLOPE, 0, 1) / np.sqrt(1 + (low / np.maximum(hz, 1e-3)) ** 8)
    return spectra[-leads:] * gain * inside


def turned(spectrum: np.ndarray, seed: int) -> np.ndarray:
    """Noise (8, L) with a spectrum (8, F), L even, in phases of a seed."""
    rng = np.random.default_rng([seed, crc32(b"noise floor")])
    return np.fft.irfft(spectrum * np.exp(2j * np.pi * rng.random(spectrum.shape[-1])))


def between(peaks: np.ndarray, samples: int, rate: float) -> np.ndarray:
    """(L,) 1 between complexes, 0 within them."""
    time, out = np.arange(samples) / rate, np.ones(samples)
    for peak in np.asarray(peaks) / rate:
        apart = np.maximum(time - peak - AFTER, peak - BEFORE - time)
        out *= np.sin(np.pi / 2 * np.clip(apart / EDGE, 0, 1)) ** 2
    return out


def without_beat(signals: np.ndarray, peaks: np.ndarray, rate: float) -> np.ndarray:
    """Signals (N, L) less their median beat: what beats share is no noise. As they are with fewer than four beats."""
    if len(peaks) < 4:
        return signals
    peaks = np.round(peaks).astype(int)
    n, rr = signals.shape[-1], float(np.median(np.diff(peaks)))
    before, after = int(0.42 * rr), int(0.58 * rr)
    whole = [p for p in peaks if p >= before and p + after <= n]
    if len(whole) < 4:
        return signals
    beat = np.median([signals[:, p - before : p + after] for p in whole], 0)
    edge = np.arange(before + after)
    beat = (beat - np.median(beat, -1, keepdims=True)) * np.clip(np.minimum(edge, edge[::-1]) / (EDGE * rate), 0, 1)
    out, end = signals.copy(), 0
    for p in peaks:
        first, last = max(min(max(p - before, end), p), 0), min(p + after, n)  # a sample belongs to one beat
        out[:, first:last] -= beat[:, first - p + before : last - p + before]
        end = last
    return out
