"""The simulator against real ECGs, in figures and pictures:

python scripts/simulator_report.py PTBXL_FOLDER [--pictures DIR] [--output FILE] [--json]

What an independent judge says (if the extra `judge` is installed), how often two states of one
person are more alike than one state of two people, and how well the asked heart rate is found. Pictures show ten
simulated states above real ones.
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from scipy.stats import rankdata

from ecgtwin.cli.options import Json, Output, tell
from ecgtwin.ecg.beats import r_aligned
from ecgtwin.ecg.datasets.ptbxl import read_table
from ecgtwin.ecg.leads import INDEPENDENT
from ecgtwin.ecg.plot import COLUMNS, MARGIN, PULSE, WIDTH, draw, paper, rows_of
from ecgtwin.ecg.record import ECG
from ecgtwin.ecg.simulate import STATES, Person, cohort, counterfactual, simulate
from ecgtwin.metrics.identity import GRID, whitening
from ecgtwin.metrics.judge import CLASSES, Judge, load_judge

TEN = {
    "sinus rhythm": "NORM",
    "atrial fibrillation": "AFIB",
    "complete left bundle branch block": "CLBBB",
    "complete right bundle branch block": "CRBBB",
    "left anterior fascicular block": "LAFB",
    "left ventricular hypertrophy": "LVH",
    "anterior myocardial infarction": "ASMI",
    "inferior myocardial infarction": "IMI",
    "ventricular premature complex": "PVC",
    "normal functioning artificial pacemaker": "PACE",
}
RESHAPING = {
    "CLBBB",
    "CRBBB",
    "LAFB",
    "PACE",
    "LVH",
    "ASMI",
    "IMI",
    "AMI",
    "ALMI",
    "ILMI",
    "LMI",
    "IVCD",
    "WPW",
    "LPFB",
}
"""Codes of states that give the QRS complex another shape."""
JUDGED = {
    "NORM": "sinus",
    "AFIB": "afib",
    "CLBBB": "bbb",
    "CRBBB": "bbb",
    "PACE": "paced",
    "1AVB": "avb",
    "PVC": "ventricular",
}


def aurocs(said: list[np.ndarray], truth: list[str]) -> dict[str, float]:
    said, truth = np.array(said), np.array(truth)
    found = {}
    for index, label in enumerate(CLASSES):
        yes = truth == label
        if 0 < yes.sum() < len(yes):
            rank = rankdata(said[:, index])
            found[label] = round(
                float((rank[yes].sum() - yes.sum() * (yes.sum() + 1) / 2) / (yes.sum() * (~yes).sum())), 4
            )
            found[f"n_{label}"] = int(yes.sum())
    return found


def judged(judge: Judge, table, folder: Path, people: int) -> dict:
    """AUROC of the judge on lead II, each class against the rest, simulated and real."""
    codes = {"first degree AV block": "1AVB", **TEN}
    said, truth = [], []
    for number in range(people):
        for name, code in codes.items():
            if code in JUDGED:
                said.append(
                    judge(simulate(Person.draw(5000 + number), name, seed=number).select(["II"]).signal[0], 500)
                )
                truth.append(JUDGED[code])
    simulated = aurocs(said, truth)
    said, truth = [], []
    for _, row in table[[(folder / f"{high}.hea").exists() for high in table.high]].iterrows():
        labels = {JUDGED[code] for code in row.codes if code in JUDGED}
        if len(labels) == 1:
            said.append(judge(ECG.read(folder / f"{row.high}.hea").select(["II"]).signal[0], 500))
            truth.append(labels.pop())
    return {"simulated": simulated, "real": aurocs(said, truth)}


def alike(features: np.ndarray, person: np.ndarray, states: list[frozenset], rng, draws: int = 20_000) -> dict:
    """Share of draws in which two ECGs of one person in different states are more alike than two people's in one state.

    Twice: the plain correlation of median beats, and the cosine after PCA(60) whitened within
        the people of the other half.
    """
    names = np.unique(person)
    halves = np.isin(person, rng.permutation(names)[: len(names) // 2])
    whitened = np.zeros((len(features), 60))
    for fit in (halves, ~halves):
        whitened[~fit] = whitening(features[fit], person[fit], components=60)(features[~fit])
    plain = features - features.mean(1, keepdims=True)
    result = {}
    kinds = {"all": [], "QRS shape kept": [], "QRS shape changed": []}
    by_person, by_state = {}, {}
    for i, (p, s) in enumerate(zip(person, states, strict=True)):
        by_person.setdefault(p, []).append(i)
        for one in s:
            by_state.setdefault(one, []).append(i)
    several = [rows for rows in by_person.values() if len({states[i] for i in rows}) > 1]
    unit = {"correlation": plain / np.linalg.norm(plain, axis=1, keepdims=True)}
    unit["whitened"] = whitened / np.linalg.norm(whitened, axis=1, keepdims=True)
    for _ in range(draws):
        a, b = rng.choice(several[rng.integers(len(several))], 2, replace=False)
        shared = sorted(states[b])
        others = (
            [i for i in by_state[shared[rng.integers(len(shared))]] if person[i] != person[b]]
            if states[a] != states[b]
            else []
        )
        if others:
            c = others[rng.integers(len(others))]
            won = tuple(x[a] @ x[b] > x[b] @ x[c] for x in unit.values())
            kinds["all"].append(won)
            kinds["QRS shape changed" if (states[a] ^ states[b]) & RESHAPING else "QRS shape kept"].append(won)
    for kind, wins in kinds.items():
        if wins:
            result[kind] = {
                **dict(zip(unit, np.round(np.mean(wins, axis=0), 3).tolist(), strict=True)),
                "draws": len(wins),
            }
    return result


def alikeness(table, folder: Path, people: int) -> dict:
    """`alike` for `people` simulated people in `TEN` states and for the real patients with several ECGs."""
    rng = np.random.default_rng(0)
    beats, person, states = [], [], []
    for number in range(people):
        for seed, (name, code) in enumerate(TEN.items()):
            signal = simulate(Person.draw(number), name, seed=seed).select(INDEPENDENT).signal
            beat = r_aligned(signal, 500, GRID)
            if beat is not None:
                beats.append(beat.ravel()), person.append(number), states.append(frozenset([code]))
    simulated = alike(np.array(beats), np.array(person), states, rng)
    beats, person, states = [], [], []
    for _, row in table.iterrows():
        ecg = ECG.read(folder / f"{row.low}.hea").select(INDEPENDENT)
        beat = r_aligned(ecg.signal, ecg.rate, GRID)
        if beat is not None:
            beats.append(beat.ravel()), person.append(row.patient), states.append(frozenset(row.codes))
    return {"simulated": simulated, "real": alike(np.array(beats), np.array(person), states, rng)}


def heart_rates(people: int) -> dict:
    """Asked against measured heart rate over a cohort, beats/min."""
    miss = []
    for one in cohort(people, seed=0):
        found = one.ecg.heart_rate()
        miss.append(np.inf if found is None else abs(found - one.rate))
    return {
        "ECGs": len(miss),
        "within 2/min": float(np.mean(np.array(miss) <= 2)),
        "median error": float(np.median(miss)),
    }


def picture(simulated: ECG, real: ECG, words: str, path: Path) -> None:
    """A simulated ECG (red) above a real one (black), 25 mm/s and at one gain, without the rhythm strip's twin."""
    gain = min(rows_of([ecg]).gain for ecg in (simulated, real))
    rows = [rows_of([ecg], gain) for ecg in (simulated, real)]
    width, height = WIDTH, sum(one.height + 8 for one in rows)
    figure = Figure(figsize=(width / 25.4, height / 25.4), facecolor="white")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    axes.axis("off")
    lines = (f"Simulated: {words}", f"Real: PTB-XL 1.0.3 record {real.name} (Wagner et al., CC BY 4.0)")
    top = height - 7
    for ecg, line, color, its in ((simulated, lines[0], "#b3202c", rows[0]), (real, lines[1], "#111111", rows[1])):
        paper(axes, MARGIN, top - its.height, width - 2 * MARGIN, its.height)
        draw(axes, ecg, MARGIN + PULSE, top, color, its, labels=True)
        axes.text(MARGIN, top + 1.5, line, fontsize=9, weight="bold")
        top -= its.height + 8
    figure.set_dpi(88)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    image.quantize(24, dither=Image.Dither.NONE).save(path, optimize=True)


def pictures(table, folder: Path, out: Path) -> list[str]:
    out.mkdir(parents=True, exist_ok=True)
    there = table[[(folder / f"{high}.hea").exists() for high in table.high]]
    written = []
    for number, (name, code) in enumerate(TEN.items()):
        rows = there[[code in codes for codes in there.codes]]
        usual = [c for c in ("SR", "NORM", code)]
        ecg_id = min(rows.index, key=lambda i: (len(set(rows.codes[i]) - set(usual)), i))
        real = ECG.read(folder / f"{rows.high[ecg_id]}.hea")
        real = ECG(real.signal, real.rate, real.leads, name=str(ecg_id))
        path = out / f"sim_{name.replace(' ', '_')}.png"
        person = Person.draw(50 + number)
        picture(simulate(person, name, seed=number), real, f"{name}, {person.sex}, {person.age:.0f} years", path)
        written.append(path.name)
    plain, block = counterfactual(Person.draw(44), "sinus rhythm", "complete left bundle branch block", 68.0, seed=1)
    path = out / "sim_counterfactual.png"
    block.ecg.plot(
        path,
        reference=plain.ecg,
        title="One simulated person: sinus rhythm (grey), and complete left bundle branch block",
    )
    image = Image.open(path).convert("RGB")
    image.resize((image.width * 6 // 10, image.height * 6 // 10), Image.Resampling.LANCZOS).quantize(
        64, Image.Quantize.MAXCOVERAGE
    ).save(path, optimize=True)
    return [*written, path.name]


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    folder: Annotated[Path, typer.Argument(help="PTB-XL")],
    people: Annotated[int, typer.Option(help="how many people are simulated", min=16)] = 200,
    drawn: Annotated[
        Path | None, typer.Option("--pictures", help="folder for the pictures; none are drawn without it")
    ] = None,
    output: Output = None,
    as_json: Json = False,
) -> None:
    table = read_table(folder)
    table = table[table.fold <= 9]
    assert set(TEN) <= set(STATES) and len(COLUMNS) == 4
    report = {"heart rate": heart_rates(people)}
    if drawn is not None:
        report["pictures"] = pictures(table, folder, drawn)
    try:
        report["judge"] = judged(load_judge(), table, folder, people // 4)
    except ImportError as error:
        report["judge"] = str(error)
    report["alike"] = alikeness(table, folder, people)
    tell(report, "\n".join(told(report)), as_json, output)


def told(figures: Any, name: str = "") -> list[str]:
    """A line for each figure, under the name of its section."""
    if not isinstance(figures, dict):
        return [f"{name}: {figures:.4g}" if isinstance(figures, float) else f"{name}: {figures}"]
    return [line for key, value in figures.items() for line in told(value, f"{name} {key}".strip())]


if __name__ == "__main__":
    app()
