"""How good are generated images? Recognised captions, Frechet and kernel distance, CLIP score, copies of the training set.

Everything that looks at images is a callable (B, C, S, S) in [-1, 1] -> (B, D), so any network can judge.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from ..diffusion.solvers import Solver
from ..metrics.frechet import frechet_distance, kernel_distance
from ..nets.encoder import Encoder
from ..train.batch import Drawn
from ..train.loop import Training, by_sample, fit
from ..train.plan import Plan
from ..train.stage import Backward
from ..train.strict import parse
from .config import DataConfig
from .frame import frame_response
from .pictures import Pictures
from .pipeline import GUIDANCE, ImagePipeline, Request

Features = Callable[[Tensor], Tensor]


class Judge(nn.Module):
    """A small classifier of captions, trained on real pictures alone: it has no part in generating.

    It takes images from any device, and answers on its own.
    """

    def __init__(self, channels: int, captions: Sequence[str]):
        super().__init__()
        self.captions = tuple(captions)
        self.encoder = Encoder(channels, (32, 64, 64), len(self.captions), dims=2)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def features(self, x: Tensor) -> Tensor:
        return self.encoder.features(x.to(self.device))

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(x.to(self.device), dropout=0.2)

    @torch.no_grad()
    def accuracy(self, x: Tensor, captions: Sequence[str]) -> float:
        """Share of images (N, C, S, S) whose caption the judge names."""
        index = {name: k for k, name in enumerate(self.captions)}
        found = in_parts(self, x).argmax(1)
        return float((found == torch.tensor([index[c] for c in captions])).float().mean())


def train_judge(
    pictures: Pictures, *, steps: int = 600, seed: int = 0, progress: bool = False, accelerator: Accelerator | None = None
) -> Judge:
    """A judge of the captions of these pictures; ValueError where captions are not classes of several pictures.

    accelerator: decides where it is trained and stays; None is what accelerate chooses.
    """
    names = sorted(set(pictures.captions))
    if len(names) < 2 or len(names) > len(pictures) // 8:
        raise ValueError(
            f"{len(pictures)} pictures with {len(names)} different captions: a judge needs two captions or more "
            "with some eight pictures each; for free captions use the CLIP score"
        )
    target = torch.tensor([names.index(c) for c in pictures.captions])
    torch.manual_seed(seed)
    judge = Judge(pictures.images[0].shape[0], names)
    plan = Plan(steps=steps, batch=128, lr=2e-3, warmup=50, weight_decay=0.05, ema_decay=0.99, seed=seed)
    training = Training(judge, plan, accelerator=accelerator)
    for _ in tqdm(fit(training, Naming(pictures, target, plan.batch)), total=steps, desc="judge", disable=not progress):
        pass
    judge.load_state_dict(training.ema.shadow)
    return judge.eval()


class Naming:
    """What a judge learns: the captions' numbers `target` (N,), from pictures that are shifted a little and noisy."""

    def __init__(self, pictures: Pictures, target: Tensor, batch: int):
        self.pictures, self.target, self.batch = pictures, target, batch

    def draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        batch = self.pictures.draw(torch.randint(len(self.pictures), (self.batch,), generator=generator), generator)
        # Small shifts, so that it looks at shapes and not at single pixels.
        shift = torch.randint(-1, 2, (2,), generator=generator).tolist()
        return moved(batch.pixels, shift) + 0.1 * torch.randn(batch.pixels.shape, generator=generator), batch.rows

    def load(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return batch

    def backward(self, training: Training, batch: Drawn) -> Backward:
        return by_sample(training, self.losses, batch)

    def losses(self, judge: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        x, rows = batch
        return F.cross_entropy(judge(x), self.target.to(x.device)[rows], label_smoothing=0.05, reduction="none"), {}

    def names(self, batch: tuple[Tensor, Tensor]) -> list[str]:
        return [f"picture {row}" for row in batch[1].tolist()]


def moved(x: Tensor, shift: Sequence[int]) -> Tensor:
    """Images shifted by a pixel or so, the edge repeated."""
    down, right = shift
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    height, width = x.shape[2:]
    return padded[:, :, 1 - down : 1 - down + height, 1 - right : 1 - right + width]


def in_parts(network: Features, x: Tensor, size: int = 256) -> Tensor:
    """What a network says of images, a part of them at a time; on the CPU."""
    with torch.no_grad():
        return torch.cat([network(part).float().cpu() for part in x.split(size)])


class Clip:
    """A CLIP model (Radford et al. 2021, arXiv 2103.00020) from a local folder: features of images, and CLIP scores.

    path: a folder with safetensors weights and tokenizer files; nothing is fetched, no code of the model's author runs.
    """

    def __init__(self, path: str | Path):
        from .text import MISSING, check_weights, model_folder

        folder = model_folder(path)
        try:
            from transformers import AutoTokenizer, CLIPModel
        except ImportError as error:
            raise ImportError(MISSING.format("transformers")) from error
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        self.model, report = CLIPModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
        check_weights(folder, "CLIP model", report)
        self.model.eval().requires_grad_(False)
        self.side = self.model.config.vision_config.image_size
        # The constants of OpenAI's CLIP and of those trained after it.
        self.mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
        self.std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)

    def features(self, x: Tensor) -> Tensor:
        """(B, 1 or 3, S, S) in [-1, 1] -> (B, D), of unit length."""
        x = F.interpolate((x + 1) / 2, (self.side, self.side), mode="bicubic", antialias=True).clamp(0, 1)
        seen = self.model.vision_model(pixel_values=(x.expand(-1, 3, -1, -1) - self.mean) / self.std)
        return F.normalize(self.model.visual_projection(seen.pooler_output), dim=-1)

    def read(self, captions: Sequence[str]) -> Tensor:
        """Captions -> (B, D), of unit length."""
        most = self.model.config.text_config.max_position_embeddings
        batch = self.tokenizer(list(captions), padding=True, truncation=True, max_length=most, return_tensors="pt")
        read = self.model.text_model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        return F.normalize(self.model.text_projection(read.pooler_output), dim=-1)

    @torch.no_grad()
    def score(self, x: Tensor, captions: Sequence[str]) -> float:
        """100 max(cosine, 0), averaged over images and their captions (Hessel et al. 2021, arXiv 2104.08718)."""
        names = sorted(set(captions))
        rows = torch.tensor([names.index(c) for c in captions])
        cosine = (in_parts(self.features, x) * self.read(names)[rows]).sum(-1)
        return float(100 * cosine.clamp(min=0).mean())


def generate_like(
    pipeline: ImagePipeline,
    captions: Sequence[str],
    *,
    steps: int = 20,
    guidance: float = GUIDANCE,
    seed: int = 0,
    solver: Solver | None = None,
    refine: bool = True,
    batch: int = 128,
    progress: bool = False,
) -> Tensor:
    """One image (N, C, S, S) for each caption, image k with seed `seed + k`."""
    requests = [Request(caption, seed + k) for k, caption in enumerate(captions)]
    starts = tqdm(range(0, len(requests), batch), desc="images", disable=not progress)
    made = [pipeline.sample(requests[i : i + batch], steps=steps, guidance=guidance, solver=solver, refine=refine) for i in starts]
    return torch.cat(made).cpu()


def distances(features: Features, made: Tensor, held: Tensor, seen: Tensor) -> dict[str, float]:
    """FID and KID of generated against training pictures, beside the floor: held-out real ones in their place.

    The Frechet distance is biased by the number of images, so `made` must be as many as `held`.
    """
    if len(made) != len(held):
        raise ValueError(f"{len(made)} generated and {len(held)} held-out images: the floor needs equal numbers")
    a, b, real = (in_parts(features, x).numpy() for x in (made, held, seen))
    return {
        "fid": frechet_distance(a, real),
        "fid_floor": frechet_distance(b, real),
        "kid": kernel_distance(a, real),
        "kid_floor": kernel_distance(b, real),
    }


def nearest(made: Tensor, seen: Tensor) -> np.ndarray:
    """Root-mean-square distance of each image to the nearest training picture (N,): small means copied."""
    return (torch.cdist(made.flatten(1), seen.flatten(1)).min(1).values / made[0].numel() ** 0.5).numpy()


def evaluate(
    pipeline: ImagePipeline,
    pictures: Pictures,
    *,
    steps: int = 20,
    guidance: float = GUIDANCE,
    seed: int = 0,
    solver: Solver | None = None,
    refine: bool = True,
    clip: Clip | None = None,
    judge_steps: int = 600,
    progress: bool = False,
    accelerator: Accelerator | None = None,
) -> dict[str, Any]:
    """Figures of a model beside those of real pictures that it never saw.

    pictures: those it was trained on; they are divided as training did. One image is generated for each held-out
    picture's caption. A judge is trained on the training pictures for `judge_steps`; its features give FID and KID, and
    CLIP's too where one is given. `frame` (of models trained on crops or shrunken originals) is `frame_response`.
    `nearest` is the median distance to the nearest training picture, against that of held-out ones. accelerator: where
    the judge is trained, as in `train_judge`; images are made where the pipeline is.
    """
    data = parse(DataConfig, pipeline.parts.facts["data"], "facts of the model")
    seen, held = pictures.split(data.held)
    judge = train_judge(seen, steps=judge_steps, progress=progress, accelerator=accelerator)
    real, training = held.centred().pixels, seen.centred().pixels
    began = time.monotonic()
    made = generate_like(
        pipeline,
        held.captions,
        steps=steps,
        guidance=guidance,
        seed=seed,
        solver=solver,
        refine=refine,
        progress=progress,
    )
    seconds = time.monotonic() - began
    figures: dict[str, Any] = {
        "images": len(made),
        "training": len(training),
        "recognised": judge.accuracy(made, held.captions),
        "recognised_real": judge.accuracy(real, held.captions),
        **distances(judge.features, made, real, training),
        "nearest": float(np.median(nearest(made, training))),
        "nearest_real": float(np.median(nearest(real, training))),
        "seconds_per_image": seconds / len(made),
        "steps": steps,
        "guidance": guidance,
        "seed": seed,
        "refine": refine and pipeline.refiner is not None,
    }
    if data.zoom > 1 or data.shrunk > 0:
        figures["frame"] = frame_response(pipeline, held, steps=steps, guidance=guidance, seed=seed, solver=solver, refine=refine)
    if clip is not None:
        figures["clip"] = {
            "score": clip.score(made, held.captions),
            "score_real": clip.score(real, held.captions),
            **distances(clip.features, made, real, training),
        }
    return figures
