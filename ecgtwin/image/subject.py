"""A subject of pictures as a word of its own (Textual Inversion, arXiv 2208.01618), alone or with an adapter and
samples of its class (DreamBooth, arXiv 2208.12242): the image side of `train.subject`.

Shapes: K words · D width of conditions.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from ..nets import adapters
from ..nets.adapters import AdapterConfig
from ..nets.dit import Block
from ..nets.layers import Residual
from ..nets.tokens import add_rows
from ..nets.unet import Stage as UNetStage
from ..text.captions import Vocabulary
from ..train.checkpoint import load_tensors, save_tensors
from ..train.plan import FREE
from ..train.subject import Samples, SubjectPlan, SubjectStage
from .dataset import Pictures

if TYPE_CHECKING:
    from .pipeline import ImagePipeline

FORMAT = 1


def teach(pipeline: "ImagePipeline", words: Sequence[str], start: torch.Tensor) -> nn.Parameter:
    """Give a pipeline words whose embeddings begin as `start` (K, D); returns what learns. ValueError: a word is known,
    is no single word, or the model has no words of its own."""
    text = pipeline.text
    if not isinstance(text, Vocabulary) or text.whole:
        raise ValueError("a word can be learned by models whose words are their own tokens: text kind words")
    for word in words:
        if text.takes(word):
            raise ValueError(f"{word!r} is a word that this model knows already: give the subject another name")
    grown = Vocabulary([*text.names, *words], text.length)
    grown.encode(words)  # ValueError for what is no single word
    pipeline.text = grown
    rows = add_rows(pipeline.network.caption.read, start)
    return rows.learned


def subject_stage(
    pipeline: "ImagePipeline", pictures: Pictures, word: str, plan: SubjectPlan, *, like: str | None = None
) -> SubjectStage:
    """A stage that learns `word` from pictures whose captions have it. like: a word that its embedding begins as; None:
    the mean of all words. Of the class are images of the same captions with `like` in its place, or without it."""
    if missing := [caption for caption in pictures.captions if word not in caption.lower().split()]:
        raise ValueError(f"caption {missing[0]!r} does not have the subject's word {word!r}")
    plain = [" ".join(like or "" if part == word else part for part in c.lower().split()) for c in pictures.captions]
    own_class = class_samples(pipeline, plain, plan.prior_samples if plan.prior else 0, plan.seed)
    weight = pipeline.network.caption.read.weight.detach()
    start = weight.mean(0) if like is None else weight[pipeline.text.encode([like]).values[0, 0]]
    before = adapters.fingerprint(pipeline.network)
    learned = teach(pipeline, [word], start[None])
    batch = pictures.centred()
    with torch.no_grad():
        x0 = pipeline.codec.encode(batch.pixels.to(pipeline.device))
    from .pipeline import Request

    conditions = pipeline.conditions([Request(caption, 0) for caption in pictures.captions])
    pipeline.network.requires_grad_(False)
    learned.requires_grad_(True)
    if plan.adapter is not None:
        adapters.attach(pipeline.network, AdapterConfig(**plan.adapter.model_dump()), adapters.TRAINED)
    return SubjectStage(
        pipeline.network, plan, pipeline.objective, Samples(x0, conditions), own_class,
        blocks=(Residual, Block, UNetStage),
        config={"word": word, "like": like, "train": plan.model_dump()},
        inputs={"model": before, "word": word, "train": plan.model_dump_json(exclude=FREE)},
    )  # fmt: skip


@torch.no_grad()
def class_samples(pipeline: "ImagePipeline", captions: Sequence[str], n: int, seed: int) -> Samples | None:
    """`n` images that the model draws of captions, with these."""
    if not n:
        return None
    from .pipeline import Request

    chosen = np.random.default_rng(seed).integers(len(captions), size=n).tolist()
    requests = [Request(captions[k], seed + j) for j, k in enumerate(chosen)]
    return Samples(pipeline.codec.encode(pipeline.sample(requests, refine=False)), pipeline.conditions(requests))


def save_word(path: Path, pipeline: "ImagePipeline", word: str) -> Path:
    """Write a learned word: its embedding (D,), and which denoiser it belongs to."""
    row = pipeline.text.index[word]
    facts = {"format": FORMAT, "word": word, "base": adapters.fingerprint(pipeline.network)}
    return save_tensors(path, {"embedding": pipeline.network.caption.read.weight[row]}, {"word": facts})


def load_word(pipeline: "ImagePipeline", path: Path) -> str:
    """Add what `save_word` wrote; see `ImagePipeline.load_word`."""
    tensors, meta = load_tensors(path)
    said = meta.get("word")
    if not isinstance(said, dict) or said.get("format") != FORMAT or set(tensors) != {"embedding"}:
        raise ValueError(f"{path} is not a learned word of format {FORMAT}: see scripts/train_subject.py")
    if said.get("base") != adapters.fingerprint(pipeline.network):
        raise ValueError(f"{path} was learned on another model than this one, where its embedding means nothing")
    teach(pipeline, [said["word"]], tensors["embedding"][None].to(pipeline.device)).requires_grad_(False)
    return said["word"]
