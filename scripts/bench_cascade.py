"""The cascade to 500 Hz beside spline interpolation, on held-out recordings at 500 Hz brought to 102.4 Hz first.

python scripts/bench_cascade.py --store STORE500 [--records FILE] [--paced FILE] [--picture beat.png] [--output FILE]

STORE500: `ecgtwin data prepare ptbxl ptb-xl STORE500 --rate 500 --frequency 500`; its validation split is used.
"dB": power in bands of 10 Hz from 40 to 150 Hz beside the recording's own, over all leads, of all recordings together
and as a median over recordings. "slope": largest slope of the QRS complex in the lead where it is largest, beside the
recording's. "spike": height above 40 Hz of a pacemaker's spikes that were added to the recordings, beside what was
added; --paced: names of recordings with real spikes. "beats", "rhythm": openecg on lead II (where it is installed),
beats that are the same within 20 ms, and rhythms that are those of the recording. "encoded": the ECGs went through
the auto-encoder, as twins do.
"""

import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from scipy.interpolate import CubicSpline
from scipy.signal import welch

from ecgtwin import ECGTwin
from ecgtwin.atomic import write_file
from ecgtwin.cli import train as o
from ecgtwin.cli.errors import refusing
from ecgtwin.cli.options import Json, Output, tell
from ecgtwin.ecg.leads import INDEPENDENT
from ecgtwin.ecg.record import ECG
from ecgtwin.ecg.store.recordings import Recordings
from ecgtwin.ecg.store.store import Store
from ecgtwin.training.cascade import SpikesConfig, with_spikes
from ecgtwin.twin.upsampling import Upsampler, low

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
BANDS = np.arange(40, 150, 10)
Way = tuple[str, Any]


def spline(ecg: ECG, rate: float, samples: int) -> np.ndarray:
    """Leads (8, samples) by a cubic spline through the samples."""
    time = np.arange(ecg.signal.shape[1]) / ecg.rate
    return CubicSpline(time, ecg.signal, axis=1)(np.arange(samples) / rate).astype(np.float32)


def bands(x: np.ndarray, rate: float) -> np.ndarray:
    """Power (bands,) of a signal (8, L), over its leads."""
    f, power = welch(x, rate, nperseg=1024)
    return np.array([power[:, (f >= a) & (f < a + 10)].mean() for a in BANDS])


def slope(x: np.ndarray, rate: float) -> np.ndarray:
    """Largest slope of each lead, mV/ms: the mean of the five steepest seconds."""
    steep = np.abs(np.diff(x, axis=1))
    seconds = steep[:, : steep.shape[1] // int(rate) * int(rate)].reshape(len(x), -1, int(rate)).max(2)
    return np.sort(seconds, 1)[:, -5:].mean(1) * rate / 1000


def beats_of(x: np.ndarray, rate: float) -> np.ndarray | None:
    try:
        from openecg import detect_qrs
    except ImportError:
        return None
    return np.asarray(detect_qrs(x[1].astype(np.float64), int(rate)), float) / rate


def alike(a: np.ndarray, b: np.ndarray, within: float = 0.02) -> float:
    """Fraction of beats that the other has, too, both ways."""
    if not len(a) or not len(b):
        return float(len(a) == len(b))
    gap = np.abs(a[:, None] - b[None])
    return float(((gap.min(1) <= within).mean() + (gap.min(0) <= within).mean()) / 2)


@app.command(help=__doc__)
def main(
    store: o.Stores,
    upsampler: Annotated[Path | None, typer.Option(help="folder of a stage; that in the package if left out")] = None,
    records: o.Records = None,
    paced: Annotated[
        Path | None, typer.Option(help="names of recordings with a pacemaker's spikes, one a line")
    ] = None,
    n: Annotated[int, typer.Option(help="recordings, at most")] = 113,
    steps: Annotated[int | None, typer.Option(help="of the cascade; its own if left out")] = None,
    strength: Annotated[float | None, typer.Option(help="noise on its coarse ECG; its own if left out")] = None,
    picture: Annotated[Path | None, typer.Option(help="one beat: real, spline, cascade")] = None,
    output: Output = None,
    as_json: Json = False,
) -> None:
    with refusing():
        stage, model = Upsampler.from_pretrained(upsampler, device="cpu"), ECGTwin.from_pretrained(device="cpu")
        rate = stage.config.rate
        found = Recordings.of([o.at_rate(Store.open(folder), rate) for folder in store])
        held = o.only(found, records).only("validation")
        held = held.where(np.arange(min(n, len(held))))
        x = held.millivolts()
        own = spiked_of(o.only(found, paced).millivolts()) if paced is not None else None

        def made(x: np.ndarray, seed: int, encoded: bool) -> dict[str, np.ndarray]:
            low_rate = ECG(x, rate, INDEPENDENT).resample(model.config.signal.rate)
            if encoded:
                with torch.inference_mode():
                    z = model.parts.vae.encode(torch.from_numpy(low_rate.signal[None].copy()))
                    low_rate = ECG(model.parts.vae.decode(z)[0].numpy(), low_rate.rate, INDEPENDENT)
            fine = stage.upsample(low_rate, seed=seed, steps=steps, strength=strength).select(INDEPENDENT).signal
            return {
                "spline": spline(low_rate, rate, x.shape[1]),
                "resampled": low_rate.resample(rate).signal[:, : x.shape[1]],
                "cascade": fine[:, : x.shape[1]],
            }

        figures: dict[str, Any] = {"recordings": len(x)}
        for encoded in (False, True):
            name = "encoded" if encoded else "as recorded"
            begin = time.perf_counter()
            ways = [made(one, k, encoded) for k, one in enumerate(x)]
            figures[name] = {"seconds_per_ecg": (time.perf_counter() - begin) / len(x)}
            for way in ("spline", "resampled", "cascade"):
                figures[name][way] = compared([one[way] for one in ways], list(x), rate)
            if picture is not None and not encoded:
                drawn = ways
        config = SpikesConfig()
        rng = np.random.default_rng(1)
        some = x[:32]
        spiked = with_spikes(some, config, rate, rng)
        figures["spike"] = heights([made(one, k, False) for k, one in enumerate(spiked)], spiked, spiked - some, stage)
        if own is not None:
            figures["real spikes"] = heights([made(one, k, False) for k, one in enumerate(own)], own, own, stage)
        if picture is not None:
            draw(x, drawn, rate, picture)
        tell(figures, told(figures), as_json, output)


def spiked_of(x: np.ndarray) -> np.ndarray:
    return x - np.median(x, -1, keepdims=True)


def compared(made: list[np.ndarray], real: list[np.ndarray], rate: float) -> dict[str, Any]:
    ours, theirs = (np.stack([bands(one, rate) for one in of]) for of in (made, real))
    ratio = 10 * np.log10(ours / theirs)
    pooled = 10 * np.log10(ours.mean(0) / theirs.mean(0))
    out: dict[str, Any] = {
        "dB": {f"{a}-{a + 10}": round(float(v), 2) for a, v in zip(BANDS, pooled, strict=True)},
        "dB_median": {f"{a}-{a + 10}": round(float(v), 2) for a, v in zip(BANDS, np.median(ratio, 0), strict=True)},
        "dB_whole": round(float(10 * np.log10(ours.sum() / theirs.sum())), 2),
    }
    pairs = [(slope(a, rate), slope(b, rate)) for a, b in zip(made, real, strict=True)]
    out["slope"] = float(np.median([a[b.argmax()] / b.max() for a, b in pairs]))
    found = [(beats_of(a, rate), beats_of(b, rate)) for a, b in zip(made, real, strict=True)]
    if found[0][0] is not None:
        out["beats"] = float(np.mean([alike(a, b) for a, b in found]))
        out |= rhythms(made, real, rate)
    return out


def rhythms(made: list[np.ndarray], real: list[np.ndarray], rate: float) -> dict[str, float]:
    from ecgtwin.metrics.judge import load_judge

    try:
        judge = load_judge()
    except ImportError:
        return {}
    same = [judge(a[1], rate).argmax() == judge(b[1], rate).argmax() for a, b in zip(made, real, strict=True)]
    return {"rhythm": float(np.mean(same))}


def heights(
    ways: list[dict[str, np.ndarray]], real: np.ndarray, spikes: np.ndarray, stage: Upsampler
) -> dict[str, float]:
    """Of each way: median over recordings of the height of what is above the crossover where spikes are, beside the
    recording's."""
    c = stage.config

    def high(x: np.ndarray) -> np.ndarray:
        return np.abs(x - low(x, c.crossover, c))

    out: dict[str, list[float]] = {way: [] for way in ways[0]}
    for k, one in enumerate(ways):
        place = high(spikes[k])
        lead = int(place.max(1).argmax())
        at = np.flatnonzero(place[lead] > 0.6 * place[lead].max())
        near = np.unique(np.clip(at[:, None] + np.arange(-3, 4), 0, spikes.shape[-1] - 1))
        for way, x in one.items():
            out[way].append(float(high(x)[lead, near].max() / high(real[k])[lead, near].max()))
    return {way: float(np.median(v)) for way, v in out.items()}


def draw(x: np.ndarray, ways: list[dict[str, np.ndarray]], rate: float, path: Path) -> None:
    """A beat of three recordings whose QRS complex is fast, in the lead that shows it best."""
    from matplotlib.figure import Figure

    fast = [float((np.abs(a - b["spline"][:, : a.shape[1]])).max()) for a, b in zip(x, ways, strict=True)]
    chosen = np.argsort(fast)[::-1][len(fast) // 20 :][: 3 * max(1, len(fast) // 12) : max(1, len(fast) // 12)]
    figure = Figure(figsize=(13, 8), layout="constrained")
    for row, k in enumerate(chosen):
        lead = int(np.abs(x[k] - ways[k]["spline"]).max(1).argmax())
        middle = int(np.abs(np.diff(x[k][lead, 500:-500])).argmax()) + 500
        part = slice(middle - 60, middle + 60)
        for column, (name, y) in enumerate(
            (("real", x[k]), ("spline", ways[k]["spline"]), ("cascade", ways[k]["cascade"]))
        ):
            ax = figure.add_subplot(3, 3, 3 * row + column + 1)
            ax.plot((np.arange(120) - 60) / rate * 1000, x[k][lead, part], color="0.75", lw=2.5)
            ax.plot((np.arange(120) - 60) / rate * 1000, y[lead, part], color="C3" if column else "k", lw=1)
            ax.set_title(f"{name}, {INDEPENDENT[lead]}", fontsize=9)
            ax.set_xlabel("ms")
            ax.set_ylabel("mV")
    write_file(path, lambda part: figure.savefig(part, format="png", dpi=80))


def told(figures: dict[str, Any]) -> str:
    lines = [f"{figures['recordings']} recordings"]
    for name in ("as recorded", "encoded"):
        for way in ("spline", "resampled", "cascade"):
            f = figures[name][way]
            worst = max(f["dB"].values(), key=abs)
            rest = " ".join(f"{k} {f[k]:.3f}" for k in ("slope", "beats", "rhythm") if k in f)
            lines.append(f"{name:12} {way:10} 40-150 Hz {f['dB_whole']:+.1f} dB, worst band {worst:+.1f} dB  {rest}")
            lines.append(f"{'':23} bands {' '.join(f'{v:+.1f}' for v in f['dB'].values())}")
            lines.append(f"{'':23} median {' '.join(f'{v:+.1f}' for v in f['dB_median'].values())}")
    for name in ("spike", "real spikes"):
        if name in figures:
            lines.append(f"{name}: " + ", ".join(f"{k} {v:.2f}" for k, v in figures[name].items()))
    lines.append(f"{figures['as recorded']['seconds_per_ecg']:.1f} s per ECG")
    return "\n".join(lines)


if __name__ == "__main__":
    app()
