"""Speed of generation: seconds for 1, 8, 32 and 256 twins and for many references, beside a plain loop, a diffusers
pipeline on the same network and the published sampler, in one run.

python scripts/bench_generate.py [--model MODEL] [--steps 20] [--references 200] [--repeat 2] [--output FOLDER] [--json]
                                 [--only one --only cold ...]

People are simulated. Each figure is the fastest of `--repeat` runs; ways that are compared take turns, so that other
load falls on all of them. Beside other programs, `--processor` counts processor time, with OMP_NUM_THREADS=1.
"plain loop": three calls of the network a step (nothing, identity, both), every step from the conditions on.
"diffusers": DPMSolverMultistepScheduler, the three in one batch as its pipelines do. "fast": `generate(fast=True)`.
"published": 1,000 ancestral steps of the full-size network (random weights), timed for a few and scaled. Share of the
peak: floating point operations of the network's calls, those really made, over what the fastest of several matrix
products reaches, in turns with them. --only: parts of it; what OUTPUT holds of the others stays.
"""

import contextlib
import csv
import io
import json
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
from ecgtwin.cli.errors import refusing, say
from ecgtwin.cli.options import Json, tell
from ecgtwin.cli.people import Asked
from ecgtwin.cli.wanted import Options, Wish
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
SINUS = Condition("sinus rhythm", heart_rate=110)
BLOCK = Condition("complete left bundle branch block|sinus rhythm", heart_rate=80)
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
    guidance, base_guidance = model.scales(requests[0], None, None)
    three = [model.objective.bind(model.parts.denoiser, c) for c in branches(model, requests)]

    def denoise(x: Tensor, at):  # all three are called, also where the scales leave one out
        found = [one(x, at) for one in three]
        return guide_two_ways(*(lambda x, at, f=f: f for f in found), base_guidance, guidance)(x, at)

    x = sample(denoise, noise_of(model, requests), trailing(model.schedule, steps), DpmPP(2))
    return model.parts.vae.decode(x)


@torch.inference_mode()
def diffusers_pipeline(
    model: ECGTwin, requests: Sequence[Request], steps: int, network: Callable | None = None
) -> Tensor:
    from diffusers import DPMSolverMultistepScheduler

    guidance, base_guidance = model.scales(requests[0], None, None)
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
        guided = nothing + base_guidance * (first - nothing) + guidance * (both - first)
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


PRODUCTS = ((1024, 1024, 1024), (2048, 2048, 2048), (128, 256, 1024), (1024, 256, 768), (1024, 1024, 256))
"""Rows, inner and outer width of the matrix products, whose fastest is the machine's peak."""
BATCHES = (1, 2, 4, 8, 16, 32)
WORK = 5e9
"""Operations between two looks at the clock, at least."""


@torch.inference_mode()
def shares(model: ECGTwin, repeat: int) -> dict[str, Any]:
    """Operations a second of the network and of matrix products in turns, float32: `peak` and, for each number of
    twins, milliseconds of a call for one twin and the share of the peak."""
    ways: dict[Any, Callable[[], Any]] = {}
    flops: dict[Any, float] = {}
    for m, k, n in PRODUCTS:
        a, layer = torch.randn(m, k, device=model.device), torch.nn.Linear(k, n, device=model.device)
        ways[m, k, n], flops[m, k, n] = lambda a=a, f=layer: f(a).sum().item(), 2 * m * k * n
    for n in BATCHES:
        flops[n], ways[n] = network_call(model, n)
    times = {of: max(1, round(WORK / flops[of])) for of in ways}
    seconds = timed({of: lambda of=of: [ways[of]() for _ in range(times[of])] for of in ways}, 6 * repeat)
    speed = {of: flops[of] * times[of] / seconds[of] for of in ways}
    top = max(speed[of] for of in PRODUCTS)
    rows = {n: {"ms": 1000 * flops[n] / speed[n] / n, "share": speed[n] / top} for n in BATCHES}
    return {"peak": top, "batches": rows}


@torch.inference_mode()
def network_call(model: ECGTwin, n: int) -> tuple[float, Callable[[], Any]]:
    """A call of the network for n twins, and its operations."""
    from torch.utils.flop_counter import FlopCounterMode

    requests = model.requests(people(1)[0], WANTED, range(n))
    nothing, _, both = branches(model, requests)
    c = Conditions(*(None if a is None else torch.cat([a, b]) for a, b in zip(nothing, both, strict=True)))
    x = noise_of(model, requests).repeat(2, 1, 1)
    lean = LeanTwin(model.parts.denoiser, model.parts.denoiser.prepare(c), x.shape[-1])
    lean.expect([500.0])
    with patch.object(leans, "fused", lambda: False), FlopCounterMode(display=False) as counter:
        lean(x, 500.0)
    return counter.get_total_flops(), lambda: lean(x, 500.0)


def twins_of_one(
    model: ECGTwin, half: ECGTwin | None, n: int, steps: int, repeat: int, wanted: Condition
) -> dict[str, Any]:
    requests = model.requests(people(1)[0], wanted, range(n), reference_condition=SINUS)
    ways = {
        "ours": lambda: model.sample_in_parts(requests, steps=steps),
        "fast": lambda: model.sample_in_parts(requests, fast=True),
    }
    for calls in FEWER if model.fitted is not None else ():
        ways[f"fast, {calls} steps"] = lambda calls=calls: model.sample_in_parts(requests, fast=True, steps=calls)
    if half is not None:
        ways["bfloat16"] = lambda: half.sample_in_parts(requests, steps=steps)
        ways["fast, bfloat16"] = lambda: half.sample_in_parts(requests, fast=True)
    scales = model.scales(requests[0], None, None)
    asked = 1 if scales == (1, 1) else 3 - (scales[0] == scales[1])
    row: dict[str, Any] = {"twins": n, "asked": wanted.reports[0], "branches": asked}
    if n <= COMPARED:
        ways["plain loop"] = lambda: plain_loop(model, requests, steps)
        with contextlib.suppress(ImportError):
            import diffusers  # noqa: F401

            ways["diffusers"] = lambda: diffusers_pipeline(model, requests, steps)
        # The plain loop begins at noise as it is drawn, and puts no noise back.
        plain = [r._replace(start=None, recording=None) for r in requests]
        twins = model.sample_in_parts(plain, steps=steps, variety=1.0)
        row["largest_difference_mv"] = (twins - plain_loop(model, plain, steps)).abs().max().item()
        if half is not None:
            apart = half.sample_in_parts(plain, steps=steps, variety=1.0) - twins
            row["bfloat16_rms_uv"] = 1000 * apart.square().mean().sqrt().item()
    return row | {"seconds": timed(ways, repeat if n <= COMPARED else 1)}


@torch.inference_mode()
def published() -> float:
    """Seconds of one ECG by the published sampler: 1,000 steps of the full-size network, from a few of them."""
    config = ModelConfig()
    network = build_denoiser(config).eval()
    c = Conditions(
        torch.randn(1, 3, 3 + config.text.width), torch.ones(1, 3).bool(), torch.ones(1, 3).bool(),
        torch.randn(1, config.base.base), torch.ones(1).bool(), torch.ones(1).bool(),
    )  # fmt: skip
    schedule = build_schedule(config.diffusion)
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

        def table(fast: bool = False) -> None:
            wish = Wish(WANTED.reports, None, None, WANTED.heart_rate, (), None)
            options = Options(1, 0, None if fast else steps, None, None, "wfdb", fast=fast)
            with contextlib.redirect_stderr(io.StringIO()):
                asked = folder / "people.csv", Asked(Path(), wish, 1, 0), options, folder / f"table{fast}"
                done = run(*asked, model=model, given=Given(), say=str)
            assert done["written"] == count

        ways = {"loop": loop, "table": table, "table, fast": lambda: table(True)}
        return {"references": count, **timed(ways, 1)}


def cold() -> dict[str, float]:
    """Seconds of fresh processes: the fastest of three."""
    first = (
        "from ecgtwin.cli.wanted import example; from ecgtwin import Condition, ECGTwin; "
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
    lines = [f"{found['device']}, {found['threads']} threads, {found['steps']} steps, fast {found['fast_steps']}, "
             f"PyTorch {found['torch']}, {found['clock']}", ""]  # fmt: skip
    if "one" in found:
        names = "".join(f" {name}, s |" for name in WAYS)
        ratios = "".join(f" plain / {name} |" for name in WAYS[2:])
        lines += [f"| asked for, branches | twins |{names}{ratios}", "|---" * (2 * len(WAYS)) + "|"]
    for row in found.get("one", ()):
        s = row["seconds"]
        cells = [f"{s[name]:.2f}" if name in s else "" for name in WAYS]
        cells += [f"{s['plain loop'] / s[name]:.1f}" if {"plain loop", name} <= s.keys() else "" for name in WAYS[2:]]
        lines.append(f"| {row['asked']}, {row['branches']} | {row['twins']} | {' | '.join(cells)} |")
    if "shares" in found:
        rows = found["shares"]["batches"]
        top = found["shares"]["peak"] / 1e9
        told = {"ms of a call for a twin": [f"{r['ms']:.1f}" for r in rows.values()],
                "share of the peak": [f"{r['share']:.0%}" for r in rows.values()]}  # fmt: skip
        lines += ["", f"Matrix peak {top:.0f} GFLOP/s (float32), batches of {found['batch']}.", ""]
        lines += [f"| twins in a batch | {' | '.join(map(str, rows))} |", "|---" * (len(rows) + 1) + "|"]
        lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in told.items()]
    lines.append("")
    if "many" in found:
        m = found["many"]
        lines.append(f"{m['references']} references, read and written: loop {m['loop']:.1f} s, table {m['table']:.1f} "
                     f"s, table with fast {m['table, fast']:.1f} s.")  # fmt: skip
    if "published" in found:
        lines.append(f"Published sampler: {found['published']:.0f} s for one ECG.")
    if "overhead" in found:
        told = ", ".join(f"{name} {us:.0f} us" for name, us in found["overhead"].items())
        lines.append(f"A step beside the network: {told}.")
    if "cold" in found:
        told = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in found["cold"].items())
        lines.append(f"Fresh processes: {told}.")
    return "\n".join(lines)


FEWER = (3, 2)
"""Steps with fast below its own number, where solvers were fitted for so many."""
WAYS = ("plain loop", "diffusers", "ours", "bfloat16", "fast", "fast, bfloat16", *(f"fast, {n} steps" for n in FEWER))
PARTS = ("one", "shares", "published", "overhead", "cold", "many")


def plot(found: dict[str, Any], path: Path) -> None:
    """Seconds of a twin by each way."""
    from matplotlib.figure import Figure

    page = Figure(figsize=(7, 4), layout="constrained")
    axes = page.subplots()
    for name in WAYS:
        rows = [r for r in found["one"] if name in r["seconds"] and r["asked"] == WANTED.reports[0]]
        axes.plot([r["twins"] for r in rows], [r["seconds"][name] / r["twins"] for r in rows], marker="o", label=name)
    if "published" in found:
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
    only: Annotated[list[str] | None, typer.Option(help=f"parts: {', '.join(PARTS)}; all if left out")] = None,
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
        found |= {"fast_steps": loaded.steps_of(None, fast=True)}
        if output is not None and (output / "generate.json").is_file():
            was = json.loads((output / "generate.json").read_text(encoding="utf-8"))
            found |= {part: was[part] for part in PARTS if part in was}
        ways: dict[str, Callable[[], Any]] = {
            "one": lambda: [
                twins_of_one(loaded, half, n, steps, repeat, wanted)
                for wanted in (WANTED, BLOCK, SINUS)
                for n in SIZES
                if n <= (largest if wanted is WANTED else COMPARED)
            ],
            "shares": lambda: shares(loaded, repeat),
            "published": published,
            "overhead": lambda: overhead(loaded, steps),
            "cold": cold,
            "many": lambda: twins_of_many(loaded, references, steps),
        }
        if unknown := set(only or ()) - set(PARTS):
            raise ValueError(f"--only {', '.join(sorted(unknown))}: expected {', '.join(PARTS)}")
        for part in only or PARTS:
            found[part] = ways[part]()
            say(f"{part}: {found[part]}")
        text = table(found)
        if output is not None:
            write_text(output / "generate.md", text + "\n")
            if "one" in found:
                write_file(output / "generate.png", lambda path: plot(found, path))
        tell(found, text, as_json, output and output / "generate.json")


if __name__ == "__main__":
    app()
