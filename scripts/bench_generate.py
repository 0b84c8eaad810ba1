"""Speed of generation: seconds for 1, 8 and 32 twins, and for many references by table and in one
call beside a loop, in one run.

python scripts/bench_generate.py [--model MODEL] [--steps 12] [--references 40] [--repeat 2] [--json]

People are simulated. "branch by branch" asks the network once for each branch of guidance, as `guide_two_ways` does;
the default asks once for all of them. Each figure is the fastest of `--repeat` runs; ways that are compared take turns,
so that other load falls on all of them.
"""

import contextlib
import csv
import io
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from ecgtwin.cli.cohort import run
from ecgtwin.cli.deliver import Options, Wish
from ecgtwin.cli.errors import refusing, say
from ecgtwin.cli.options import Json, Output, tell
from ecgtwin.cli.people import Asked
from ecgtwin.diffusion import guide_two_ways, sample, seeded_noise
from ecgtwin.diffusion.levels import trailing
from ecgtwin.diffusion.solvers import DpmPP
from ecgtwin.ecg.files import Given
from ecgtwin.ecg.record import ECG
from ecgtwin.ecg.simulate import Person, simulate
from ecgtwin.twin.condition import Condition
from ecgtwin.twin.request import Request
from ecgtwin.twin.twin import ECGTwin

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
WANTED = Condition("atrial fibrillation", heart_rate=110)
SIZES = (1, 8, 32)


@torch.inference_mode()
def by_branches(model: ECGTwin, requests: Sequence[Request], steps: int) -> Tensor:
    """`model.sample` with one call of the network for each branch of guidance."""
    tuned, network = model.config.sampling, model.parts.denoiser
    c = model.conditions([r.condition for r in requests], torch.stack([r.base for r in requests]).to(model.device))
    c = model.with_beats(c, requests)
    none = torch.zeros_like(c.keep_base)
    nothing = c._replace(keep_condition=none, keep_base=none, keep_draft=None if c.draft is None else none)
    branches = (
        model.objective.bind(network, network.prepare(b)) for b in (nothing, c._replace(keep_condition=none), c)
    )
    denoise = guide_two_ways(*branches, tuned.base_guidance, tuned.guidance)
    noise = seeded_noise([r.seed for r in requests])
    shape = (len(requests), model.config.vae.latent, model.config.signal.samples // model.parts.vae.vae.factor)
    x = noise(torch.empty(shape, device=model.device))
    return model.parts.vae.decode(sample(denoise, x, trailing(model.schedule, steps), DpmPP(2), noise))


def timed(ways: dict[str, Callable[[], Any]], repeat: int) -> dict[str, float]:
    """Seconds of each way, the fastest of `repeat` runs in which they take turns."""
    found = {name: float("inf") for name in ways}
    for _ in range(repeat):
        for name, way in ways.items():
            begin = time.perf_counter()
            way()
            found[name] = min(found[name], time.perf_counter() - begin)
    return found


def twins_of_one(model: ECGTwin, n: int, steps: int, repeat: int) -> dict[str, Any]:
    requests = model.requests(people(1)[0], WANTED, range(n))
    ways = {
        "one call": lambda: model.sample(requests, steps=steps),
        "branch by branch": lambda: by_branches(model, requests, steps),
    }
    difference = (ways["one call"]() - ways["branch by branch"]()).abs().max().item()
    seconds = timed(ways, repeat)
    return {
        "twins": n,
        **seconds,
        "ratio": seconds["branch by branch"] / seconds["one call"],
        "largest_difference_mv": difference,
    }


def twins_of_many(model: ECGTwin, count: int, steps: int, repeat: int) -> dict[str, Any]:
    """A loop over references that writes each twin, the table, and the one call of Python that writes nothing."""
    references = people(count)
    with tempfile.TemporaryDirectory() as place:
        folder, turns = Path(place), iter(range(10**6))
        names = [reference.write(folder / f"p{k}.hea").name for k, reference in enumerate(references)]
        with (folder / "people.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["record"], *([name] for name in names)])

        def loop() -> None:
            out = folder / f"loop{next(turns)}"
            for k, name in enumerate(names):
                (twin,) = model.generate(ECG.read(folder / name), WANTED, steps=steps)
                twin.write(out / f"{k}.hea")

        def table() -> None:
            wish = Wish(WANTED.reports, None, None, WANTED.heart_rate, (), None)
            options = Options(1, 0, steps, None, None, "wfdb")
            with contextlib.redirect_stderr(io.StringIO()):
                default = Asked(Path(), wish, 1, 0)
                done = run(
                    folder / "people.csv",
                    default,
                    options,
                    folder / f"table{next(turns)}",
                    model=model,
                    given=Given(),
                    say=str,
                )
            assert done["written"] == count

        seconds = timed(
            {"loop": loop, "table": table, "list": lambda: model.generate(references, WANTED, steps=steps)}, repeat
        )
    return {
        "references": count,
        **seconds,
        "ratio": seconds["loop"] / seconds["table"],
        "per_second": count / seconds["table"],
    }


def people(count: int) -> list[ECG]:
    return [simulate(Person.draw(k), "sinus rhythm", 60.0 + k % 40, seed=k) for k in range(count)]


@app.command(help=__doc__)
def main(
    model: Annotated[Path | None, typer.Option(help="model folder; the default model if left out")] = None,
    steps: Annotated[int | None, typer.Option(help="denoising steps; the model's own if left out")] = None,
    references: Annotated[int, typer.Option(help="people in the table", min=1)] = 40,
    repeat: Annotated[int, typer.Option(help="runs of each way", min=1)] = 2,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps")] = "auto",
    output: Output = None,
    as_json: Json = False,
) -> None:
    with refusing():
        loaded = ECGTwin.from_pretrained(model, device=device)
        steps = loaded.config.sampling.steps if steps is None else steps
        tuned = loaded.config.sampling
        found: dict[str, Any] = {"device": str(loaded.device), "threads": torch.get_num_threads(), "steps": steps}
        found |= {"guidance": tuned.guidance, "base_guidance": tuned.base_guidance, "batch": loaded.full}
        found["one"], lines = [], []
        for n in SIZES:
            found["one"].append(twins_of_one(loaded, n, steps, repeat))
            row = found["one"][-1]
            lines.append(
                f"{n:4d} twins  one call {row['one call']:7.2f} s  branch by branch "
                f"{row['branch by branch']:7.2f} s  x{row['ratio']:.2f}"
            )
            say(lines[-1])
        found["many"] = many = twins_of_many(loaded, references, steps, repeat)
        times = "  ".join(f"{name} {many[name]:.2f} s" for name in ("loop", "table", "list"))
        lines.append(f"{references} references  {times}  loop/table x{many['ratio']:.2f}")
        tell(found, "\n".join(lines), as_json, output)


if __name__ == "__main__":
    app()
