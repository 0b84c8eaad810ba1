"""Training an image model, stage by stage: auto-encoder (for latent models), denoiser, refiner (where there is one)."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..diffusion import loss as losses
from ..diffusion.schedule import Flow, Schedule
from ..nets.vae import kl_per_sample, parameters, reconstruction_error
from ..train.checkpoint import load_tensors
from ..train.loop import Training, fit, stream
from ..train.run import Run, plan
from .codec import Latents, Pixels
from .config import Config, TrainConfig
from .files import build, build_schedule, build_text
from .network import Conditions, ImageNetwork
from .pictures import Batch, Pictures
from .pipeline import ImagePipeline

Loss = Callable[[nn.Module, Any, torch.Generator], tuple[Tensor, dict[str, Tensor]]]


def train(config: Config, pictures: Pictures, output: Path, *, resume: bool = False) -> ImagePipeline:
    """Train every stage that the configuration names, and write the finished model to `output`/model.

    Each stage has a folder of its own below `output` with checkpoint, averaged weights and losses. resume: go on from
    the checkpoints found there; without it, FileExistsError where there is one. `config.data.held` of the pictures are
    never trained on.
    """
    seen, held = pictures.split(config.data.held)
    text = build_text(config.model, pictures.captions)
    torch.manual_seed(config.train.denoiser.seed)
    parts = build(config.model, text, seen.typical(), {"data": config.data.model_dump(), "stages": {}})
    stages = parts.facts["stages"]
    if isinstance(parts.codec, Latents):
        stages["vae"] = train_codec(parts.codec, config, seen, held, output / "vae", resume)
        parts.codec.requires_grad_(False)
    labels = Labels(text, pictures)
    for name, network in (("denoiser", parts.network), ("refiner", parts.refiner)):
        if network is not None:
            share = config.model.refiner.share if name == "refiner" else 1.0
            ends = Ends(parts.codec, labels, build_schedule(config.model), share)
            stages[name] = train_denoiser(network, ends, config, name, seen, held, output / name, resume)
    pipeline = ImagePipeline(parts)
    pipeline.save_pretrained(output / "model")
    return pipeline


class Labels:
    """The tokens of every distinct caption of a set, encoded once."""

    def __init__(self, text, pictures: Pictures):
        names = sorted(set(pictures.captions))
        parts = [text.encode(names[i : i + 64]) for i in range(0, len(names), 64)]
        self.values, self.mask = (torch.cat(columns) for columns in zip(*parts, strict=True))
        self.index = {name: k for k, name in enumerate(names)}

    def conditions(self, pictures: Pictures, batch: Batch, keep: Tensor) -> Conditions:
        rows = torch.tensor([self.index[pictures.captions[k]] for k in batch.rows.tolist()])
        return Conditions(self.values[rows], self.mask[rows], batch.frame, keep)


class Ends:
    """What lies around a denoiser while it is trained: codec, captions, and the noise levels that it is for."""

    def __init__(self, codec: Pixels | Latents, labels: Labels, schedule: Schedule | Flow, share: float):
        self.codec, self.labels, self.schedule, self.share = codec, labels, schedule, share

    def levels(self, n: int, generator: torch.Generator) -> Tensor:
        """Random indices (n,) of the cleanest `share` of the schedule."""
        if isinstance(self.schedule, Flow):
            return torch.rand(n, generator=generator) * self.share * self.schedule.length
        return torch.randint(max(1, round(self.share * self.schedule.length)), (n,), generator=generator)

    def even(self, n: int) -> Tensor:
        """Indices (n,) evenly over the same levels."""
        places = (torch.arange(n) + 0.5) / n * self.share * self.schedule.length
        return places if isinstance(self.schedule, Flow) else places.long()

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Tensor:
        return self.codec.encode(pixels)


def train_codec(
    codec: Latents, config: Config, seen: Pictures, held: Pictures, folder: Path, resume: bool
) -> dict[str, Any]:
    """Stage 0: squared error of the pixels and a weak pull of the latents towards N(0, 1); then calibrate them."""
    stage = config.train.vae

    def batches(generator: torch.Generator) -> Tensor:
        return seen.draw(torch.randint(len(seen), (stage.batch,), generator=generator), generator, config.data.shrunk)

    def loss(vae, batch: Batch, generator: torch.Generator):
        x = batch.pixels
        noise = torch.randn(len(x), vae.latent, *(n // vae.factor for n in x.shape[2:]), generator=generator)
        y, posterior = vae(x, noise)
        error, kl = reconstruction_error(x, y.float()), kl_per_sample(posterior)
        return (error + stage.kl * kl).mean(), {"error": error.mean(), "kl": kl.mean()}

    x = held.centred().pixels

    def validate(vae) -> dict[str, float]:
        y = torch.cat([vae(part)[0] for part in x.split(256)])
        return {"held_rms": float((x - y).square().mean().sqrt())}

    facts = run_stage(codec.vae, stage, config, folder, resume, batches, loss, validate)
    codec.calibrate(seen.centred().pixels)
    return facts


def train_denoiser(
    network: ImageNetwork,
    ends: Ends,
    config: Config,
    name: str,
    seen: Pictures,
    held: Pictures,
    folder: Path,
    resume: bool,
) -> dict[str, Any]:
    """The denoising loss on random crops, captions left out at random for classifier-free guidance."""
    stage: TrainConfig = getattr(config.train, name)
    d = config.model.diffusion
    weight = None if d.min_snr is None else losses.min_snr(d.min_snr)

    def batches(generator: torch.Generator) -> Batch:
        return seen.draw(torch.randint(len(seen), (stage.batch,), generator=generator), generator, config.data.shrunk)

    def loss(network, batch: Batch, generator: torch.Generator):
        z = ends.encode(batch.pixels)
        keep = torch.rand(len(z), generator=generator) >= stage.drop_caption
        c = ends.labels.conditions(seen, batch, keep)
        i = ends.levels(len(z), generator)
        eps = torch.randn(z.shape, generator=generator)
        return losses.simple(network, c, z, i, eps, ends.schedule, d.prediction, weight).mean(), {}

    def validate(network) -> dict[str, float]:
        """On held-out pictures, at fixed levels and noise: with their captions, and without."""
        generator = stream(1, 2, 3)
        batch = held.centred(torch.randint(len(held), (256,), generator=generator))
        z = ends.encode(batch.pixels)
        eps, i = torch.randn(z.shape, generator=generator), ends.even(len(z))
        figures = {}
        for key, keep in (("held", True), ("held_no_caption", False)):
            c = ends.labels.conditions(held, batch, torch.full((len(z),), keep))
            figures[key] = float(losses.simple(network, c, z, i, eps, ends.schedule, d.prediction).mean())
        return figures

    return run_stage(network, stage, config, folder, resume, batches, loss, validate)


def run_stage(
    network: nn.Module,
    stage: TrainConfig,
    config: Config,
    folder: Path,
    resume: bool,
    batches: Callable[[torch.Generator], Any],
    loss: Loss,
    validate: Callable[[nn.Module], dict[str, float]],
) -> dict[str, Any]:
    """Train one network to the end of its plan; it is left with its averaged weights. Returns facts to keep.

    seconds: on the clock; cpu_seconds: of all threads, which other work on the machine does not lengthen.
    """
    training, run = Training(network, plan(stage)), Run(folder, resume)
    spent = load_tensors(run.last)[1]["figures"] if run.last.exists() else {}
    facts = {"parameters": parameters(network), "steps": stage.steps, "batch": stage.batch}
    run.start(training, {"stage": folder.name, **facts})
    clocks = {"seconds": time.monotonic, "cpu_seconds": time.process_time}
    began, figures = {name: clock() - spent.get(name, 0.0) for name, clock in clocks.items()}, {}
    for step in fit(training, batches, loss):
        if step.number % stage.validate_every == 0 or step.number == stage.steps:
            with run.averaged(training) as average:
                found = validate(average)
            figures = found | {name: round(clock() - began[name], 1) for name, clock in clocks.items()}
            run.save(training, config.model_dump(), figures)
            step.figures.update(found)
        run.log(step)
    run.close()
    run.keep(training, config.model_dump(), figures)
    network.load_state_dict(training.ema.shadow)
    network.eval()
    return facts | (figures or spent)
