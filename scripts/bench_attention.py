"""Where does the network look at a statement? Maps of simulated people, whose findings lie where they are known to lie.

python scripts/bench_attention.py --people 20 --output attention.json --pictures docs/pictures

For each statement the share of its map within the part of the beat that it is about (QRS: 60 ms before to 90 ms after
the R peak; ST-T: 90 to 400 ms after it) beside the share of time that this part takes, which is what an even map has;
and how the measured finding follows the statement's weight from 0 to 2.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from ecgtwin import Condition, ECGTwin
from ecgtwin.cli.errors import refusing, say
from ecgtwin.cli.options import Json, Output, tell
from ecgtwin.ecg.intervals import measure
from ecgtwin.ecg.leads import INDEPENDENT
from ecgtwin.ecg.record import ECG
from ecgtwin.ecg.rhythm import r_peaks
from ecgtwin.ecg.simulate import Person, simulate
from ecgtwin.metrics.bootstrap import mean

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
PLACES = {"QRS": (-0.06, 0.09), "ST-T": (0.09, 0.40)}
"""Seconds from the R peak."""
FINDINGS = {
    "complete left bundle branch block": "QRS",
    "complete right bundle branch block": "QRS",
    "Wolff-Parkinson-White syndrome": "QRS",
    "ischemic ST-T changes in lateral leads": "ST-T",
    "non-specific ischemic ST-T changes": "ST-T",
    "inverted T waves": "ST-T",
}
WEIGHTS = (0.0, 0.5, 1.0, 1.5, 2.0)
WEIGHED = 6
"""People whose statements are weighed."""
RHYTHM = Condition("sinus rhythm")


@app.command(help=__doc__)
def main(
    people: Annotated[int, typer.Option(help="simulated people in sinus rhythm", min=2)] = 20,
    model: Annotated[str, typer.Option(help='a model folder, or "default"')] = "default",
    pictures: Annotated[Path | None, typer.Option(help="folder for sheets of the first person")] = None,
    output: Output = None,
    as_json: Json = False,
) -> None:
    with refusing():
        twin = ECGTwin.from_pretrained(model)
        references = [simulate(Person.draw(k), "sinus rhythm", 66.0, seed=k) for k in range(people)]
        rows = [looked(twin, references, statement, pictures) for statement in FINDINGS]
        heads = "statement", "place", "share there", "even", "other place", "even", "highest", "QRS ms, T in V6 mV"
        text = [f"| {' | '.join(heads)} by weight |", "|---" * len(heads) + "|"]
        text += [
            f"| {r['statement']} | {r['place']} | {r['share'][0]:.3f} ({r['share'][1]:.3f}-{r['share'][2]:.3f}) | "
            f"{r['even']:.3f} | {r['other share']:.3f} | {r['other even']:.3f} | {r['peak ms']:.0f} ms | "
            f"{', '.join(f'{w:g}: {a:.0f}, {b:.2f}' for w, (a, b) in r['by weight'].items())} |"
            for r in rows
        ]
        tell(rows, "\n".join(text), as_json, output)


def looked(twin: ECGTwin, references: list[ECG], statement: str, pictures: Path | None) -> dict:
    """One row: the maps of a statement beside sinus rhythm, and what its weight does."""
    place = FINDINGS[statement]
    condition, found = Condition(f"sinus rhythm|{statement}"), {w: [] for w in WEIGHTS}
    shares, peaks_of = [], []
    for k, reference in enumerate(references):
        one = twin.attention(reference, condition, reference_condition=RHYTHM, seed=k)
        if k == 0 and pictures is not None:
            say(str(one.plot(statement, pictures / f"attention_{statement.replace(' ', '_')}.png")))
        peaks = r_peaks(one.ecg.select(INDEPENDENT).signal, one.ecg.rate)
        peaks_of.append(peak_of(one, statement, peaks))
        shares.append([one.share(statement, around(peaks, one, PLACES[p])) for p in PLACES])
        if k < WEIGHED:
            for weight, rows in found.items():
                rows.append(measured(twin, reference, condition, {statement: weight}, k))
    values = np.array(shares)  # (people, places, 2)
    here = list(PLACES).index(place)
    return {
        "statement": statement,
        "place": place,
        "share": list(mean(values[:, here, 0], np.arange(len(values)))),
        "even": float(values[:, here, 1].mean()),
        "other share": float(values[:, 1 - here, 0].mean()),
        "other even": float(values[:, 1 - here, 1].mean()),
        "peak ms": float(np.median(peaks_of)),
        "by weight": {w: [float(v) for v in np.nanmean(np.array(rows), 0)] for w, rows in found.items()},
    }


def peak_of(one, statement: str, peaks: np.ndarray) -> float:
    """When after the R peak, in ms, the map's mean over beats is highest."""
    row, (before, after) = one.maps[one.statements.index(statement)], (round(s * one.ecg.rate) for s in (0.3, 0.5))
    beats = [row[p - before : p + after] for p in peaks if p >= before and p + after <= len(row)]
    return 1000 * (int(np.mean(beats, 0).argmax()) - before) / one.ecg.rate


def around(peaks: np.ndarray, one, seconds: tuple[float, float]) -> np.ndarray:
    """(L,) True within so many seconds of an R peak."""
    inside = np.zeros(one.maps.shape[1], bool)
    for peak in peaks:
        begin, end = (round(peak + s * one.ecg.rate) for s in seconds)
        inside[max(0, begin) : max(0, end)] = True
    return inside


def measured(twin: ECGTwin, reference: ECG, condition: Condition, weights: dict, seed: int) -> tuple[float, float]:
    """QRS in ms and T in V6 in mV of an ECG whose statements are weighed."""
    (one,) = twin.rewrite(reference, condition, weights=weights, reference_condition=RHYTHM, seed=seed)
    m = measure(one.select(INDEPENDENT).signal, one.rate, INDEPENDENT)
    lead = (m.amplitudes or {}).get("V6")
    return (np.nan if m.qrs is None else m.qrs, np.nan if lead is None or lead.t is None else lead.t)


if __name__ == "__main__":
    app()
