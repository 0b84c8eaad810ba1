"""The training loop as a generator: the caller logs, validates and saves between its steps.

One process or many, one device or many: a batch is drawn as a whole from (seed, step), every process takes its share of
it, and gradients are averaged over processes. So the losses do not depend on the number of processes, and a resumed run
repeats the uninterrupted one.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .batch import Drawn, ahead, cut, key_seed, stream, to
from .checkpoint import load_tensors, pack_training, part, save_tensors, unpack_training
from .device import accelerator_of
from .ema import EMA, PowerEMA
from .plan import Plan
from .stage import Backward, Batch, Task

if TYPE_CHECKING:
    from accelerate import Accelerator


class Step(NamedTuple):
    number: int
    """Steps done, 1-based."""
    figures: dict[str, float]
    stopping: bool
    """A stop was asked for: this was the last step."""
    seconds: float
    waited: float
    """Of these seconds, how many went by waiting for data."""


class Training:
    """Network, optimiser, average and step count: what a checkpoint holds; and where all of it runs."""

    def __init__(
        self,
        network: nn.Module,
        plan: Plan,
        *,
        blocks: tuple[type[nn.Module], ...] = (),
        accelerator: "Accelerator | None" = None,
    ):
        """blocks: kinds of modules that gradient checkpointing computes twice instead of
        keeping what is inside of them."""
        self.accelerator = accelerator or accelerator_of(cpu=False)
        self.device, self.processes = self.accelerator.device, self.accelerator.num_processes
        if plan.batch % (self.processes * plan.grad_accum):
            raise ValueError(
                f"batch {plan.batch} does not go into {self.processes} processes x {plan.grad_accum} parts: "
                "choose a multiple of it"
            )
        self.network, self.plan, self.done = network.to(self.device), plan, 0
        self.stop, self.stopped = False, False  # asked of this process; agreed by all
        if plan.gradient_checkpointing:
            checkpointed(network, blocks)
        self.ema = EMA(network, plan.ema_decay)
        self.powers = [PowerEMA(network, std) for std in plan.ema_stds]
        # Norms, biases and learned tokens are not shrunk: decay acts on matrices and kernels only.
        weights = [p for p in network.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in weights if p.ndim >= 2], "weight_decay": plan.weight_decay},
            {"params": [p for p in weights if p.ndim < 2], "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=plan.lr, betas=(0.9, 0.99), fused=self.device.type != "mps")
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=plan.precision == "fp16")
        if plan.compile:
            network.compile()
        self.wrapped = self.accelerator.prepare_model(network) if self.processes > 1 else network

    @property
    def main(self) -> bool:
        """Whether this process is the one that writes."""
        return self.accelerator.is_main_process

    def autocast(self):
        kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.plan.precision)
        return torch.autocast(self.device.type, dtype=kind) if kind else nullcontext()

    def unsynchronised(self, wanted: bool):
        return self.accelerator.no_sync(self.wrapped) if wanted and self.processes > 1 else nullcontext()

    def save(self, path: Path, meta: dict[str, Any] | None = None) -> None:
        tensors = pack_training(self.network, self.optimiser, self.ema.shadow)
        for k, power in enumerate(self.powers):
            tensors |= {f"power{k}.{name}": value for name, value in power.shadow.items()}
        facts = {"step": self.done, "updates": self.ema.updates, "scaler": self.scaler.state_dict()}
        save_tensors(path, tensors, {**(meta or {}), **facts})

    def load(self, path: Path) -> dict[str, Any]:
        tensors, meta = load_tensors(path)
        unpack_training(tensors, self.network, self.optimiser, self.ema.shadow)
        self.done, self.ema.updates = meta["step"], meta["updates"]
        for k, power in enumerate(self.powers):
            power.updates = self.done
            for name, value in part(tensors, f"power{k}").items():
                power.shadow[name].copy_(value)
        if self.scaler.is_enabled() and meta.get("scaler"):
            self.scaler.load_state_dict(meta["scaler"])
        return meta


def checkpointed(network: nn.Module, blocks: tuple[type, ...]) -> None:
    """Gradient checkpointing (Chen et al., arXiv 1604.06174) of all modules of these kinds, in place."""
    found = [module for module in network.modules() if isinstance(module, blocks)]
    if not found:
        raise ValueError(
            "gradient_checkpointing: this network has no blocks that can be computed twice; set it to false"
        )
    for module in found:
        inside = module.forward
        module.forward = lambda *a, inside=inside, **k: checkpoint(inside, *a, use_reentrant=False, **k)


def fit(training: Training, task: Task) -> Iterator[Step]:
    """Train from `training.done` to the plan's end, yielding after each step; `training.stop =
    True` ends it after one more.

    A loss or gradient that is not finite raises FloatingPointError, naming step and records,
    before the weights are touched.
    """
    plan, network, optimiser = training.plan, training.network, training.optimiser
    weights = [p for g in optimiser.param_groups for p in g["params"]]
    rank = training.accelerator.process_index

    def draw(step: int):
        whole = task.draw(stream(plan.seed, step))
        return whole, task.load(cut(whole, rank, training.processes))

    network.train()
    start = time.perf_counter()
    for batch in ahead(iter(range(training.done, plan.steps)), draw):
        for group in optimiser.param_groups:
            group["lr"] = plan.lr_at(training.done)
        loss, figures, broken = task.backward(training, batch._replace(own=to(batch.own, training.device)))
        training.scaler.unscale_(optimiser)
        norm = torch.nn.utils.clip_grad_norm_(weights, plan.grad_clip)
        figures, stopping = agreed(training, {"loss": loss, "norm": norm} | figures)
        # In float16 a gradient that overflows is normal: the scaler leaves that step out and scales less from then on.
        healthy = torch.isfinite(
            torch.tensor([figures["loss"], 0.0 if training.scaler.is_enabled() else figures["norm"]])
        ).all()
        if not healthy:
            optimiser.zero_grad(set_to_none=True)
            names = task.names(batch.own)
            raise FloatingPointError(blame(training, figures, [names[k] for k in broken]))
        training.scaler.step(optimiser)
        training.scaler.update()
        optimiser.zero_grad(set_to_none=True)
        for average in (training.ema, *training.powers):
            average.update(network)
        training.done += 1
        training.stopped = stopping
        now = time.perf_counter()
        yield Step(training.done, figures, stopping, now - start, batch.waited)
        if stopping:
            return
        start = time.perf_counter()
        network.train()


Losses = Callable[[nn.Module, Batch], tuple[Tensor, dict[str, Tensor]]]
"""(network, batch) -> one loss per sample (b,), and figures to log, scalars or per sample. The network is
to be called, nothing else."""
Embed = Callable[[nn.Module, Batch], tuple[Tensor, Tensor]]
"""(network, batch) -> one embedding per sample (b, ...), and the parameters of the
comparison, such as a temperature."""
Compare = Callable[[Tensor, Tensor, Batch], tuple[Tensor, dict[str, Tensor]]]
"""(embeddings of the whole batch (B, ...), parameters, the whole drawn batch) -> loss (scalar) and figures."""


def by_sample(training: Training, losses: Losses, batch: Drawn) -> Backward:
    """Gradients of the samples' mean loss, part by part."""
    parts = training.plan.grad_accum
    found, figures = [], []
    for k in range(parts):
        seed_part(training, k)
        with training.unsynchronised(k < parts - 1), training.autocast():
            values, more = losses(training.wrapped, cut(batch.own, k, parts))
            training.scaler.scale(values.mean() / parts).backward()
        found.append(values.detach().float())
        figures.append({name: v.detach().float().mean() for name, v in more.items()})
    values = torch.cat(found)
    means = {name: torch.stack([f[name] for f in figures]).mean() for name in figures[0]}
    return Backward(values.mean(), means, torch.nonzero(~torch.isfinite(values)).flatten().tolist())


def by_contrast(training: Training, embed: Embed, compare: Compare, batch: Drawn) -> Backward:
    """Gradients of a loss over the whole batch, with the memory of a part (GradCache, Gao et al., arXiv 2101.06983).

    First the embeddings alone, of all parts in all processes; then the loss and its gradient on these; then each part
    again, with that gradient. Exact: the gradient is that of the whole batch at once.
    """
    parts, processes = training.plan.grad_accum, training.processes
    whole, own = to(batch.whole, training.device), batch.own
    if parts == processes == 1:
        seed_part(training, 0)
        with training.autocast():
            embeddings, parameters = embed(training.wrapped, own)
        loss, figures = compare(embeddings.float(), parameters.float(), whole)
        training.scaler.scale(loss).backward()
        return Backward(loss.detach(), {k: v.detach() for k, v in figures.items()}, not_finite(embeddings))

    def embedded(k: int) -> tuple[Tensor, Tensor]:
        seed_part(training, k)
        with training.autocast():
            embeddings, parameters = embed(training.wrapped, cut(own, k, parts))
        return embeddings.float(), parameters.float()

    with torch.no_grad():
        pairs = [embedded(k) for k in range(parts)]
    mine = torch.cat([e for e, _ in pairs])
    everybody = training.accelerator.gather(
        mine
    ).requires_grad_()  # in the order of the processes, as the batch was cut
    parameters = pairs[0][1].detach().requires_grad_()
    loss, figures = compare(everybody, parameters, whole)
    slope, slope_parameters = torch.autograd.grad(loss, (everybody, parameters))
    size = len(mine) // parts
    start = training.accelerator.process_index * len(mine)
    for k in range(parts):
        with training.unsynchronised(k < parts - 1):
            embeddings, parameters = embedded(k)
            part = slope[start + k * size : start + (k + 1) * size]
            # Processes are averaged afterwards, but this loss is a sum over their embeddings.
            surrogate = (embeddings * part).sum() * processes + (parameters * slope_parameters).sum() / parts
            training.scaler.scale(surrogate).backward()
    return Backward(loss.detach(), {k: v.detach() for k, v in figures.items()}, not_finite(mine))


def not_finite(embeddings: Tensor) -> list[int]:
    return torch.nonzero(~torch.isfinite(embeddings.detach().flatten(1)).all(1)).flatten().tolist()


def seed_part(training: Training, part: int) -> None:
    """Dropout depends on seed, step, process and part alone, so a resumed run repeats it."""
    torch.manual_seed(key_seed(training.plan.seed, training.done, training.accelerator.process_index, part))


def agreed(training: Training, figures: dict[str, Tensor]) -> tuple[dict[str, float], bool]:
    """Means over processes, and whether any of them was asked to stop."""
    stop = torch.tensor(float(training.stop))
    values = torch.stack([v.detach().float().to(training.device) for v in (*figures.values(), stop)])
    if training.processes > 1:
        values = training.accelerator.reduce(values, "mean")
    *means, stop = values.tolist()
    return dict(zip(figures, means, strict=True)), stop > 0


def blame(training: Training, figures: dict[str, float], names: list[str]) -> str:
    if training.processes > 1:
        from accelerate.utils import gather_object

        names = gather_object(names)
    what = f"loss {figures['loss']:g}, gradient norm {figures['norm']:g} in step {training.done + 1}"
    if names:
        what += f"; not finite: {', '.join(names[:5])}" + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    else:
        what += "; every sample's own loss is finite"
    return (
        f"{what}. Stopped before the weights were touched; the last checkpoint is intact: "
        "resume from it with a lower learning rate, or leave the records out"
    )
