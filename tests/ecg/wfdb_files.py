"""WFDB files for tests, written byte by byte, so that the readers under test have no part in them."""

from pathlib import Path

import numpy as np

TWELVE = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
MIMIC = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")
GAINS = {"I": 0.7, "II": 1.1, "V1": -0.6, "V2": -0.9, "V3": 0.5, "V4": 1.2, "V5": 1.3, "V6": 0.9}


def heart(seed: int = 0, *, bpm: float = 75.0, rate: float = 500.0, seconds: float = 10.0) -> dict[str, np.ndarray]:
    """Twelve leads in mV by name: a narrow QRS and a T wave in every beat, different in each lead and seed."""
    generator = np.random.default_rng(seed)
    t = np.arange(round(rate * seconds)) / rate
    number = np.arange(-2, seconds * bpm / 60 + 1)
    beats = generator.uniform(0.0, 0.4) + 60 / bpm * (number + generator.uniform(-0.05, 0.05, len(number)))
    phase = t - beats[np.searchsorted(beats, t) - 1]
    qrs, wave = np.exp(-(((phase - 0.1) / 0.018) ** 2)), np.exp(-(((phase - 0.36) / 0.05) ** 2))
    found = {}
    for name, gain in GAINS.items():
        own = generator.uniform(0.8, 1.2, 2)
        noise = np.convolve(generator.normal(0, 0.03, len(t)), np.ones(9) / 9, "same")
        found[name] = gain * (own[0] * qrs + 0.25 * own[1] * wave) + noise
    one, two = found["I"], found["II"]
    return found | {"III": two - one, "aVR": -(one + two) / 2, "aVL": one - two / 2, "aVF": two - one / 2}


def write(
    path: Path,
    leads: dict[str, np.ndarray],
    *,
    rate: int = 500,
    gain: float = 1000.0,
    order: tuple[str, ...] = TWELVE,
    comments: tuple[str, ...] = (),
    names: dict[str, str] | None = None,
    unit: str = "mV",
    date: str = "",
    ending: str = "dat",
    offset: int = 0,
) -> None:
    """A record in format 16: `path.hea` and `path.dat`. NaN becomes -32768, as the format wants.
    names: lead -> as written."""
    x = np.stack([leads[name] for name in order], 1) * gain
    digital = np.where(np.isnan(x), -32768, np.clip(np.round(np.nan_to_num(x)), -32767, 32767)).astype("<i2")
    path.parent.mkdir(parents=True, exist_ok=True)
    file = f"{path.name}.{ending}"
    path.with_name(file).write_bytes(b"\0" * offset + digital.tobytes())
    form = "16" + (f"x1+{offset}" if offset else "")
    lines = [f"{path.name} {len(order)} {rate} {len(digital)}" + (f" {date}" if date else "")]
    for k, name in enumerate(order):
        total = int(digital[:, k].astype(np.int64).sum()) % 65536
        total -= 65536 if total > 32767 else 0
        lines.append(f"{file} {form} {gain:g}(0)/{unit} 16 0 {digital[0, k]} {total} 0 {(names or {}).get(name, name)}")
    lines += [f"# {comment}" for comment in comments]
    path.with_name(f"{path.name}.hea").write_text("\n".join(lines) + "\n")
