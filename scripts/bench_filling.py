"""What is filled in, on held-out ECGs: missing leads, a burst of noise, the seconds that follow; and variations.

python scripts/bench_filling.py default --store STORE [--ecgs 16] [--control FILE] [--picture filling.png]

All correlations are with the recording, of what was unknown, mean over leads and ECGs. "regression": every missing
lead a linear mixture of the known ones, fitted on training ECGs; "lagged": of these at 21 delays up to 100 ms.
"expected": the package's own linear estimate (`ecg/expected.py`), where filling in begins. "ceiling": the recording
itself through the auto-encoder. "follow": a control that reads leads (docs/control.md).
Bursts: against the beats of before, laid where the recording's come ("beats known") and repeated ("copy"). Forecasts:
of the second 5 s from the first: beats within 50 and 100 ms of the true ones (F1), error of the number of beats, and
correlation of the median beat with the true one's; "persistence": the first 5 s' intervals again. Rhythm: the same of
the times alone, of all held-out ECGs, steady and irregular ones apart; no network draws there. SDEdit: correlation with
the recording and difference of the heart rate at each strength.
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from tqdm import tqdm

from ecgtwin import ECG, Condition, ECGTwin
from ecgtwin.atomic import write_file
from ecgtwin.cli import train as o
from ecgtwin.cli.errors import refusing
from ecgtwin.cli.options import Json, Output, tell
from ecgtwin.ecg.beats import lay, take
from ecgtwin.ecg.expected import shipped
from ecgtwin.ecg.leads import INDEPENDENT
from ecgtwin.ecg.rhythm import r_peaks
from ecgtwin.ecg.store.recordings import Recordings, fitting
from ecgtwin.twin.filling import Span, Unknown
from ecgtwin.twin.gaps import STEADY, continued, seen
from ecgtwin.twin.model import named

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
CASES = {"V2": ("V2",), "V1-V6": INDEPENDENT[2:], "all but I": INDEPENDENT[1:]}
LAGS = range(-10, 11)
STRENGTHS = (0.1, 0.3, 0.5, 0.7, 1.0)
CLOSE = {"50 ms": 0.05, "100 ms": 0.1}
"""s between two beats that are the same."""


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Mean over leads."""
    a, b = (x - x.mean(-1, keepdims=True) for x in (a, b))
    size = np.sqrt((a**2).sum(-1) * (b**2).sum(-1))
    return float(np.mean((a * b).sum(-1) / np.maximum(size, 1e-9)))


def delayed(x: np.ndarray, lags: range | tuple[int, ...]) -> np.ndarray:
    """Leads (k, L) beside themselves at delays: (k x delays, L)."""
    return np.concatenate([np.roll(x, lag, -1) for lag in lags])


def regression(x: np.ndarray, known: list[int], wanted: list[int], lags: range | tuple[int, ...]) -> np.ndarray:
    """Weights from known leads at delays to the wanted ones, of signals (N, 8, L), by ridge least squares."""
    a = np.concatenate([delayed(one[known], lags) for one in x], 1).astype(np.float64)
    b = np.concatenate([one[wanted] for one in x], 1).astype(np.float64)
    return np.linalg.solve(a @ a.T + 1e-3 * a.shape[1] * np.eye(len(a)) * a.var(), a @ b.T).T


def signal_of(ecg: ECG) -> np.ndarray:
    return np.asarray(ecg.select(INDEPENDENT).signal)


def f1(ours: np.ndarray, theirs: np.ndarray, close: float) -> float:
    if not len(ours) or not len(theirs):
        return float(len(ours) == len(theirs))
    gap = np.abs(ours[:, None] - theirs[None])
    found, made = (gap.min(0) <= close).mean(), (gap.min(1) <= close).mean()
    return float(2 * found * made / max(found + made, 1e-9))


@app.command(help=__doc__)
def main(
    model: Annotated[Path, typer.Argument(help='a model folder, or "default"')],
    store: o.Stores,
    ecgs: Annotated[int, typer.Option(help="held-out ECGs", min=1)] = 16,
    draws: Annotated[int, typer.Option(help="samples of each ECG whose mean is told, too", min=1)] = 4,
    steps: Annotated[int, typer.Option(help="denoising steps", min=1)] = 20,
    control: Annotated[Path | None, typer.Option(help="a control that reads leads")] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="leads, control (leads by it alone), burst, forecast, rhythm, variations; may be repeated"),
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="a missing lead, a burst and a forecast, drawn")] = None,
    output: Output = None,
    as_json: Json = False,
) -> None:
    with refusing():
        twin = ECGTwin.from_pretrained(named(model), device="cpu")
        signal = twin.config.signal
        recordings = Recordings.of([fitting(folder, signal.rate, signal.samples) for folder in store])
        places = recordings.places("validation")
        # Evenly over the split, those in which beats can be read.
        held = [int(k) for k in places[:: max(1, len(places) // (2 * ecgs))]]
        x = recordings.millivolts(held)
        x -= np.median(x, -1, keepdims=True)
        readable = [k for k in range(len(x)) if len(r_peaks(x[k], signal.rate)) >= 6][:ecgs]
        x, held = x[readable], [held[k] for k in readable]
        said = [Condition(tuple(s for s in recordings.statements(k) if s in twin.statements)) for k in held]
        if control is not None:
            twin.load_control(control)
        wanted = set(only or ("leads", "burst", "forecast", "rhythm", "variations"))
        figures: dict[str, Any] = {"ecgs": len(x), "steps": steps}
        shown: dict[str, Any] = {}
        if wanted & {"leads", "control"}:
            training = recordings.places("train")
            seen = recordings.millivolts(training[:: max(1, len(training) // 300)])
            seen -= np.median(seen, -1, keepdims=True)
            figures["leads"] = leads(twin, x, said, seen, draws, steps, "leads" in wanted, control is not None, shown)
        if "burst" in wanted:
            figures["burst"] = burst(twin, x, said, steps, shown)
        if "forecast" in wanted:
            figures["forecast"] = forecast(twin, x, said, steps, shown)
        if "rhythm" in wanted:
            figures["rhythm"] = rhythm(recordings.millivolts(places), signal.rate)
        if "variations" in wanted:
            figures["variations"] = variations(twin, x, said, steps)
        if picture is not None:
            draw(x, shown, signal.rate, picture)
        tell(figures, told(figures), as_json, output)


def encoded(twin: ECGTwin, x: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return twin.parts.vae.decode(twin.parts.vae.encode(torch.from_numpy(x[None])))[0].numpy()


def estimated(x: np.ndarray, known: list[int], rate: float) -> np.ndarray:
    mask = np.isin(np.arange(len(x)), known)
    beats, beat = take(np.where(mask[:, None], x, 0.0), rate)
    return shipped().complete(x, mask, beats, shipped().beat(beat, mask), rate)


def leads(twin, x, said, seen, draws, steps, fills, follows, shown) -> dict[str, Any]:
    rate, out = twin.config.signal.rate, {}
    for case, missing in CASES.items():
        unknown = [INDEPENDENT.index(name) for name in missing]
        known = [k for k in range(8) if k not in unknown]
        plain, lagged = (regression(seen, known, unknown, lags) for lags in ((0,), LAGS))
        rows: dict[str, list[float]] = {}

        def add(name: str, made: np.ndarray, k: int, rows=rows, unknown=unknown) -> None:
            rows.setdefault(name, []).append(correlation(made, x[k][unknown]))

        for k, one in enumerate(tqdm(x, desc=case)):
            add("regression", plain @ delayed(one[known], (0,)), k)
            add("lagged", lagged @ delayed(one[known], LAGS), k)
            add("expected", estimated(one, known, rate)[unknown], k)
            add("ceiling", encoded(twin, one)[unknown], k)
            given = ECG(one[known], rate, [INDEPENDENT[j] for j in known])
            if fills:
                filled = twin.fill(given, Unknown(missing), said[k], n=draws, steps=steps)
                made = [signal_of(e)[unknown] for e in filled]
                add("fill", made[0], k)
                add("fill, mean", np.mean(made, 0), k)
                if k == 0:
                    shown[case] = (missing[min(1, len(missing) - 1)], made[0][min(1, len(missing) - 1)])
            if follows:
                drawn = [signal_of(e)[unknown] for e in twin.follow(given, said[k], n=2 * draws, steps=10)]
                add("follow", drawn[0], k)
                add("follow, mean", np.mean(drawn, 0), k)
                if k == 0:
                    shown[f"{case}, followed"] = (missing[-1], drawn[0][-1])
        out[case] = {name: float(np.mean(v)) for name, v in rows.items()}
    return out


def burst(twin, x, said, steps, shown) -> dict[str, Any]:
    """From 4 to 6 s all leads are unknown."""
    rate, rows = twin.config.signal.rate, {"fill": [], "copy": [], "beats known": [], "ceiling": []}
    gap = slice(round(4 * rate), round(6 * rate))
    for k, one in enumerate(tqdm(x, desc="burst")):
        noisy = one.copy()
        noisy[:, gap] += np.random.default_rng(k).normal(0, 1, noisy[:, gap].shape).astype(np.float32)
        ecg = ECG(noisy, rate, INDEPENDENT)
        made = signal_of(twin.fill(ecg, Unknown(spans=(Span(4, 6),)), said[k], steps=steps)[0])
        before = one[:, : gap.start]
        beats, _ = take(one, rate)
        _, shape = take(before, rate)
        rows["fill"].append(correlation(made[:, gap], one[:, gap]))
        rows["copy"].append(correlation(one[:, 2 * gap.start - gap.stop : gap.start], one[:, gap]))
        rows["beats known"].append(correlation(lay(shape, beats, rate, one.shape[1])[:, gap], one[:, gap]))
        rows["ceiling"].append(correlation(encoded(twin, one)[:, gap], one[:, gap]))
        if k == 0:
            shown["burst"] = made
    return {name: float(np.mean(v)) for name, v in rows.items()}


def forecast(twin, x, said, steps, shown) -> dict[str, Any]:
    rate = twin.config.signal.rate
    half = round(5 * rate)
    rows: dict[str, dict[str, list[float]]] = {}
    for k, one in enumerate(tqdm(x, desc="forecast")):
        blind = one.copy()
        blind[:, half:] = 0
        made = signal_of(
            twin.fill(ECG(blind, rate, INDEPENDENT), Unknown(spans=(Span(5, 10),)), said[k], steps=steps)[0]
        )
        true = r_peaks(one, rate) / rate
        guesses = {
            "fill": ((r_peaks(made, rate) / rate), made[:, half:]),
            "persistence": (repeated(true[true < 5]), one[:, :half]),
        }
        for name, (beats, signal) in guesses.items():
            found = compared(beats, true)
            alike = shapes_alike(signal, one[:, half:], rate)
            found |= {} if alike is None else {"morphology": alike}
            for key, value in found.items():
                rows.setdefault(name, {}).setdefault(key, []).append(value)
        if k == 0:
            shown["forecast"] = made
    found = {name: {key: float(np.mean(v)) for key, v in of.items()} for name, of in rows.items()}
    ceiling = [shapes_alike(encoded(twin, one)[:, half:], one[:, half:], rate) for one in x]
    return found | {"ceiling": {"morphology": float(np.mean([c for c in ceiling if c is not None]))}}


def repeated(first: np.ndarray) -> np.ndarray:
    """Beats and their intervals again and again, a mean interval between."""
    whole = first[-1] - first[0] + np.diff(first).mean()
    return np.concatenate([first + j * whole for j in range(1, 9)])


def compared(beats: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Of the beats from 5 to 10 s."""
    beats, true = (t[(t >= 5) & (t < 10)] for t in (beats, true))
    return {key: f1(beats, true, close) for key, close in CLOSE.items()} | {"count": abs(len(beats) - len(true))}


def rhythm(x: np.ndarray, rate: float) -> dict[str, Any]:
    """Times of beats alone, of ECGs (N, 8, L)."""
    rows: dict[str, dict[str, list[float]]] = {}
    half = round(5 * rate)
    known = np.arange(x.shape[-1]) < half
    for one in tqdm(x, desc="rhythm"):
        try:
            beats, _ = take(one[:, :half], rate)
        except ValueError:
            continue
        true = r_peaks(one, rate) / rate
        intervals = np.diff(beats.times)
        kind = "steady" if intervals.std() < STEADY * intervals.mean() else "irregular"
        guesses = {
            "expected": continued(beats, known, rate).times,
            "drawn": continued(beats, known, rate, np.random.default_rng(0)).times,
            "mean interval": beats.times[-1] + intervals.mean() * np.arange(1, 40),
            "persistence": repeated(beats.times),
        }
        for name, times in guesses.items():
            for group in (kind, "all"):
                row = rows.setdefault(f"{name}, {group}", {"ecgs": []})
                row["ecgs"].append(1)
                for key, value in compared(times, true).items():
                    row.setdefault(key, []).append(value)
    told = {
        name: {key: float(np.sum(v) if key == "ecgs" else np.mean(v)) for key, v in of.items()}
        for name, of in rows.items()
    }
    return told | {"hole": hole(x[::4], rate)}


def hole(x: np.ndarray, rate: float) -> dict[str, float]:
    """Of ECGs (N, 8, L) of which nothing from 4 to 6 s is known: the beats there, and median beats laid at them and at
    the true ones."""
    gap = slice(round(4 * rate), round(6 * rate))
    known = np.ones(x.shape[-1], bool)
    known[gap] = False
    rows: dict[str, list[float]] = {"count": [], "seconds": [], "planned": [], "times known": []}
    for one in tqdm(x, desc="hole"):
        try:
            beats, beat = seen(np.where(known, one, 0.0), known, rate)
            true, _ = take(one, rate)
        except ValueError:
            continue
        made = continued(beats, known, rate)
        ours, theirs = (b.times[(b.times > 4) & (b.times < 6)] for b in (made, true))
        rows["count"].append(float(len(ours) == len(theirs)))
        if len(ours) == len(theirs) and len(ours):
            rows["seconds"].append(float(np.abs(ours - theirs).mean()))
        for name, times in (("planned", made), ("times known", true)):
            rows[name].append(correlation(lay(beat, times, rate, len(known))[:, gap], one[:, gap]))
    return {"ecgs": len(rows["count"])} | {
        f"{name}, {how}": float(of(v))
        for name, v in rows.items()
        for how, of in (("mean", np.mean), ("median", np.median))
    }


def shapes_alike(a: np.ndarray, b: np.ndarray, rate: float) -> float | None:
    """Correlation of median beats; None where one of two strips shows too few."""
    shapes = []
    for x in (a, b):
        try:
            beats, shape = take(x, rate)
        except ValueError:
            return None
        # One beat alone, at the same place.
        one = type(beats)(np.array([1.0]), np.array([np.bincount(beats.kinds).argmax()]))
        shapes.append(lay(shape, one, rate, round(2 * rate))[:, round(0.7 * rate) : round(1.5 * rate)])
    return correlation(*shapes)


def variations(twin, x, said, steps) -> dict[str, Any]:
    rate, out = twin.config.signal.rate, {}
    for strength in STRENGTHS:
        alike, rates = [], []
        for k, one in enumerate(tqdm(x, desc=f"strength {strength}")):
            ecg = ECG(one, rate, INDEPENDENT)
            made = twin.vary(ecg, said[k], strength=strength, steps=steps)[0]
            alike.append(correlation(signal_of(made), one))
            pair = made.heart_rate(), ecg.heart_rate()
            if None not in pair:
                rates.append(abs(pair[0] - pair[1]))
        out[str(strength)] = {"correlation": float(np.mean(alike)), "heart_rate": float(np.median(rates))}
    return out


def draw(x: np.ndarray, shown: dict[str, Any], rate: float, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 2 * max(1, len(shown))), layout="constrained")
    time = np.arange(x.shape[-1]) / rate
    for row, (name, made) in enumerate(shown.items()):
        lead, y = made if isinstance(made, tuple) else ("II", made[1])
        ax = figure.add_subplot(len(shown), 1, row + 1)
        ax.plot(time, x[0][INDEPENDENT.index(lead)], color="0.7", lw=2)
        ax.plot(time, y, color="C3", lw=0.9)
        unknown = {"burst": (4, 6), "forecast": (5, 10)}.get(name, (0, 10))
        ax.axvspan(*unknown, color="C0", alpha=0.08)
        ax.set_title(f"{name} unknown: {lead}" if isinstance(made, tuple) else f"{name}: {lead}", fontsize=9)
        ax.set_xlim(0, 10)
    write_file(path, lambda part: figure.savefig(part, format="png", dpi=80))


def told(figures: dict[str, Any]) -> str:
    lines = [f"{figures['ecgs']} ECGs, {figures['steps']} steps"]
    for part in ("leads", "burst", "forecast", "rhythm", "variations"):
        for name, found in figures.get(part, {}).items():
            rest = found if isinstance(found, float) else ", ".join(f"{k} {v:.3f}" for k, v in found.items())
            lines.append(f"{part} {name}: {rest:.3f}" if isinstance(rest, float) else f"{part} {name}: {rest}")
    return "\n".join(lines)


if __name__ == "__main__":
    app()
