"""What a training will need, found by doing a few steps of it and keeping nothing."""

import resource
import sys
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from .batch import Drawn, cut, stream, tensors, to
from .loop import Training, fit
from .stage import Stage, Task

MIB = 2**20


def dry_run(training: Training, stage: Stage, steps: int = 4) -> dict[str, Any]:
    """Shapes, parameters, memory and time. Changes the training's weights: throw it away.

    Memory: of weights, gradients, AdamW's two moments and the average, exactly; and the peak, measured: of the device
    where it is a CUDA GPU, else of the process.
    """
    plan = training.plan
    batch = stage.load(cut(stage.draw(stream(plan.seed, 0)), 0, training.processes))
    count = sum(p.numel() for p in training.network.parameters() if p.requires_grad)
    state = sum(p.numel() * p.element_size() for p in training.network.parameters())
    if training.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(training.device)
    seconds, waited = [], 0.0
    for step in fit(training, stage):
        seconds.append(step.seconds)
        waited += step.waited
        if step.number >= steps or step.number == plan.steps:
            break
    each = sorted(seconds)[len(seconds) // 2]
    found = {
        "batch": [f"{tuple(x.shape)} {str(x.dtype).removeprefix('torch.')}" for x in tensors(batch)],
        "parameters": count,
        "memory_of_weights_and_optimiser_MiB": round(5 * state / MIB, 1),
        "peak_memory_MiB": round(peak(training) / MIB, 1),
        "seconds_per_step": each,
        "steps_per_epoch": stage.epoch / plan.batch,
        "minutes_per_epoch": each * stage.epoch / plan.batch / 60,
        "minutes_in_all": each * plan.steps / 60,
        "device": str(training.device),
        "processes": training.processes,
        "precision": plan.precision,
    }
    return found


def peak(training: Training) -> int:
    if training.device.type == "cuda":
        return torch.cuda.max_memory_allocated(training.device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def flops(training: Training, task: Task) -> int:
    """Floating-point operations of one step's matrix products and convolutions, forward and backward."""
    whole = task.draw(stream(training.plan.seed, training.done))
    own = to(task.load(cut(whole, 0, training.processes)), training.device)
    with FlopCounterMode(display=False) as counter:
        task.backward(training, Drawn(whole, own, 0.0))
    training.optimiser.zero_grad(set_to_none=True)
    return counter.get_total_flops()


def summary(found: dict[str, Any]) -> str:
    lines = ["a batch of one process:", *(f"  {line}" for line in found["batch"])]
    lines += [
        f"{found['parameters']:,} parameters on {found['device']}, {found['processes']} process(es), "
        f"{found['precision']}",
        f"memory: {found['memory_of_weights_and_optimiser_MiB']} MiB of weights, gradients, moments and average; "
        f"peak {found['peak_memory_MiB']} MiB",
        f"{found['seconds_per_step']:.3g} s a step, {found['minutes_per_epoch']:.3g} min an epoch of "
        f"{found['steps_per_epoch']:.4g} steps, {found['minutes_in_all']:.3g} min in all",
    ]
    return "\n".join(lines)
