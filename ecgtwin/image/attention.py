"""Which word the network looks at where, and images whose words are kept, replaced or weighed by these maps
(prompt-to-prompt, arXiv 2208.01626). Both functions are methods of `ImagePipeline`.

Shapes: B images · K words · N places of the network's grid.
"""

from collections.abc import Mapping, Sequence
from math import ceil, isqrt
from typing import TYPE_CHECKING, NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ..diffusion.schedule import Level
from ..nets.attention import Control, Edit, Maps
from ..text.captions import Vocabulary, parts
from .picture import as_images

if TYPE_CHECKING:
    from .pipeline import ImagePipeline


class Attention(NamedTuple):
    """An image, the words of its caption, and where each was looked at: (K, height, width), at each place
    with a sum of 1."""

    image: Image.Image
    words: tuple[str, ...]
    maps: Tensor


def attention(
    pipeline: "ImagePipeline", caption: str, *, steps: int = 20, guidance: float = 1.5, seed: int = 0
) -> Attention:
    """The image that `generate` makes of a caption, with the maps of its words, means over heads, layers and steps.

    ValueError where the model's words are not tokens of its own (text kinds clip and sentence).
    """
    (words,) = words_of(pipeline, [caption])
    maps = Maps(1)
    pixels = pipeline.sample(
        [request(caption, seed)], steps=steps, guidance=guidance, refine=False, steer=lambda at: maps
    )
    found = maps.mean[0, : len(words)]  # (K, N)
    height, width = pipeline.config.picture.shape
    step = isqrt(height * width // found.shape[1])  # pixels along each side of a place
    grid = found.view(1, -1, height // step, width // step)
    grown = F.interpolate(grid, (height, width), mode="bilinear", align_corners=False)[0]
    return Attention(as_images(pixels)[0], words, grown.cpu())


@torch.no_grad()
def rewrite(
    pipeline: "ImagePipeline",
    caption: str,
    *,
    source: str | None = None,
    weights: Mapping[str, float] | None = None,
    kept: float = 0.8,
    n: int = 1,
    steps: int = 20,
    guidance: float = 1.5,
    seed: int = 0,
) -> list[Image.Image]:
    """`n` images as `generate` makes them of a caption, with the attention to its words edited.

    source: a caption whose images, of the same noise, these shall resemble: for the first `kept` (0 to 1) of the steps
    a word of both is looked at where the source's run looks at it, and where as many went as came, a new one where the
    one was that it replaces. weights: how strongly words count, 1 = as learned. ValueError: as `attention`, for a
    weight of a word that is not there, and for a caption that the model cannot take.
    """
    if not 0 <= kept <= 1:
        raise ValueError(f"kept {kept}: expected 0 (nothing of the source's attention) to 1 (in all steps)")
    if n < 1:
        raise ValueError(f"n {n}: expected 1 or more images")
    texts = words_of(pipeline, [caption]) * n
    before = words_of(pipeline, [source]) * n if source is not None else []
    edits = [Edit.of(texts, weights or {}, before=before, kept=early).to(pipeline.device) for early in (True, False)]
    schedule = pipeline.schedule
    last = schedule.noisiest - ceil(kept * steps) / steps * (schedule.noisiest - schedule.clean)

    def steer(at: Level) -> Control:
        return edits[0] if at.t > last else edits[1]

    requests = [request(text, seed + k) for text in ([] if source is None else [source]) for k in range(n)]
    requests += [request(caption, seed + k) for k in range(n)]
    pixels = pipeline.sample(requests, steps=steps, guidance=guidance, refine=False, steer=steer)
    return as_images(pixels[-n:])


def request(caption: str, seed: int):
    from .pipeline import Request

    return Request(caption, seed)


def words_of(pipeline: "ImagePipeline", captions: Sequence[str]) -> list[tuple[str, ...]]:
    """The words of captions as the network's tokens."""
    text = pipeline.text
    if not isinstance(text, Vocabulary):
        raise ValueError("attention to words needs a model whose words are its own tokens: text kind words or labels")
    text.encode(captions)
    return [tuple(parts(caption, text.whole)) for caption in captions]
