"""Speed of generation: seconds for 1, 8, 32 and 256 twins and for many references, beside a plain loop, a diffusers
pipeline on the same network and the published sampler, in one run.

python scripts/bench_generate.py [--model MODEL] [--steps 20] [--references 200] [--repeat 2] [--output FOLDER] [--json]

People are simulated. Each figure is the fastest of `--repeat` runs; ways that are compared take turns, so that other
load falls on all of them. Beside other programs, `--processor` counts processor time, with OMP_NUM_THREADS=1.
"plain loop": three calls of the network a step (nothing, identity, both), every step from the conditions on.
"diffusers": DPMSolverMultistepScheduler, the three in one batch as its pipelines do. "published": 1,000 ancestral steps
of the full-size network (random weights), timed for a few and scaled. Share of the peak: floating point operations of
the network's calls, those really made, over what the fastest of several matrix products reaches.
"""

import contextlib
import csv
import io
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import torch
import typer
from torch import Tensor

from ecgtwin.atomic import write_file, write_text
from ecgtwin.cli.cohort import run
from ecgtwin.cli.deliver import Options, Wish
from ecgtwin.cli.errors import refusing, say
from ecgtwin.cli.options import Json, tell
from ecgtwin.cli.people import Asked
from ecgtwin.diffusion import bind, guide_two_ways, sample, seeded_noise, two_ways, weigh
from ecgtwin.diffusion.denoiser import read
from ecgtwin.diffusion.levels import trailing
from ecgtwin.diffusion.solvers import DpmPP, EulerAncestral
from ecgtwin.ecg.files import Given
from ecgtwin.ecg.record import ECG
from ecgtwin.ecg.simulate import Person, simulate
from ecgtwin.nets import lean as leans
from ecgtwin.twin.condition import Condition, Conditions
from ecgtwin.twin.config import ModelConfig
from ecgtwin.twin.lean import MISSED, LeanTwin, difference, quicker
from ecgtwin.twin.model import build_denoiser, build_schedule
from ecgtwin.twin.request import Request
from ecgtwin.twin.twin import ECGTwin

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
WANTED = Condition("atrial fibrillation", heart_rate=110)
SIZES, COMPARED = (1, 8, 32, 256), 8
"""Twins of one person; the slow ways are timed up to so many of them."""
PUBLISHED = 4
"""Steps of the published sampler that are timed, of its 1,000."""


def branches(model: ECGTwin, requests: Sequence[Request]) -> tuple[Conditions, Conditions, Conditions]:
    """Conditions that know nothing, the identity, and both."""
    c = model.conditions([r.condition for r in requests], torch.stack([r.base for r in requests]).to(model.device))
    c = model.with_beats(c, requests)
    none = torch.zeros_like(c.keep_base)
    nothing = c._replace(keep_condition=none, keep_base=none, keep_draft=None if c.draft is None else none)
    return nothing, c._replace(keep_condition=none), c


def noise_of(model: ECGTwin, requests: Sequence[Request]) -> Tensor:
    return seeded_noise([r.seed for r in requests])(torch.empty(len(requests), *model.latent, device=model.device))


@torch.inference_mode()
def plain_loop(model: ECGTwin, requests: Sequence[Request], steps: int) -> Tensor:
    tuned = model.config.sampling
    three = [model.objective.bind(model.parts.denoiser, c) for c in branches(model, requests)]

    def denoise(x: Tensor, at):  # all three are called, also where the scales leave one out
        found = [one(x, at) for one in three]
        return guide_two_ways(*(lambda x, at, f=f: f for f in found), tuned.base_guidance, tuned.guidance)(x, at)

    x = sample(denoise, noise_of(model, requests), trailing(model.schedule, steps), DpmPP(2))
    return model.parts.vae.decode(x)


@torch.inference_mode()
def diffusers_pipeline(
    model: ECGTwin, requests: Sequence[Request], steps: int, network: Callable | None = None
) -> Tensor:
    from diffusers import DPMSolverMultistepScheduler

    tuned = model.config.sampling
    beta = 1 - model.schedule.alpha_bar[1:] / model.schedule.alpha_bar[:-1]
    betas = torch.cat([1 - model.schedule.alpha_bar[:1], beta]).clamp(max=0.999).numpy()
    kind = {"v": "v_prediction", "eps": "epsilon", "x0": "sample"}[model.config.diffusion.prediction]
    scheduler = DPMSolverMultistepScheduler(
        num_train_timesteps=len(betas), trained_betas=betas, prediction_type=kind, timestep_spacing="trailing"
    )
    scheduler.set_timesteps(steps)
    x = noise_of(model, requests)
    if network is None:
        c = Conditions(*(None if a[0] is None else torch.cat(a) for a in zip(*branches(model, requests), strict=True)))
        prepared = model.parts.denoiser.prepare(c)
        network = lambda x, t: model.parts.denoiser(x, t, prepared)  # noqa: E731
    for t in scheduler.timesteps:
        many = scheduler.scale_model_input(torch.cat([x] * 3), t)
        nothing, first, both = network(many, t.expand(len(many))).chunk(3)
        guided = nothing + tuned.base_guidance * (first - nothing) + tuned.guidance * (both - first)
        x = scheduler.step(guided, t, x).prev_sample
    return model.parts.vae.decode(x)


@torch.inference_mode()
def overhead(model: ECGTwin, steps: int) -> dict[str, float]:
    """Microseconds of a step of one twin beside the network: solver and guidance, the network answering at once."""
    requests, levels = model.requests(people(1)[0], WANTED, [0]), trailing(model.schedule, steps)
    weights = two_ways(1.5, 2.5)
    ours = weigh(read(lambda x, at: x, model.objective.prediction), weights)
    x = noise_of(model, requests)
    with patch.object(type(model.parts.vae), "decode", lambda self, z: z):
        ways = {
            "ours": lambda: sample(ours, x, levels, DpmPP(2)),
            "diffusers": lambda: diffusers_pipeline(model, requests, steps, lambda x, t: x),
        }
        return {name: 1e6 * seconds / steps for name, seconds in timed(ways, 20).items()}


def processor_time() -> float:
    """Seconds of this process and of those that it started and that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


CLOCK = {"": time.perf_counter}
"""What seconds are read from; `--processor` puts another in."""


def timed(ways: dict[str, Callable[[], Any]], repeat: int) -> dict[str, float]:
    """Seconds of each way, the fastest of `repeat` runs in which they take turns."""
    clock, found = CLOCK[""], {name: float("inf") for name in ways}
    for _ in range(repeat):
        for name, way in ways.items():
            begin = clock()
            way()
            found[name] = min(found[name], clock() - begin)
    return found


@torch.inference_mode()
def peak(device: torch.device) -> float:
    """Most operations a second of several float32 matrix products."""
    best = 0.0
    for m, k, n in ((1024, 1024, 1024), (2048, 2048, 2048), (128, 256, 1024), (1024, 256, 768), (1024, 1024, 256)):
        a, layer = torch.randn(m, k, device=device), torch.nn.Linear(k, n, device=device)
        best = max(best, 2 * m * k * n / timed({"": lambda a=a, f=layer: f(a).sum().item()}, 12)[""])
    return best


@torch.inference_mode()
def network_call(model: ECGTwin, n: int, repeat: int) -> tuple[float, float]:
    """Operations and seconds of a call of the network for n twins."""
    from torch.utils.flop_counter import FlopCounterMode

    requests = model.requests(people(1)[0], WANTED, range(n))
    nothing, _, both = branches(model, requests)
    c = Conditions(*(None if a is None else torch.cat([a, b]) for a, b in zip(nothing, both, strict=True)))
    x = noise_of(model, requests).repeat(2, 1, 1)
    lean = LeanTwin(model.parts.denoiser, model.parts.denoiser.prepare(c), x.shape[-1])
    lean.expect([500.0])
    with patch.object(leans, "fused", lambda: False), FlopCounterMode(display=False) as counter:
        lean(x, 500.0)
    return counter.get_total_flops(), timed({"": lambda: lean(x, 500.0)}, 5 * repeat)[""]


def twins_of_one(model: ECGTwin, half: ECGTwin | None, n: int, steps: int, repeat: int, top: float) -> dict[str, Any]:
    requests = model.requests(people(1)[0], WANTED, range(n))
    ways = {"ours": lambda: model.sample_in_parts(requests, steps=steps)}
    if half is not None:
        ways["bfloat16"] = lambda: half.sample_in_parts(requests, steps=steps)
    row: dict[str, Any] = {"twins": n}
    if n <= COMPARED:
        ways["plain loop"] = lambda: plain_loop(model, requests, steps)
        with contextlib.suppress(ImportError):
            import diffusers  # noqa: F401

            ways["diffusers"] = lambda: diffusers_pipeline(model, requests, steps)
        twins = ways["ours"]()
        row["largest_difference_mv"] = (twins - ways["plain loop"]()).abs().max().item()
        if half is not None:
            row["bfloat16_rms_uv"] = 1000 * (ways["bfloat16"]() - twins).square().mean().sqrt().item()
    row |= {"seconds": timed(ways, repeat if n <= COMPARED else 1)}
    flops, seconds = network_call(model, min(n, model.full), repeat)
    return row | {"share_of_peak": flops / seconds / top}


@torch.inference_mode()
def published() -> float:
    """Seconds of one ECG by the published sampler: 1,000 steps of the full-size network, from a few of them."""
    config = ModelConfig()
    network = build_denoiser(config).eval()
    c = Conditions(
        torch.randn(1, 3, 3 + config.text.width), torch.ones(1, 3).bool(), torch.ones(1, 3).bool(),
        torch.randn(1, config.base.base), torch.ones(1).bool(), torch.ones(1).bool(),
    )  # fmt: skip
    schedule = build_schedule(config)
    levels = trailing(schedule, schedule.length)[: PUBLISHED + 1]
    x, denoise = torch.randn(1, config.vae.latent, 128), bind(network, c, "eps")
    return timed({"": lambda: sample(denoise, x, levels, EulerAncestral())}, 3)[""] / PUBLISHED * schedule.length


def twins_of_many(model: ECGTwin, count: int, steps: int) -> dict[str, Any]:
    """Seconds of a loop over references that writes each twin, and of the table."""
    references = people(count)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        names = [reference.write(folder / f"p{k}.hea").name for k, reference in enumerate(references)]
        with (folder / "people.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["record"], *([name] for name in names)])

        def loop() -> None:
            for k, name in enumerate(names):
                (twin,) = model.generate(ECG.read(folder / name), WANTED, steps=steps)
                twin.write(folder / "loop" / f"{k}.hea")

        def table() -> None:
            wish = Wish(WANTED.reports, None, None, WANTED.heart_rate, (), None)
            options = Options(1, 0, steps, None, None, "wfdb")
            with contextlib.redirect_stderr(io.StringIO()):
                asked = folder / "people.csv", Asked(Path(), wish, 1, 0), options, folder / "table"
                done = run(*asked, model=model, given=Given(), say=str)
            assert done["written"] == count

        return {"references": count, **timed({"loop": loop, "table": table}, 1)}


def cold() -> dict[str, float]:
    """Seconds of fresh processes: the fastest of three."""
    first = (
        "from ecgtwin.cli.deliver import example; from ecgtwin import Condition, ECGTwin; "
        "ECGTwin.from_pretrained().generate(example(), Condition('atrial fibrillation'))"
    )
    lines = {
        "import ecgtwin": ["-c", "import ecgtwin"],
        "ecgtwin --help": ["-m", "ecgtwin", "--help"],
        "import torch": ["-c", "import torch"],
        "first twin": ["-c", first],
    }
    ways = {name: lambda line=line: subprocess.run([sys.executable, *line], check=True, capture_output=True)
            for name, line in lines.items()}  # fmt: skip
    return timed(ways, 3)


def people(count: int) -> list[ECG]:
    return [simulate(Person.draw(k), "sinus rhythm", 60.0 + k % 40, seed=k) for k in range(count)]


def table(found: dict[str, Any]) -> str:
    columns = ["plain loop", "diffusers", "ours", "bfloat16"]
    lines = [f"{found['device']}, {found['threads']} threads, {found['steps']} steps, PyTorch {found['torch']}; matrix "
             f"peak {found['peak'] / 1e9:.0f} GFLOP/s (float32); {found['clock']}", "",
             "| twins | " + " | ".join(f"{name}, s" for name in columns) + " | plain / ours | share of peak |",
             "|---" * 7 + "|"]  # fmt: skip
    for row in found["one"]:
        s = row["seconds"]
        cells = [f"{s[name]:.2f}" if name in s else "" for name in columns]
        ratio = f"{s['plain loop'] / s['ours']:.1f}" if "plain loop" in s else ""
        lines.append(f"| {row['twins']} | {' | '.join(cells)} | {ratio} | {row['share_of_peak']:.0%} |")
    many, over, fresh = found["many"], found["overhead"], found["cold"]
    lines += [
        "",
        f"{many['references']} references, read and written: loop {many['loop']:.1f} s, table {many['table']:.1f} s. "
        f"Published sampler: {found['published']:.0f} s for one ECG.",
        "Milliseconds of the network for a twin and step, by twins in a batch: "
        + ", ".join(f"{n}: {ms:.1f}" for n, ms in found["milliseconds_a_twin"].items())
        + f" (batches are of {found['batch']}).",
        "A step beside the network: " + ", ".join(f"{name} {us:.0f} us" for name, us in over.items()) + ".",
        "Fresh processes: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in fresh.items()) + ".",
    ]
    return "\n".join(lines)


def plot(found: dict[str, Any], path: Path) -> None:
    """Seconds of a twin by each way."""
    from matplotlib.figure import Figure

    page = Figure(figsize=(7, 4), layout="constrained")
    axes = page.subplots()
    for name in ("plain loop", "diffusers", "ours", "bfloat16"):
        rows = [r for r in found["one"] if name in r["seconds"]]
        axes.plot([r["twins"] for r in rows], [r["seconds"][name] / r["twins"] for r in rows], marker="o", label=name)
    axes.axhline(found["published"], color="black", linestyle=":", label="published sampler")
    axes.set(xscale="log", yscale="log", xlabel="twins at once", ylabel="seconds a twin")
    axes.set_xticks(SIZES, labels=map(str, SIZES))
    axes.grid(alpha=0.3)
    axes.legend()
    page.savefig(path, dpi=90)


@app.command(help=__doc__)
def main(
    model: Annotated[Path | None, typer.Option(help="model folder; the default model if left out")] = None,
    steps: Annotated[int, typer.Option(help="denoising steps", min=1)] = 20,
    references: Annotated[int, typer.Option(help="people in the table", min=1)] = 200,
    largest: Annotated[int, typer.Option(help="most twins of one person", min=1)] = SIZES[-1],
    repeat: Annotated[int, typer.Option(help="runs of each way", min=1)] = 2,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps")] = "auto",
    output: Annotated[Path | None, typer.Option(help="write generate.md, .json and .png here")] = None,
    processor: Annotated[bool, typer.Option("--processor", help="count processor time")] = False,
    as_json: Json = False,
) -> None:
    with refusing():
        CLOCK[""] = processor_time if processor else time.perf_counter
        loaded = ECGTwin.from_pretrained(model, device=device)
        dit, half = loaded.parts.denoiser.body, None
        if quicker(torch.bfloat16, loaded.device) and difference(dit, torch.bfloat16, loaded.device) < MISSED:
            half = ECGTwin(loaded.parts, loaded.device, precision="bfloat16")
        found: dict[str, Any] = {"device": f"{loaded.device} ({platform.machine()})", "steps": steps}
        found |= {"clock": "processor time" if processor else "wall clock"}
        found |= {"threads": torch.get_num_threads(), "torch": torch.__version__, "batch": loaded.full}
        found |= {"peak": peak(loaded.device), "one": []}
        for n in (n for n in SIZES if n <= largest):
            found["one"].append(twins_of_one(loaded, half, n, steps, repeat, found["peak"]))
            say(f"{n:4d} twins  {found['one'][-1]}")
        sizes = (1, 2, 4, 8, 16, 32, 64)
        found["milliseconds_a_twin"] = {n: 1000 * network_call(loaded, n, repeat)[1] / n for n in sizes}
        found |= {"published": published(), "overhead": overhead(loaded, steps), "cold": cold()}
        found["many"] = twins_of_many(loaded, references, steps)
        text = table(found)
        if output is not None:
            write_text(output / "generate.md", text + "\n")
            write_file(output / "generate.png", lambda path: plot(found, path))
        tell(found, text, as_json, output and output / "generate.json")


if __name__ == "__main__":
    app()
