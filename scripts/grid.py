"""Search sampler x steps x guidance scale, and draw the heat maps that choose a default.

python scripts/grid.py ecg --real STORE_OR_PTBXL --output FOLDER [--model FOLDER] [--sampler DDIM --sampler "UniPC 2"]
python scripts/grid.py image MODEL --data digits --output FOLDER

ECGs: real validation ECGs are drawn again under their own condition and base; kernel distance to real ones, and the
    heart rate's error.
Images: one for each held-out caption; FID on the features of a judge trained on real pictures, and the share that it
    recognises.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from tqdm import tqdm

from ecgtwin.atomic import write_text
from ecgtwin.cli.errors import refusing
from ecgtwin.cli.options import Json, OtherNoise, RealOption, tell
from ecgtwin.diffusion.levels import trailing
from ecgtwin.diffusion.solvers import DDIM, DDPM, DpmPP, EulerAncestral, Heun, Solver, UniPC

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)
SOLVERS: dict[str, Solver] = {
    "DDIM": DDIM(),
    "DDPM": DDPM(),
    "Euler-ancestral": EulerAncestral(),
    "Heun": Heun(),
    "DPM-Solver++ 2M": DpmPP(2),
    "SDE-DPM-Solver++ 2M": DpmPP(2, eta=1.0),
    "UniPC 2": UniPC(2),
}
Samplers = Annotated[list[str], typer.Option("--sampler", help=f"one or more of {', '.join(SOLVERS)}")]
Steps = Annotated[list[int], typer.Option("--steps", help="repeat")]
Scales = Annotated[list[float], typer.Option("--guidance", help="repeat")]
Output = Annotated[Path, typer.Option(help="folder for grid.json, grid.md and grid.png")]


@app.command()
def ecg(
    real: RealOption,
    output: Output,
    model: Annotated[Path | None, typer.Option(help="model folder; the model inside the package if left out")] = None,
    ecgs: Annotated[int, typer.Option(help="validation ECGs that are drawn again", min=8)] = 32,
    sampler: Samplers = ["DDIM", "DPM-Solver++ 2M", "UniPC 2"],  # noqa: B006
    steps: Steps = [5, 10, 20],  # noqa: B006
    guidance: Scales = [1.0, 2.0, 3.5, 5.0],  # noqa: B006
    base_guidance: Annotated[float, typer.Option(help="how strongly the identity acts")] = 1.0,
    seed: OtherNoise = 0,
    as_json: Json = False,
) -> None:
    """Heat maps of the kernel distance to real ECGs and of the heart rate's error."""
    with refusing():
        chosen = solvers(sampler)
        from ecgtwin.evaluation.evaluate import opened
        from ecgtwin.evaluation.sampler_quality import Panel
        from ecgtwin.twin.twin import ECGTwin

        twin = ECGTwin.from_pretrained(model)
        c = twin.config.signal
        with opened(real, c.rate, c.samples) as recordings:
            panel = Panel(twin, recordings.only("validation"), ecgs, seed)

        def measure(solver: Solver, count: int, scale: float) -> dict[str, float]:
            found = panel.quality(
                panel.draw(solver, trailing(twin.schedule, count), guidance=scale, base_guidance=base_guidance)
            )
            return {"kernel distance x 1000": found.distance, "heart rate error, beats/min": found.rate_error}

        finish(searched(chosen, steps, guidance, measure), output, as_json)


@app.command()
def image(
    model: Annotated[Path, typer.Argument(help="model folder of `ecgtwin image train`")],
    output: Output,
    data: Annotated[str, typer.Option(help="the pictures it was trained on: 'digits', or a folder")] = "digits",
    sampler: Samplers = ["DDIM", "DPM-Solver++ 2M", "UniPC 2"],  # noqa: B006
    steps: Steps = [5, 10, 20],  # noqa: B006
    guidance: Scales = [1.0, 1.5, 2.0, 4.0],  # noqa: B006
    judge_steps: Annotated[int, typer.Option(help="training steps of the judge", min=1)] = 600,
    most: Annotated[int, typer.Option(help="held-out captions at most", min=8)] = 400,
    seed: OtherNoise = 0,
    as_json: Json = False,
) -> None:
    """Heat maps of the FID and of the share that is not recognised."""
    with refusing():
        chosen = solvers(sampler)
        from ecgtwin.cli.pictures import read_pictures
        from ecgtwin.image.evaluation import distances, generate_like
        from ecgtwin.image.judge import train_judge
        from ecgtwin.image.pipeline import ImagePipeline

        pipeline = ImagePipeline.from_pretrained(model)
        settings = pipeline.parts.data
        seen, held = read_pictures(data, pipeline.config, settings).split(settings.held)
        held = held.select(range(min(most, len(held))))
        judge, truth, known = train_judge(seen, steps=judge_steps), held.centred().pixels, seen.centred().pixels

        def measure(solver: Solver, count: int, scale: float) -> dict[str, float]:
            made = generate_like(pipeline, held.captions, steps=count, guidance=scale, solver=solver, seed=seed)
            fid = distances(judge.features, made, truth, known)["fid"]
            return {"FID": fid, "share not recognised": 1 - judge.accuracy(made, held.captions)}

        finish(searched(chosen, steps, guidance, measure), output, as_json)


def solvers(names: Sequence[str]) -> dict[str, Solver]:
    unknown = [name for name in names if name not in SOLVERS]
    if unknown:
        raise ValueError(f"sampler {unknown[0]!r}: expected one of {', '.join(SOLVERS)}")
    return {name: SOLVERS[name] for name in names}


def searched(
    chosen: dict[str, Solver],
    steps: list[int],
    guidance: list[float],
    measure: Callable[[Solver, int, float], dict[str, float]],
) -> list[dict[str, Any]]:
    """One row for each combination; the first figure decides which is best."""
    if min(steps) < 1:
        raise ValueError(f"steps {min(steps)}: expected 1 or more")
    cells = [(name, count, scale) for name in chosen for count in sorted(set(steps)) for scale in sorted(set(guidance))]
    return [
        {"sampler": name, "steps": count, "guidance": scale, "figures": measure(chosen[name], count, scale)}
        for name, count, scale in tqdm(cells, desc="grid")
    ]


def finish(rows: list[dict[str, Any]], output: Path, as_json: bool) -> None:
    figures = list(rows[0]["figures"])
    rows = sorted(rows, key=lambda row: row["figures"][figures[0]])
    lines = ["| sampler | steps | guidance | " + " | ".join(figures) + " |", "|---" * (3 + len(figures)) + "|"]
    for row in rows[:10]:
        shown = " | ".join(f"{row['figures'][name]:.4g}" for name in figures)
        lines.append(f"| {row['sampler']} | {row['steps']} | {row['guidance']:g} | {shown} |")
    tell(rows, "\n".join(lines), as_json, output / "grid.json")
    write_text(output / "grid.md", "\n".join(lines) + "\n")
    draw(rows, figures, output / "grid.png")


def draw(rows: list[dict[str, Any]], figures: list[str], path: Path) -> None:
    """One map for each sampler and figure: steps down, guidance across, dark is better; the best cell is framed."""
    import numpy as np
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    names = sorted({row["sampler"] for row in rows})
    steps, scales = (sorted({row[key] for row in rows}) for key in ("steps", "guidance"))
    page = Figure(
        figsize=(1.6 + 1.1 * len(scales) * len(names), (1.2 + 0.7 * len(steps)) * len(figures)), layout="constrained"
    )
    axes = page.subplots(len(figures), len(names), squeeze=False)
    for line, figure in enumerate(figures):
        values = [row["figures"][figure] for row in rows if np.isfinite(row["figures"][figure])]
        low, high = min(values), max(values)
        norm = LogNorm(low, high) if 0 < low < high / 5 else Normalize(low, high)
        for column, name in enumerate(names):
            cells = {(row["steps"], row["guidance"]): row["figures"][figure] for row in rows if row["sampler"] == name}
            table = np.array([[cells[count, scale] for scale in scales] for count in steps])
            ax = axes[line, column]
            ax.imshow(table, norm=norm, cmap="viridis", aspect="auto")
            ax.set_xticks(range(len(scales)), [f"{scale:g}" for scale in scales])
            ax.set_yticks(range(len(steps)), steps)
            ax.set_title(f"{name}\n{figure}" if column == 0 else name, fontsize=9)
            ax.set(xlabel="guidance", ylabel="steps")
            for (y, x), value in np.ndenumerate(table):
                colour = "white" if norm(value) < 0.6 else "black"
                shown = f"{value:.0f}" if value >= 100 else f"{value:.3g}"
                ax.text(x, y, shown, ha="center", va="center", fontsize=8, color=colour)
                if value == low:
                    ax.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor="red", linewidth=2))
    page.savefig(path, dpi=100)


if __name__ == "__main__":
    app()
