#!/usr/bin/env python
"""Samplers compared: what a step costs, and how good the samples are after so many network calls.

Cost: microseconds per step beside diffusers' own schedulers (where diffusers is installed), the network left out.
Quality: on a mixture of Gaussians whose perfect denoiser is known, so the sampler is the only source of error. Kernel
distance between samples and the mixture, and, for samplers without noise, the distance to where the exact flow ends.
"""

import math
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import typer
from torch import Tensor

from ecgtwin.atomic import write_file, write_text
from ecgtwin.cli.options import Json, OtherNoise, tell
from ecgtwin.diffusion import Level, bind, sample, scaled_linear, seeded_noise, solvers
from ecgtwin.diffusion.exact import Mixture
from ecgtwin.diffusion.levels import karras, leading, linspace, trailing, uniform_logsnr
from ecgtwin.diffusion.sde import EulerMaruyama, ProbabilityFlow
from ecgtwin.diffusion.solvers import Solver

SCHEDULE = scaled_linear()
CALLS, SHAPE = (4, 6, 8, 10, 15, 20, 30, 50, 100), (16, 4, 128)
Spacing = Literal["trailing", "leading", "linspace", "karras", "uniform_logsnr"]
SPACINGS = {f.__name__: f for f in (trailing, leading, linspace, karras, uniform_logsnr)}
SAMPLERS: dict[str, tuple[Solver, int, bool]] = {  # solver, network calls per step, deterministic
    "DDIM": (solvers.DDIM(), 1, True),
    "PNDM": (solvers.PNDM(), 1, True),
    "Heun": (solvers.Heun(), 2, True),
    "Heun on EDM's clock": (solvers.Heun("edm"), 2, True),
    "DPM-Solver 2": (solvers.DpmSolver(SCHEDULE.level_at, 2), 2, True),
    "DPM-Solver 3": (solvers.DpmSolver(SCHEDULE.level_at, 3), 3, True),
    "DPM-Solver++ 2S": (solvers.DpmPPSingle(SCHEDULE.level_at), 2, True),
    "DPM-Solver++ 2M": (solvers.DpmPP(2), 1, True),
    "DPM-Solver++ 3M": (solvers.DpmPP(3, start=solvers.DpmPPSingle(SCHEDULE.level_at)), 1, True),
    "UniPC 2": (solvers.UniPC(2), 1, True),
    "UniPC 3": (solvers.UniPC(3), 1, True),
    "Probability flow (RK4)": (ProbabilityFlow(SCHEDULE.level_at), 4, True),
    "DDIM eta 0.5": (solvers.DDIM(0.5), 1, False),
    "DDPM / Euler-ancestral": (solvers.EulerAncestral(), 1, False),
    "DDPM large": (solvers.DDPM("large"), 1, False),
    "SDE-DPM-Solver++ 2M": (solvers.DpmPP(2, eta=1.0), 1, False),
    "Euler-Maruyama": (EulerMaruyama(), 1, False),
}
SDE = {"algorithm_type": "sde-dpmsolver++"}
COSTS: dict[str, tuple[Solver, str | None, dict[str, Any]]] = {  # ours, diffusers' class and its settings
    "DDIM": (solvers.DDIM(), "DDIMScheduler", {"clip_sample": False}),
    "DDPM": (solvers.DDPM(), "DDPMScheduler", {"clip_sample": False}),
    "Euler": (solvers.Euler(), "EulerDiscreteScheduler", {}),
    "Euler-ancestral": (solvers.EulerAncestral(), "EulerAncestralDiscreteScheduler", {}),
    "PNDM": (solvers.PNDM(), "PNDMScheduler", {"skip_prk_steps": True}),
    "DPM-Solver++ 2M": (solvers.DpmPP(2), "DPMSolverMultistepScheduler", {}),
    "DPM-Solver++ 3M": (solvers.DpmPP(3), "DPMSolverMultistepScheduler", {"solver_order": 3}),
    "SDE-DPM-Solver++ 2M": (solvers.DpmPP(2, eta=1.0), "DPMSolverMultistepScheduler", SDE),
    "UniPC 2": (solvers.UniPC(2), "UniPCMultistepScheduler", {}),
    "UniPC 3": (solvers.UniPC(3), "UniPCMultistepScheduler", {"solver_order": 3}),
}


def costs(shape: tuple[int, ...], steps: int, repeats: int) -> list[dict[str, Any]]:
    """Microseconds per step (median over repeats) of a run whose network answers at once; ours includes the call of the
    bound network and the level arithmetic, theirs is `scheduler.step` alone."""
    try:
        import diffusers
    except ImportError:
        diffusers = None
    answer, x = torch.randn(shape), torch.randn(shape)
    denoise = bind(lambda x, t, condition: answer, None, "eps")
    levels = trailing(SCHEDULE, steps)
    rows = []
    for name, (solver, scheduler_name, settings) in COSTS.items():
        ours = timed(lambda solver=solver: sample(denoise, x, levels, solver), repeats) / steps
        row: dict[str, Any] = {"sampler": name, "ours_us": ours, "diffusers_us": None, "ratio": None}
        if diffusers is not None and scheduler_name is not None:
            scheduler = getattr(diffusers, scheduler_name)(timestep_spacing="trailing", **settings)
            row["diffusers_us"] = timed(their_run(scheduler, answer, x, steps), repeats) / steps
            row["ratio"] = ours / row["diffusers_us"]
        rows.append(row)
    return rows


def their_run(scheduler: Any, answer: Tensor, x: Tensor, steps: int) -> Callable[[], None]:
    def run() -> float:
        scheduler.set_timesteps(steps)
        state, timesteps = x, list(scheduler.timesteps)
        scheduler.is_scale_input_called = True  # the Euler family warns without it
        start = time.perf_counter()
        for t in timesteps:
            state = scheduler.step(answer, t, state, return_dict=False)[0]
        return time.perf_counter() - start

    return run


def timed(run: Callable[[], Any], repeats: int) -> float:
    """Median microseconds of a call; a run that times itself answers with its seconds."""
    with torch.inference_mode():
        seconds = []
        for _ in range(repeats + 2):
            start = time.perf_counter()
            own = run()
            seconds.append(own if isinstance(own, float) else time.perf_counter() - start)
    return 1e6 * statistics.median(seconds[2:])


def ring(components: int = 8, spread: float = 0.12) -> Mixture:
    """Gaussians of unequal weight on a circle, standardised in variance."""
    angle = 2 * math.pi * torch.arange(components, dtype=torch.float64) / components
    means = torch.stack([angle.cos(), angle.sin()], dim=1) * math.sqrt(2 * (1 - spread**2))
    return Mixture(means, spread**2, 1 + torch.arange(components, dtype=torch.float64) % 3)


def kernel_distance(x: Tensor, mixture: Mixture, width: float = 0.5) -> float:
    """Squared maximum mean discrepancy to the mixture, Gaussian kernel, the mixture's side in closed form; unbiased."""

    def mean_kernel(gap: Tensor, variance: float) -> Tensor:
        dims = gap.shape[-1]
        return (width**2 / (width**2 + variance)) ** (dims / 2) * torch.exp(
            -gap.square().sum(-1) / (2 * (width**2 + variance))
        )

    weights = mixture.weights / mixture.weights.sum()
    own = mean_kernel(mixture.means[:, None] - mixture.means, 2 * mixture.variance)
    cross = mean_kernel(x[:, None] - mixture.means, mixture.variance) @ weights
    pairs = torch.exp(-torch.cdist(x, x).square() / (2 * width**2))
    count = len(x)
    among = (pairs.sum() - count) / (count * (count - 1))
    return (among - 2 * cross.mean() + weights @ own @ weights).item()


def quality(budgets: list[int], samples: int, spacing: Callable[..., list[Level]], seed: int) -> dict[str, Any]:
    """Kernel distance and flow error of every sampler within every budget of network calls."""
    mixture = ring()
    seeds = range(seed, seed + samples)
    x = seeded_noise(seeds)(torch.empty(samples, 2, dtype=torch.float64))
    last = SCHEDULE.level(0)
    truth = sample(mixture, x, trailing(SCHEDULE, 500)[:-1] + [last], ProbabilityFlow(SCHEDULE.level_at))
    truth = mixture(truth, last).x0
    rows = []
    for name, (solver, per_step, deterministic) in SAMPLERS.items():
        for budget in budgets:
            steps = (budget - 1) // per_step + 1  # the last step, to sigma = 0, costs one call
            calls = 0

            def counted(x: Tensor, at: Level) -> Any:
                nonlocal calls
                calls += 1
                return mixture(x, at)

            noise = seeded_noise(range(seed + samples, seed + 2 * samples))
            reached = sample(counted, x, spacing(SCHEDULE, steps), solver, noise)
            error = (reached - truth).norm(dim=1).median().item() if deterministic else None
            distance = kernel_distance(reached, mixture)
            rows.append({"sampler": name, "calls": calls, "budget": budget, "mmd2": distance, "flow_error": error})
    floor = [kernel_distance(mixture.draw(samples, torch.Generator().manual_seed(k)), mixture) for k in range(8)]
    exact = {"floor_mmd2": max(abs(value) for value in floor), "flow_mmd2": kernel_distance(truth, mixture)}
    return {"rows": rows, **exact}


def cost_table(rows: list[dict[str, Any]]) -> str:
    lines = ["| sampler | ours, us/step | diffusers, us/step | ratio |", "|---|---|---|---|"]
    for row in rows:
        theirs = "not installed" if row["diffusers_us"] is None else f"{row['diffusers_us']:.1f}"
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
        lines.append(f"| {row['sampler']} | {row['ours_us']:.1f} | {theirs} | {ratio} |")
    return "\n".join(lines)


def quality_table(rows: list[dict[str, Any]], key: str, factor: float) -> str:
    budgets = sorted({row["budget"] for row in rows})
    lines = ["| sampler | " + " | ".join(map(str, budgets)) + " |", "|---" * (len(budgets) + 1) + "|"]
    for name in dict.fromkeys(row["sampler"] for row in rows):
        cells = {row["budget"]: row[key] for row in rows if row["sampler"] == name and row[key] is not None}
        if cells:
            shown = (f"{cells[b] * factor:.3g}" if b in cells else "" for b in budgets)
            lines.append(f"| {name} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def plot(found: dict[str, Any], path: Path) -> None:
    """Quality against network calls, one line per sampler."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5.5))
    colours = plt.get_cmap("tab20")
    for k, name in enumerate(SAMPLERS):
        rows = [row for row in found["rows"] if row["sampler"] == name]
        calls = [row["calls"] for row in rows]
        style = {"color": colours(k), "marker": "o", "markersize": 3, "label": name}
        left.plot(calls, [max(row["mmd2"], found["floor_mmd2"] / 3) for row in rows], **style)
        if rows and rows[0]["flow_error"] is not None:
            right.plot(calls, [row["flow_error"] for row in rows], **style)
    left.axhline(found["floor_mmd2"], color="black", linestyle=":", label="exact draws, worst of 8")
    left.set_title("kernel distance to the mixture")
    left.set_ylabel("squared maximum mean discrepancy")
    right.set_title("distance to the end of the exact flow")
    right.set_ylabel("median, standard deviations of the data")
    for axes in (left, right):
        axes.set(xscale="log", yscale="log", xlabel="network calls")
        axes.grid(alpha=0.3, which="both")
    left.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=90, format="png")
    plt.close(figure)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    output: Annotated[Path | None, typer.Option(help="folder for samplers.md, .json and .png")] = None,
    calls: Annotated[list[int], typer.Option(help="budgets of network calls; repeat", min=1)] = list(CALLS),  # noqa: B006
    samples: Annotated[int, typer.Option(help="per sampler and budget", min=2)] = 2048,
    spacing: Annotated[Spacing, typer.Option(help="which levels are visited")] = "karras",
    shape: Annotated[list[int], typer.Option(help="latent of the costs; repeat", min=1)] = list(SHAPE),  # noqa: B006
    repeats: Annotated[int, typer.Option(help="runs per timing", min=1)] = 30,
    seed: OtherNoise = 0,
    as_json: Json = False,
) -> None:
    found = quality(sorted(set(calls)), samples, SPACINGS[spacing], seed)
    result = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "machine": platform.processor() or platform.machine(),
        "shape": shape,
        "spacing": spacing,
        "samples": samples,
        "costs": costs(tuple(shape), 50, repeats),
        "quality": found,
    }
    tables = "\n\n".join(
        [
            f"Cost of a step on a {tuple(shape)} latent",
            cost_table(result["costs"]),
            f"Kernel distance (squared, x 1000) by network calls; exact draws are within "
            f"{1e3 * found['floor_mmd2']:.2g}, the exact flow at {1e3 * found['flow_mmd2']:.2g}",
            quality_table(found["rows"], "mmd2", 1e3),
            "Median distance to the end of the exact flow, in standard deviations, by network calls",
            quality_table(found["rows"], "flow_error", 1.0),
        ]
    )
    tell(result, tables, as_json, output and output / "samplers.json")
    if output is not None:
        write_text(output / "samplers.md", tables + "\n")
        write_file(output / "samplers.png", lambda path: plot(found, path))


if __name__ == "__main__":
    app()
