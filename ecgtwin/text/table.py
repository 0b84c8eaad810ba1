"""The statements that a model knows, as vectors: what generating needs in the place of a text encoder.

Sentence encoders put "left bundle branch block" and "right bundle branch block" at cosine 0.97 (MiniLM): the words are
nearly the same, the hearts are not. So the raw vectors e are whitened over the vocabulary,

    w = (e - m) ((1 - r) S + r (tr S / k) I)^(-1/2),    v = sqrt(width) w / |w|

with mean m, covariance S (of rank k) and shrinkage r (Ledoit and Wolf 2004 shrink towards the same target). Directions
that many statements share fade and those that tell them apart grow: at r = 0.05 the pair above falls to 0.52, while
related statements stay nearer than unrelated ones. At r = 0 every two statements would be equally far apart, and all
that the encoder knows would be lost.

Each vector has length sqrt(width), so its coordinates are of unit size, as heart rate and age are once standardised.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from reprlib import repr as brief
from uuid import uuid4

import numpy as np

from .encoder import ReportEncoder, unit
from .statements import Vocabulary

FORMAT = 1
MOST = 10_000
"""Statements of a table that is read, at most."""


@dataclass(frozen=True, eq=False)
class StatementTable:
    """Statements and their vectors.

    statements: N canonical names. raw (N, width): as the encoder gave them. centre (width,) and whitening
    (width, width): the map above. encoder, fingerprint: which encoder it was. shrinkage: r. learned: names with vectors
    (width,) that a training found for them, behind the others (`taught`); no file of the table has them.
    """

    statements: tuple[str, ...]
    raw: np.ndarray
    centre: np.ndarray
    whitening: np.ndarray
    encoder: str
    fingerprint: str
    shrinkage: float
    learned: tuple[tuple[str, np.ndarray], ...] = ()

    def __post_init__(self):
        n, width = len(self.statements), self.raw.shape[-1] if np.ndim(self.raw) else 0
        object.__setattr__(self, "statements", tuple(self.statements))
        for name, shape in (("raw", (n, width)), ("centre", (width,)), ("whitening", (width, width))):
            array = np.ascontiguousarray(getattr(self, name), np.float32)
            if array.shape != shape or not np.isfinite(array).all():
                raise ValueError(f"statement table: {name} {array.shape}: expected finite numbers of shape {shape}")
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @classmethod
    def build(cls, statements: Sequence[str], encoder: ReportEncoder, *, shrinkage: float = 0.05) -> "StatementTable":
        """Embed statements (two or more, each once) and whiten over them. shrinkage: in (0, 1]; 1 only centres."""
        statements = Vocabulary(tuple(statements)).statements
        if len(statements) < 2:
            raise ValueError(f"{len(statements)} statement(s): whitening needs two or more")
        if not 0 < shrinkage <= 1:
            raise ValueError(f"shrinkage {shrinkage:g}: expected more than 0 and at most 1")
        raw = np.asarray(encoder.encode(statements), np.float32)
        centre, whitening = whiten(raw, shrinkage)
        return cls(statements, raw, centre, whitening, encoder.name, encoder.fingerprint, float(shrinkage))

    def __len__(self) -> int:
        return len(self.statements)

    @property
    def width(self) -> int:
        return self.raw.shape[1]

    @property
    def names(self) -> tuple[str, ...]:
        """Of all statements, the learned ones last: the order of `vectors`."""
        return (*self.statements, *(name for name, _ in self.learned))

    def taught(self, name: str, vector: np.ndarray) -> "StatementTable":
        """This table with one more statement and its learned vector (width,). ValueError: it is known, or no vector."""
        vector = np.array(vector, np.float32)
        if vector.shape != (self.width,) or not np.isfinite(vector).all():
            raise ValueError(f"statement {name!r}, vector {vector.shape}: expected {self.width} finite numbers")
        if not name.strip() or "|" in name:
            raise ValueError(f"statement {brief(name)}: expected a text without '|'")
        try:
            known = self.vocabulary.normalise(name)
        except ValueError:
            vector.flags.writeable = False
            return replace(self, learned=(*self.learned, (name.strip(), vector)))
        raise ValueError(f"statement {name!r} is known already, as {known!r}: give the new one another name")

    def without(self, name: str) -> "StatementTable":
        """This table without a learned statement; ValueError where there is none of that name."""
        if name not in (known := [n for n, _ in self.learned]):
            raise ValueError(f"no learned statement {name!r}: there are {', '.join(known) or 'none'}")
        return replace(self, learned=tuple(pair for pair in self.learned if pair[0] != name))

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary(self.names)

    @cached_property
    def vectors(self) -> np.ndarray:
        """Whitened vectors of all statements, and the learned ones: (N, width), float32, read-only."""
        vectors = np.concatenate([self.transform(self.raw), *(v[None] for _, v in self.learned)])
        vectors.flags.writeable = False
        return vectors

    @cached_property
    def _row(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.names)}

    def lookup(self, statements: Sequence[str]) -> np.ndarray:
        """Whitened vectors (M, width), float32, of canonical names or synonyms. ValueError: unknown, nearest named."""
        if isinstance(statements, str):
            raise TypeError(f"lookup({statements!r}): expected a sequence of statements, not one text")
        rows = [self._row[s] if s in self._row else self._row[self.vocabulary.normalise(s)] for s in statements]
        return self.vectors[rows] if rows else np.zeros((0, self.width), np.float32)

    def transform(self, raw: np.ndarray) -> np.ndarray:
        """Raw vectors of the same encoder (M, width) -> whitened ones: for statements outside the table."""
        white = (np.asarray(raw, np.float64) - self.centre) @ self.whitening.astype(np.float64)
        return (unit(white) * np.sqrt(self.width)).astype(np.float32)

    def check(self, encoder: ReportEncoder) -> None:
        """ValueError unless the encoder is the one that made this table."""
        if encoder.fingerprint != self.fingerprint:
            raise ValueError(
                f"encoder {encoder.name!r} ({encoder.fingerprint[:12]}) is not the one of this model, {self.encoder!r} "
                f"({self.fingerprint[:12]}): its vectors would mean something else; give that encoder, or train anew"
            )

    def arrays(self) -> dict[str, np.ndarray]:
        """What goes into a safetensors file; with `description()` the table is whole."""
        return {"raw": self.raw, "centre": self.centre, "whitening": self.whitening}

    def description(self) -> dict:
        """What goes into JSON."""
        return {
            "format": FORMAT,
            "encoder": self.encoder,
            "fingerprint": self.fingerprint,
            "shrinkage": self.shrinkage,
            "statements": list(self.statements),
        }

    @classmethod
    def restore(cls, arrays: Mapping[str, np.ndarray], description: Mapping) -> "StatementTable":
        """The inverse of `arrays()` and `description()`."""
        if not isinstance(description, Mapping) or description.get("format") != FORMAT:
            found = description.get("format") if isinstance(description, Mapping) else type(description).__name__
            raise ValueError(f"statement table of format {brief(found)}: this version reads {FORMAT}")
        absent = [k for k in ("raw", "centre", "whitening") if k not in arrays]
        absent += [k for k in ("statements", "encoder", "fingerprint", "shrinkage") if k not in description]
        if absent:
            raise ValueError(f"statement table lacks {', '.join(absent)}: the file is not whole")
        refuse_odd(description)
        return cls(
            tuple(description["statements"]),
            arrays["raw"],
            arrays["centre"],
            arrays["whitening"],
            description["encoder"],
            description["fingerprint"],
            float(description["shrinkage"]),
        )

    def save(self, path: str | Path) -> None:
        """Write PATH.safetensors and PATH.json, each whole or not at all."""
        from safetensors.numpy import save

        write(with_ending(path, ".safetensors"), save(self.arrays()))
        description = json.dumps(self.description(), indent=1, ensure_ascii=False) + "\n"
        write(with_ending(path, ".json"), description.encode())

    @classmethod
    def load(cls, path: str | Path) -> "StatementTable":
        """Read what `save` wrote, bit for bit."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        description, arrays = with_ending(path, ".json"), with_ending(path, ".safetensors")
        for file in (description, arrays):
            if not file.is_file():
                raise FileNotFoundError(f"no {file}: a statement table is PATH.safetensors with PATH.json beside it")
        try:
            said = json.loads(description.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{description} is damaged, or no JSON ({str(error)[:200]}): copy it again") from None
        try:
            found = load_file(arrays)
        except (SafetensorError, ValueError, TypeError, KeyError, RuntimeError) as error:
            raise ValueError(
                f"{arrays} is damaged, or no safetensors file ({str(error)[:200]}): copy it again"
            ) from None
        return cls.restore(found, said)


def refuse_odd(description: Mapping) -> None:
    """ValueError where a field of a description is of another kind than `description()` makes it."""
    names, shrinkage = description["statements"], description["shrinkage"]
    if (
        not isinstance(names, list)
        or not 0 < len(names) <= MOST
        or not all(isinstance(n, str) and n.strip() for n in names)
    ):
        raise ValueError(f"statement table: statements {brief(names)}: expected a list of 1 to {MOST} texts")
    if len(set(names)) < len(names):
        raise ValueError("statement table: a statement is in it twice: expected each once")
    for key in ("encoder", "fingerprint"):
        if not isinstance(description[key], str):
            raise ValueError(f"statement table: {key} {brief(description[key])}: expected a text")
    if not isinstance(shrinkage, int | float) or not 0 < shrinkage <= 1:
        raise ValueError(f"statement table: shrinkage {brief(shrinkage)}: expected more than 0 and at most 1")


def whiten(raw: np.ndarray, shrinkage: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean (W,) and symmetric whitening matrix (W, W) of vectors (N, W), float32; shrinkage in (0, 1]."""
    raw = raw.astype(np.float64)
    centre = raw.mean(0)
    values, axes = np.linalg.eigh(np.cov(raw, rowvar=False, bias=True))
    rank = min(len(raw) - 1, raw.shape[1])
    mean = values.sum() / rank
    if mean <= 1e-12:
        raise ValueError("all statements have the same vector: this encoder cannot tell them apart")
    gains = ((1 - shrinkage) * np.maximum(values, 0) + shrinkage * mean) ** -0.5
    return centre.astype(np.float32), ((axes * gains) @ axes.T).astype(np.float32)


def with_ending(path: str | Path, ending: str) -> Path:
    """PATH.safetensors and PATH.json belong together; PATH may come with either ending or none."""
    path = Path(path)
    return path.with_name((path.stem if path.suffix in (".safetensors", ".json") else path.name) + ending)


def write(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.{uuid4().hex}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
