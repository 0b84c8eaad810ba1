"""Captions as tokens: words learned from scratch, or the states of a frozen CLIP or sentence-transformers model.

Shapes: B captions · K tokens · E width of a token.
"""

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..atomic import write_text
from .encoder import MISSING, check_weights, model_folder, sentence_transformer


class Tokens(NamedTuple):
    values: Tensor  # (B, K) integers of a vocabulary, or (B, K, E) states
    mask: Tensor  # (B, K), True = a token


PAIR = ("first", "second")
"""Folders of the two models of a pair."""


class TextModel(Protocol):
    """Turns captions into tokens. width: E, or 0 where tokens are integers; length: K at most; save: whatever
    `load_text` needs."""

    width: int
    length: int

    def takes(self, caption: str) -> bool:
        """Whether this model can tell what a caption says; `encode` refuses one that it does not take."""

    def encode(self, captions: Sequence[str]) -> Tokens: ...

    def save(self, folder: Path) -> None: ...


class Vocabulary:
    """Integers for the words of captions (or for whole captions, `whole`), to be embedded by the network itself.

    names: what is known, in the order of the integers. length: K, the most words of a caption.
    """

    width = 0

    def __init__(self, names: Sequence[str], length: int, *, whole: bool = False):
        self.names, self.length, self.whole = tuple(names), length, whole
        self.index = {name: k for k, name in enumerate(self.names)}

    @classmethod
    def of(cls, captions: Iterable[str], length: int, *, whole: bool = False) -> "Vocabulary":
        """The vocabulary of a training set."""
        names = {part for caption in captions for part in parts(caption, whole)}
        return cls(sorted(names), length, whole=whole)

    def extended(self, captions: Iterable[str]) -> "Vocabulary":
        """This vocabulary with the new words of further captions behind its own, whose integers stay."""
        new = {part for caption in captions for part in parts(caption, self.whole)} - self.index.keys()
        return Vocabulary([*self.names, *sorted(new)], self.length, whole=self.whole)

    def takes(self, caption: str) -> bool:
        found = parts(caption, self.whole)
        return 1 <= len(found) <= self.length and self.index.keys() >= set(found)

    def encode(self, captions: Sequence[str]) -> Tokens:
        """ValueError for a caption that is empty, too long, or has a word that training never showed."""
        values = torch.zeros(len(captions), self.length, dtype=torch.long)
        mask = torch.zeros(len(captions), self.length, dtype=torch.bool)
        for row, caption in enumerate(captions):
            found = parts(caption, self.whole)
            if not 1 <= len(found) <= self.length:
                raise ValueError(f"caption {caption!r} has {len(found)} words: this model takes 1 to {self.length}")
            for place, name in enumerate(found):
                if name not in self.index:
                    near = difflib.get_close_matches(name, self.names, n=3) or sorted(self.names)[:8]
                    raise ValueError(f"{name!r} is not a word that this model knows; near it: {', '.join(near)}")
                values[row, place], mask[row, place] = self.index[name], True
        return Tokens(values, mask)

    def save(self, folder: Path) -> None:
        write_text(folder / "vocabulary.json", json.dumps(self.names, indent=1) + "\n")


def parts(caption: str, whole: bool) -> list[str]:
    """Lower-case words without punctuation, or the one label that the caption as a whole is."""
    words = re.findall(r"\w+", caption.lower())
    return [" ".join(words)] if whole and words else words


def load_clip(folder: Path, kind: str) -> tuple[Any, Any]:
    """Tokenizer and frozen model of a local CLIP folder: `CLIPModel`, or its half `CLIPTextModel`, in float32.

    Nothing is fetched and no code of the model's author runs. ImportError where transformers is missing; ValueError
    where the weights are not those of such a model.
    """
    try:
        import transformers
    except ImportError as error:
        raise ImportError(MISSING.format("transformers")) from error
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    model, report = getattr(transformers, kind).from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
    )
    check_weights(folder, kind, report)
    return tokenizer, model.eval().requires_grad_(False)


class ClipText:
    """Token states of the text half of a CLIP model (a whole CLIP, or its text model alone), kept frozen.

    path: a folder with safetensors weights and tokenizer files; nothing is fetched and no code of the model's author
    runs. layer: -1, the last states after their norm, as Stable Diffusion 1 takes them; -2, the states before the last
    layer, as SDXL does (arXiv 2307.01952, section 2.1). length: longer captions are cut.
    """

    def __init__(self, path: str | Path, length: int = 77, *, layer: int = -1):
        folder = model_folder(path)
        self.tokenizer, self.model = load_clip(folder, "CLIPTextModel")
        depth, most = self.model.config.num_hidden_layers, self.model.config.max_position_embeddings
        if not -depth - 1 <= layer <= -1:
            raise ValueError(f"layer {layer}: this CLIP has {depth} layers, so give -1 to {-depth - 1}")
        self.width, self.length, self.layer = self.model.config.hidden_size, min(length, most), layer

    def takes(self, caption: str) -> bool:
        return True

    @torch.no_grad()
    def encode(self, captions: Sequence[str]) -> Tokens:
        batch = self.tokenizer(
            list(captions), padding="max_length", truncation=True, max_length=self.length, return_tensors="pt"
        )
        answer = self.model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], output_hidden_states=True
        )
        states = answer.last_hidden_state if self.layer == -1 else answer.hidden_states[self.layer]
        return Tokens(states.clone(), batch["attention_mask"].bool())

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder, safe_serialization=True)
        self.tokenizer.save_pretrained(folder)


class SentenceText:
    """Token states of any model that sentence-transformers reads (MiniLM, e5, …), before they are pooled; frozen."""

    def __init__(self, path: str | Path, length: int = 77):
        self.model = sentence_transformer(model_folder(path))
        self.model.max_seq_length = min(length, self.model.max_seq_length or length)
        self.length = self.model.max_seq_length
        self.width = self.encode(["a"]).values.shape[-1]

    def takes(self, caption: str) -> bool:
        return True

    @torch.no_grad()
    def encode(self, captions: Sequence[str]) -> Tokens:
        found = self.model.encode(list(captions), output_value="token_embeddings", show_progress_bar=False)
        values = torch.zeros(len(found), self.length, found[0].shape[-1])
        mask = torch.zeros(len(found), self.length, dtype=torch.bool)
        for row, states in enumerate(found):
            values[row, : len(states)], mask[row, : len(states)] = states, True
        return Tokens(values, mask)

    def save(self, folder: Path) -> None:
        self.model.save(str(folder), safe_serialization=True)


class PairText:
    """Two frozen models side by side, as SDXL has them (arXiv 2307.01952, section 2.1): token k is the states of both
    at their k-th token, one behind the other, up to the longer of the two lengths; zeros where one has no more."""

    def __init__(self, first: TextModel, second: TextModel):
        if not (first.width and second.width):
            raise ValueError("a pair is of models with states: clip or sentence, no words learned from scratch")
        self.both = first, second
        self.width, self.length = first.width + second.width, max(first.length, second.length)

    def takes(self, caption: str) -> bool:
        return all(text.takes(caption) for text in self.both)

    def encode(self, captions: Sequence[str]) -> Tokens:
        found = [text.encode(captions) for text in self.both]
        values = [pad(t.values, (0, 0, 0, self.length - t.values.shape[1])) for t in found]
        masks = [pad(t.mask, (0, self.length - t.mask.shape[1])) for t in found]
        known = [v * m[..., None] for v, m in zip(values, masks, strict=True)]  # padding says nothing beside a token
        return Tokens(torch.cat(known, -1), masks[0] | masks[1])

    def save(self, folder: Path) -> None:
        for name, text in zip(PAIR, self.both, strict=True):
            text.save(folder / name)
