"""What `ecgtwin generate` is asked of the attention to statements: weights, a state to resemble, sheets of the maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import HOW
from .walk import Walk

if TYPE_CHECKING:
    from ..ecg.record import ECG
    from ..twin.condition import Condition
    from ..twin.twin import ECGTwin
    from .wanted import Options

Weight = Annotated[
    list[str] | None,
    typer.Option(
        metavar="STATEMENT=W",
        help="how strongly a statement of --report counts, 1 = as learned; may be repeated",
        rich_help_panel=HOW,
    ),
]
Like = Annotated[
    list[str] | None,
    typer.Option(
        help="statement of a state whose twins, of the same noise and beats, these shall resemble (prompt-to-prompt); "
        "may be repeated",
        rich_help_panel=HOW,
    ),
]
Kept = Annotated[
    float,
    typer.Option(
        "--kept", help="with --like: part of the steps, 0-1, in which what both ask for acts alike", rich_help_panel=HOW
    ),
]
Pictures = Annotated[
    bool,
    typer.Option(
        "--attention", help="also sheets that show where the network looked for each statement", rich_help_panel=HOW
    ),
]


@dataclass(frozen=True)
class Attending:
    """weights: of statements. like: statements of the state that twins shall resemble, for `kept` of the run. pictures:
    whether the maps are drawn."""

    weights: tuple[tuple[str, float], ...] = ()
    like: tuple[str, ...] = ()
    kept: float = 0.8
    pictures: bool = False

    @property
    def edits(self) -> bool:
        return bool(self.weights or self.like)

    def check(self, options: "Options") -> None:
        """ValueError where other options ask for something else."""
        other = options.keep or options.rescale or options.walk != Walk() or options.negative or options.fast
        other = other or options.variety is not None
        if self.edits and other:
            raise ValueError(
                "--weight and --like go without --keep, --rescale, --negative-report, --fast, --variety and what says "
                "how to step"
            )
        scaled = options.guidance is not None or options.base_guidance is not None
        if self.pictures and (other or self.edits or options.candidates or scaled):
            raise ValueError("--attention shows twins as the model draws them by itself: give only -n, --seed, --steps")


def weights_of(texts: list[str] | None) -> tuple[tuple[str, float], ...]:
    """Names with their weights. ValueError for what is no NAME=NUMBER."""
    found = []
    for text in texts or ():
        name, _, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = None
        if value is None or not name.strip():
            raise ValueError(f"--weight {text}: expected NAME=NUMBER such as 'inverted T waves=1.5'")
        found.append((name.strip(), value))
    return tuple(found)


def rewritten(
    model: "ECGTwin", used: "ECG", now: "Condition", own: "Condition | None", options: "Options"
) -> "list[ECG]":
    """Twins whose statements are weighed, or looked at as in those of another state."""
    from ..twin.condition import Condition

    asked = options.attending
    return model.rewrite(
        used,
        now,
        source=Condition(model.normalise(asked.like)) if asked.like else None,
        weights=dict(asked.weights),
        kept=asked.kept,
        reference_condition=own,
        n=options.candidates or options.n,
        steps=options.steps,
        guidance=options.guidance,
        base_guidance=options.base_guidance,
        seed=options.seed,
    )


def draw_maps(
    model: "ECGTwin",
    used: "ECG",
    now: "Condition",
    own: "Condition | None",
    steps: int | None,
    twins: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """Sheets by their files' names, of the twins in a sidecar; each of these is told which of its files shows what."""
    sheets = {}
    for twin in twins:
        found = model.attention(used, now, reference_condition=own, steps=steps, seed=twin["seed"])
        twin["attention"] = {}
        for k, statement in enumerate(found.statements, 1):
            name = f"{Path(twin['file']).stem}_attention_{k}.png"
            twin["attention"][statement] = name
            sheets[name] = (found, statement)
    return sheets
