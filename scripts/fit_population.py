"""Fit the simulator's population to the normal ECGs of PTB-XL: python scripts/fit_population.py PTBXL_FOLDER

Each recording at 500 Hz of the training folds that is called a normal ECG becomes one vector of traits: Gaussian bumps
of P, QRS and ST-T in three dimensions, a lead field, intervals, gains. What is written (means, the pull of sex and age,
principal components) are figures of the population; no recording can be got back from them. The file in the package
was made before beats of another shape were left out: ends of waves agree within a sample or two in most recordings.
"""

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
import wfdb
from scipy.signal import butter, sosfiltfilt

from ecgtwin.atomic import write_text
from ecgtwin.cli.options import Json, tell
from ecgtwin.ecg.datasets.ptbxl import read_table
from ecgtwin.ecg.leads import INDEPENDENT
from ecgtwin.ecg.median_beat import RATE, aligned, beats_at
from ecgtwin.ecg.rhythm import r_peaks
from ecgtwin.ecg.simulate.dipole import DOWER
from ecgtwin.ecg.simulate.read import Ends, delineate

GRID = {
    "p": (np.linspace(0.1, 0.9, 5), 0.14),
    "qrs": (np.linspace(0.06, 0.94, 9), 0.08),
    "t": (np.linspace(-0.02, 1.1, 9), 0.1),
}
OUT = Path(__file__).resolve().parents[1] / "ecgtwin" / "ecg" / "simulate" / "population.json"


def read(path: Path) -> np.ndarray:
    """The eight leads (8, samples) in mV, less the constant tail of PTB-XL."""
    record = wfdb.rdrecord(str(path))
    names = [name.upper() for name in record.sig_name]
    return record.p_signal[:-60, [names.index(lead.upper()) for lead in INDEPENDENT]].T


def median_beat(signal: np.ndarray) -> tuple[np.ndarray, float] | None:
    """The median of the aligned beats (8, BEFORE + AFTER) and the mean RR interval in s."""
    signal = sosfiltfilt(butter(2, 0.4, "high", fs=RATE, output="sos"), signal, axis=1)
    peaks = r_peaks(signal, RATE)
    places, usual = aligned(signal, peaks, reach=8)
    beats = beats_at(signal, places[usual])
    return None if len(beats) < 4 else (np.median(beats, axis=0), float(np.mean(np.diff(peaks)) / RATE))


def plausible(beat: np.ndarray, rr: float) -> Ends | None:
    """Ends of the waves of a beat as a fit reads them, where they are those of a normal one."""
    try:
        at = delineate(beat, rr)
    except ValueError:
        return None
    usual = (
        50 < at.on - at.p_on < 125
        and 30 < at.p_off - at.p_on < 75
        and at.p_off < at.on + 4
        and 30 < at.off - at.on < 58
        and 80 < at.t_end - at.off < 200
    )
    return at if usual else None


def coefficients(beat: np.ndarray, at: Ends) -> dict[str, np.ndarray]:
    """Heights (8, bumps) in mV of the Gaussian bumps of each wave in each lead, by ridge regression."""
    time = np.arange(beat.shape[1])
    on, off, end = at.on, at.off, at.t_end

    def columns(name: str, start: float, stop: float) -> np.ndarray:
        centres, width = GRID[name]
        return np.exp(-0.5 * (((time - start) / (stop - start))[:, None] - centres) ** 2 / width**2)

    level = beat - beat[:, on - 8 : on - 2].mean(1, keepdims=True)
    both = np.concatenate([columns("qrs", on, off), columns("t", off, end)], axis=1)
    rows = slice(on - 6, min(int(end) + 30, beat.shape[1]))
    heights = solve(both[rows], level[:, rows])
    n = len(GRID["qrs"][0])
    start, stop = int(at.p_on) - 8, min(int(at.p_off) + 8, on - 1)
    ramp = np.linspace(0, 1, stop - start)
    line = (
        level[:, start - 5 : start + 3].mean(1)[:, None] * (1 - ramp)
        + level[:, stop - 3 : stop].mean(1)[:, None] * ramp
    )
    p = solve(columns("p", at.p_on, at.p_off)[start:stop], level[:, start:stop] - line)
    return {"p": p, "qrs": heights[:, :n], "t": heights[:, n:]}


def solve(basis: np.ndarray, signal: np.ndarray) -> np.ndarray:
    ridge = 5e-3 * np.trace(basis.T @ basis) / basis.shape[1]
    return np.linalg.solve(basis.T @ basis + ridge * np.eye(basis.shape[1]), basis.T @ signal.T).T


def bent_field(heights: np.ndarray, rounds: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """The field (8, 3) and dipoles (3, bumps) that explain heights (8, bumps) of the bumps in the leads.

    I and II, far from the heart, see the dipole as Dower's do; V1-V6 are bent away from Dower's as
    far as this person asks for.
    """
    field = DOWER.copy()
    faith = np.array([30.0, 30.0, 1, 1, 1, 1, 1, 1])[:, None]  # I and II are matched whatever V1-V6 say
    for _ in range(rounds):
        dipoles = np.linalg.lstsq(faith * field, faith * heights, rcond=None)[0]
        pull = 0.02 * float(np.sum(dipoles**2)) * np.eye(3)
        field[2:] = np.linalg.solve(dipoles @ dipoles.T + pull, (heights[2:] @ dipoles.T + DOWER[2:] @ pull).T).T
    return field, np.linalg.lstsq(faith * field, faith * heights, rcond=None)[0]


def traits(beat: np.ndarray, at: Ends, rr: float) -> np.ndarray:
    """One person as a vector: log gains of P, QRS, T; shapes divided by the gain; V1-V6 of the lead
    fields less Dower's; intervals."""
    heights = coefficients(beat, at)
    fields, dipoles = {}, {}
    for wave, height in heights.items():
        fields[wave], dipoles[wave] = bent_field(height)
    gains = {k: np.sqrt(np.mean(v**2)) for k, v in dipoles.items()}
    ms = 1000 / RATE
    intervals = [
        (at.p_off - at.p_on) * ms,
        (at.on - at.p_on) * ms,
        (at.off - at.on) * ms,
        (at.t_end - at.on) * ms / rr ** (1 / 3),
    ]
    shapes = [(dipoles[k] / gains[k]).T.ravel() for k in ("p", "qrs", "t")]
    bends = [(fields[k] - DOWER)[2:].ravel() for k in ("p", "qrs", "t")]
    return np.concatenate([np.log([gains[k] for k in ("p", "qrs", "t")]), *shapes, *bends, intervals])


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    folder: Annotated[Path, typer.Argument(help="PTB-XL")],
    output: Annotated[Path, typer.Option(help="the file to write")] = OUT,
    components: Annotated[int, typer.Option(help="principal components that are kept", min=1)] = 60,
    as_json: Json = False,
) -> None:
    table = read_table(folder)
    normal = table.codes.map(lambda codes: codes.get("NORM", 0) >= 80)
    table = table[normal & (table.fold <= 8) & table.age.notna() & table.sex.notna()]
    rows, about = [], []
    for _, row in table.iterrows():
        path = folder / row.high
        if not path.with_suffix(".hea").exists() or (found := median_beat(read(path))) is None:
            continue
        if (at := plausible(*found)) is not None:
            rows.append(traits(found[0], at, found[1]))
            about.append([1.0, float(row.sex == "female"), (row.age - 50) / 20])
    data, design = np.array(rows), np.array(about)
    slopes = np.linalg.lstsq(design, data, rcond=None)[0]
    rest = data - design @ slopes
    std = rest.std(0)
    rest = np.clip(rest, -3 * std, 3 * std)
    _, size, parts = np.linalg.svd(rest / std, full_matrices=False)
    kept = parts[:components] * (size[:components, None] / np.sqrt(len(data))) * std
    kept *= rest.std(0) / np.linalg.norm(kept, axis=0)  # what the other components held is given back to each trait
    held = float(np.sum(size[:components] ** 2) / np.sum(size**2))
    content = {
        "source": f"{len(data)} normal ECGs at 500 Hz of PTB-XL 1.0.3, folds 1-8 (CC BY 4.0); "
        "scripts/fit_population.py",
        "grid": {k: {"centres": np.round(c, 4).tolist(), "width": w} for k, (c, w) in GRID.items()},
        "mean": np.round(slopes[0], 4).tolist(),
        "female": np.round(slopes[1], 4).tolist(),
        "per_20_years_over_50": np.round(slopes[2], 4).tolist(),
        "components": np.round(kept, 4).tolist(),
    }
    write_text(output, json.dumps(content, separators=(",", ":")) + "\n")
    figures = {"ecgs": len(data), "components": components, "variance": held, "file": str(output)}
    told = f"{len(data)} ECGs, {components} components hold {held:.1%} of the variance -> {output}"
    tell(figures, told, as_json)


if __name__ == "__main__":
    app()
