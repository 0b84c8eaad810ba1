"""Beats, voltages, intervals and identity of twins, state by state, beside real ECGs:

python scripts/twin_report.py MODEL STORE [--output FILE] [--json]
"""

from pathlib import Path
from typing import Annotated

import typer

from ecgtwin.cli.options import Json, ModelFolder, OtherTwins, Output, People, Steps, tell
from ecgtwin.evaluation import per_state as of
from ecgtwin.evaluation.evaluate import opened
from ecgtwin.metrics.judge import load_judge
from ecgtwin.twin.model import named
from ecgtwin.twin.twin import ECGTwin

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    model: ModelFolder,
    real: Annotated[Path, typer.Argument(help="a store, or a PTB-XL folder")],
    references: People = 32,
    steps: Steps = None,
    seed: OtherTwins = 0,
    output: Output = None,
    as_json: Json = False,
) -> None:
    twin = ECGTwin.from_pretrained(named(model))
    signal = twin.config.signal
    judge = load_judge()
    with opened(real, signal.rate, signal.samples) as recordings:
        found = {
            "per_state": of.per_state(twin, recordings, references_=references, seed=seed, judge=judge, steps=steps),
            "to_normal": of.to_normal(twin, recordings, seed=seed, judge=judge, steps=steps),
            "by_rate": of.by_rate(twin, recordings, seed=seed, steps=steps),
        }
    tell(found, text(found), as_json, output)


def text(found: dict) -> str:
    """The figures as Markdown tables."""
    lines = [
        "| state | size I, II, V1-V6 | QRS | real | QTc | real | PR | real | own | AUROC | judge | rate error | odd |",
        "|---" * 13 + "|",
    ]
    for name, row in found["per_state"].items():
        twins, real = row["twins"], row.get("real") or row["references"]
        cells = [name, " ".join(f"{s:.2f}" for s in row.get("size", []))]
        for key in ("qrs", "qtc_fridericia", "pr"):
            cells += [middle(twins[key]), middle(real[key])]
        cells += [f"{row['own']:.2f}", *(f"{row[k]:.2f}" if k in row else "" for k in ("auroc", "auroc_judge"))]
        lines.append("| " + " | ".join([*cells, f"{row['rate_error']:.1f}", f"{twins['odd']:.2f}"]) + " |")
    unchanged = found["per_state"]["unchanged"]
    lines += ["", f"unchanged condition: median beat {unchanged['distance_uv']:.0f} uV from the reference", ""]
    lines += ["| asked for normal, was | n | rules | narrow | judge | statement gone | own |", "|---" * 7 + "|"]
    for name, row in found["to_normal"].items():
        lines.append(
            f"| {name} | {row['n']} | "
            + " | ".join(f"{row[k]:.2f}" if k in row else "" for k in ("rules", "narrow", "judge", "gone", "own"))
            + " |"
        )
    lines += [
        "",
        "| rhythm, rate | rate error | QTc quartiles | PR quartiles | P present | odd | RR variation |",
        "|---" * 7 + "|",
    ]
    for name, row in found["by_rate"].items():
        cells = [quartiles(row["qtc_fridericia"]), quartiles(row["pr"]), f"{row['p_present']:.2f}", f"{row['odd']:.2f}"]
        variation = row["rr_variation"]
        lines.append(
            f"| {name} | {row['rate_error']:.1f} | "
            + " | ".join([*cells, f"{variation[1]:.3f}" if variation else ""])
            + " |"
        )
    return "\n".join(lines)


def middle(found: list[float] | None) -> str:
    return "" if found is None else f"{found[1]:.0f}"


def quartiles(found: list[float] | None) -> str:
    return "" if found is None else " ".join(f"{v:.0f}" for v in found)


if __name__ == "__main__":
    app()
