"""Who judges images: a small classifier trained on real pictures, or a CLIP model from a folder."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from ..nets.encoder import Encoder
from ..text.captions import load_clip
from ..text.encoder import model_folder
from ..train.batch import Drawn
from ..train.loop import Training, by_sample, fit
from ..train.plan import Plan
from ..train.stage import Backward
from .dataset import Pictures

Features = Callable[[Tensor], Tensor]
"""Images (B, C, S, S) in [-1, 1] -> (B, D)."""


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
    pictures: Pictures,
    *,
    steps: int = 600,
    seed: int = 0,
    progress: bool = False,
    accelerator: Accelerator | None = None,
) -> Judge:
    """A judge of the captions of these pictures; ValueError where captions are not classes of several pictures.

    accelerator: decides where it is trained and stays; None is what accelerate chooses.
    """
    names = classes(pictures)
    target = torch.tensor([names.index(c) for c in pictures.captions])
    torch.manual_seed(seed)
    judge = Judge(pictures.images[0].shape[0], names)
    plan = Plan(steps=steps, batch=128, lr=2e-3, warmup=50, weight_decay=0.05, ema_decay=0.99, seed=seed)
    training = Training(judge, plan, accelerator=accelerator)
    for _ in tqdm(fit(training, Naming(pictures, target, plan.batch)), total=steps, desc="judge", disable=not progress):
        pass
    judge.load_state_dict(training.ema.shadow)
    return judge.eval()


def classes(pictures: Pictures) -> list[str]:
    """The captions of pictures as classes; ValueError where they are not: a single one, or
    too many for the pictures."""
    names = sorted(set(pictures.captions))
    if len(names) < 2 or len(names) > len(pictures) // 8:
        raise ValueError(
            f"{len(pictures)} pictures with {len(names)} different captions: a judge needs two captions or more "
            "with some eight pictures each; for free captions use the CLIP score"
        )
    return names


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
        folder = model_folder(path)
        self.tokenizer, self.model = load_clip(folder, "CLIPModel")
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
