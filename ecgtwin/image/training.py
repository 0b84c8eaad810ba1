"""Training an image model, stage by stage: auto-encoder (for latent models), denoiser, refiner (where there is one)."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from ..diffusion.schedule import build_schedule
from ..nets import adapters, control
from ..nets.adapters import AdapterConfig
from ..nets.control import Controlled
from ..nets.latents import Latents
from ..nets.vae import parameters
from ..text.captions import Vocabulary
from ..train.batch import stream
from ..train.checkpoint import load_tensors
from ..train.loop import Training
from ..train.plan import FREE
from ..train.run import Run, complete
from ..train.stage import Figures
from .config import Config, TrainConfig
from .control import config_of, edges
from .dataset import Batch, Pictures
from .model import Parts, build, build_text, load
from .network import ImageNetwork
from .pipeline import ImagePipeline
from .stages import BLOCKS, Denoise, Ends, ImageStage, Labels, Reconstruct


def train(
    config: Config,
    pictures: Pictures,
    output: Path,
    *,
    resume: bool = False,
    start: Path | None = None,
    accelerator: Accelerator | None = None,
) -> ImagePipeline:
    """Train every stage that the configuration names, and write the finished model to `output`/model.

    Each stage has a folder of its own below `output` with checkpoint, averaged weights and losses. resume: go on from
    the checkpoints found there, also with more steps than before; without it, FileExistsError where there is one.
    start: a model folder whose weights are trained on (fine-tuning); its auto-encoder stays as it is, and its
    vocabulary takes in new words. `config.data.held` of the pictures are never trained on, nor are words that only
    they have. accelerator: decides where; None is what accelerate chooses, a GPU where there is one. The pipeline
    that comes back is on the CPU.
    """
    accelerator = accelerator or Accelerator()
    seen, held = pictures.split(config.data.held)
    parts = begin(config, seen, start)
    held, unreadable = held.readable(parts.text)
    if unreadable:
        parts.facts["held_unreadable"] = unreadable
    stages = parts.facts["stages"]
    parts.codec.to(accelerator.device)
    if isinstance(parts.codec, Latents) and start is None:
        stages["vae"] = train_codec(parts.codec, config, seen, held, output / "vae", resume, accelerator)
    parts.codec.eval().requires_grad_(False)
    started = {"start": parts.facts["start_fingerprint"]} if start is not None else {}
    labels = Labels(parts.text, (*seen.captions, *held.captions))
    for name, network in (("denoiser", parts.network), ("refiner", parts.refiner)):
        if network is not None and (name == "denoiser" or not beside(config)):
            share = config.model.refiner.share if name == "refiner" else 1.0
            ends = Ends(parts.codec, labels, build_schedule(config.model.diffusion), share)
            stages[name] = train_denoiser(
                network, ends, config, name, seen, held, output / name, resume, accelerator, started
            )
    pipeline = ImagePipeline(parts)
    if config.train.denoiser.control is not None:
        pipeline.load_control(output / "denoiser" / "weights.safetensors")
    elif accelerator.is_main_process:
        pipeline.save_pretrained(output / "model")
    accelerator.wait_for_everyone()
    return pipeline


def beside(config: Config) -> bool:
    """Whether what is trained goes with a model that stays as it is: an adapter, or a control."""
    return config.train.denoiser.adapter is not None or config.train.denoiser.control is not None


def begin(config: Config, seen: Pictures, start: Path | None) -> Parts:
    """The parts before training: by chance, or with the weights of the model `start`. ValueError
    where that is built otherwise."""
    facts: dict[str, Any] = {"data": config.data.model_dump(), "stages": {}}
    for name in ("vae", "refiner"):
        if (stage := getattr(config.train, name)) is not None and (stage.adapter or stage.control) is not None:
            raise ValueError(f"train.{name}: adapters and controls are of the denoiser; set them in train.denoiser")
    if config.train.denoiser.control is not None and (start is None or config.train.denoiser.adapter is not None):
        raise ValueError("train.denoiser.control needs --start, the model beside which it is trained, and no adapter")
    if config.train.denoiser.adapter is not None and start is None:
        raise ValueError("train.denoiser.adapter without --start: an adapter is trained on a model that is there")
    torch.manual_seed(config.train.denoiser.seed)
    if start is None:
        return build(config.model, build_text(config.model, seen.captions), seen.typical(), facts)
    before = load(Path(start))
    places = {"text": {"path": True, "first": {"path"}, "second": {"path"}}}
    now, then = (c.model_dump(exclude=places) for c in (config.model, before.config))
    different = [key for key in now if now[key] != then[key]]
    if different:
        raise ValueError(
            f"{start} was built otherwise in model.{', model.'.join(different)}: fine-tuning needs the same networks, "
            "so give the configuration that it was trained with"
        )
    text = before.text.extended(seen.captions) if isinstance(before.text, Vocabulary) else before.text
    if beside(config) and isinstance(text, Vocabulary) and (new := text.names[len(before.text.names) :]):
        raise ValueError(
            f"captions have {len(new)} words that {start} does not know, such as {new[0]!r}: an adapter or a control "
            "brings no words, so caption these pictures in the model's own, or train all weights"
        )
    facts["stages"] = {"vae": before.facts["stages"]["vae"]} if "vae" in before.facts.get("stages", {}) else {}
    frame = before.frame if beside(config) else seen.typical()  # an adapter is used where its base is
    parts = build(config.model, text, frame, facts | {"start": str(start), "start_fingerprint": fingerprint(before)})
    for name, module in parts.modules().items():
        fresh, old = module.state_dict(), before.modules()[name].state_dict()
        for key, value in old.items():
            fresh[key][: len(value)] = value if value.ndim else value[None]  # new words come behind the old
        module.load_state_dict(fresh)
    return parts


def fingerprint(parts: Parts) -> str:
    """Of a model's weights."""
    digest = hashlib.sha256()
    for key, value in sorted(parts.tensors().items()):
        digest.update(key.encode() + value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def train_codec(
    codec: Latents, config: Config, seen: Pictures, held: Pictures, folder: Path, resume: bool, accelerator: Accelerator
) -> dict[str, Any]:
    """Train the auto-encoder, then calibrate its latents."""
    stage = config.train.vae
    vae = codec.vae
    parts = [x for rows in held.by_shape().values() for x in held.centred(rows).pixels.split(256)]

    def validate(vae: nn.Module) -> dict[str, float]:
        device = next(vae.parameters()).device
        errors = [(x - vae(x.to(device))[0].cpu()).square().mean((1, 2, 3)) for x in parts]
        return {"held_rms": float(torch.cat(errors).mean().sqrt())}

    objective = Reconstruct(seen, stage, config.data.shrunk, vae.latent, vae.factor)
    facts = run_stage(vae, stage, config, folder, resume, objective, validate, accelerator, {})
    codec.calibrate(seen.commonest().centred().pixels)
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
    accelerator: Accelerator,
    started: dict[str, str],
) -> dict[str, Any]:
    """Train one network on the noise levels that it is for."""
    stage: TrainConfig = getattr(config.train, name)
    if stage.adapter is not None:
        adapters.train_only(network, AdapterConfig(**stage.adapter.model_dump()), adapters.TRAINED)
    device = accelerator.device
    if stage.control is not None:
        network.requires_grad_(False).to(device)
        network = Controlled(network, control.control_of(network.backbone, config_of(stage.control, ends.codec.factor)))
    rows = torch.randint(len(held), (256,), generator=stream(1, 2, 3))
    batches = [held.centred(part) for part in held.by_shape(rows).values()]
    objective = Denoise(seen, stage, config.data.shrunk, ends, config.model.diffusion)

    def errors(network: nn.Module, batch: Batch, keep: bool) -> torch.Tensor:
        z = ends.encode(batch.pixels.to(device))
        eps = torch.randn(z.shape, generator=stream(1, 2, 4)).to(device)
        c = ends.labels.conditions(held, batch, torch.full((len(z),), keep)).to(device)
        told = c if stage.control is None else (c, edges(batch.pixels.to(device)))
        level = ends.schedule.even(len(z), ends.share).to(device)
        return objective.objective.errors(network, told, z, level, eps)

    def validate(network: nn.Module) -> dict[str, float]:
        """On held-out pictures, at fixed levels and noise: with their captions, and without."""
        return {
            key: float(torch.cat([errors(network, batch, keep) for batch in batches]).mean())
            for key, keep in (("held", True), ("held_no_caption", False))
        }

    return run_stage(network, stage, config, folder, resume, objective, validate, accelerator, started)


def run_stage(
    network: nn.Module,
    stage: TrainConfig,
    config: Config,
    folder: Path,
    resume: bool,
    objective: Reconstruct,
    validate: Callable[[nn.Module], dict[str, float]],
    accelerator: Accelerator,
    started: dict[str, str],
) -> dict[str, Any]:
    """Train one network to the end of its plan; it is left with its averaged weights. Returns facts to keep.

    seconds: on the clock; cpu_seconds: of all threads, which other work on the machine does not lengthen.
    """
    training, run = Training(network, stage, blocks=BLOCKS, accelerator=accelerator), Run(folder, resume)
    spent = load_tensors(run.last)[1].get("figures", {}) if run.last.exists() else {}
    facts = {"parameters": parameters(network), "steps": stage.steps, "batch": stage.batch}
    clocks = {"seconds": time.monotonic, "cpu_seconds": time.process_time}
    began = {name: clock() - spent.get(name, 0.0) for name, clock in clocks.items()}

    plan = stage.model_dump_json(exclude=FREE | {"steps"})  # a resumed training may be given more steps
    inputs = {"model": config.model.model_dump_json(), "data": config.data.model_dump_json(), "train": plan} | started

    def timed(network: nn.Module) -> Figures:
        return validate(network) | {name: round(clock() - began[name], 1) for name, clock in clocks.items()}

    figures = complete(run, training, ImageStage(folder.name, network, stage, objective, config, inputs, facts, timed))
    network.load_state_dict(training.ema.shadow)
    network.eval()
    return facts | figures
