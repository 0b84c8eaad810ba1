"""Pairs with drafts as latents: made once by the frozen auto-encoder, then training touches no
signal. What they are: `people`.

A bank is a folder, memory-mapped, so it may be larger than memory: bank.json (written last), latents.npy (strips),
drafts.npy (pairs) and one small array for each number. It is made shard by shard, some people in each; after an
interruption those that are done are kept.

Shapes: S strips · P pairs · Z latent channels · T latent samples.
"""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..atomic import write_file, write_text
from ..ecg.beats import Beats
from ..ecg.store.columns import SPLITS
from ..ecg.store.prepare import cores
from ..ecg.store.recordings import Recordings
from ..text.table import StatementTable
from ..twin.codec import Codec
from ..twin.config import ConditionConfig
from .album import KINDS, Made
from .condition_table import ConditionTable
from .config import Config, DraftPairs, DraftsConfig
from .latents import Encode, finished
from .people import album, state_names
from .weights import digest

if TYPE_CHECKING:
    from accelerate import Accelerator

PEOPLE = 32
"""In a shard."""
LARGE = ("latents", "drafts")
SMALL = ("times", "beat_kinds", "statements", "heart_rate", "place", "reference", "target", "kind")
"""Files: latents, which are mapped, and the arrays of `people.Made` that are kept as they are."""
MISSING = {
    "same": "no ECG has three beats that can be read",
    "rate": "no ECG has four beats that can be shown at another rate",
    "real": "no patient has two ECGs",
    "simulated": "there is no simulated person with two ECGs (`ecgtwin data simulate` makes a store of them)",
    "constructed": "no ECG of normally conducted beats could be explained by a simulated person",
    "expected": "no ECG of normally conducted beats could be explained by a simulated person",
    "back": "no ECG of normally conducted beats could be explained by a simulated person",
}
"""Why there are no pairs of a kind."""


@dataclass(frozen=True, eq=False)
class Drafts:
    """latents (S, Z, T) and drafts (P, Z, T) float16 on disk; the others as in `people.Made`. names: that
    statements are places in."""

    latents: np.ndarray
    drafts: np.ndarray
    times: np.ndarray
    beat_kinds: np.ndarray
    statements: np.ndarray
    heart_rate: np.ndarray
    place: np.ndarray
    reference: np.ndarray
    target: np.ndarray
    kind: np.ndarray
    names: tuple[str, ...]

    def beats(self, strip: int) -> Beats:
        n = int(np.isfinite(self.times[strip]).sum())
        return Beats(self.times[strip, :n], self.beat_kinds[strip, :n])

    def conditions(self, recordings: Recordings, table: StatementTable, config: ConditionConfig) -> ConditionTable:
        """The conditions of all strips. Statements that are not in the table are left out."""
        place = {name: k for k, name in enumerate(table.statements)}
        known = torch.tensor([*(place.get(name, -1) for name in self.names), -1], dtype=torch.int16)
        last = len(table.statements)
        ids = known[torch.from_numpy(self.statements.astype(np.int64))]
        ids = torch.where(ids < 0, last, ids).sort(1).values
        ids = torch.where(ids == last, -1, ids)[:, : max(1, int((ids < last).sum(1).max()))]
        sex = torch.tensor([0.0, 1.0, -1.0])[torch.from_numpy(recordings.sex[self.place].astype(np.int64))]
        age = torch.from_numpy(recordings.age[self.place].astype(np.float32))
        vectors = torch.from_numpy(np.array(table.vectors, np.float32))
        return ConditionTable(
            ids, torch.from_numpy(self.heart_rate)[:, None], age, sex, tuple(table.statements), vectors, config
        )

    @staticmethod
    def open(folder: Path, key: str) -> "Drafts | None":
        """The finished bank in a folder, if it was made of the same recordings by the same auto-encoder (`key`)."""
        facts = finished(folder, key)
        if facts is None:
            return None
        arrays = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r" if name in LARGE else None) for name in (*LARGE, *SMALL)
        }
        return Drafts(**arrays, names=tuple(facts["names"]))


class DraftPairer:
    """Draws pairs of a split in stated fractions, within each kind by the weight (S,) of the target's statements.

    available: kinds that the split lacks are left out, in place of an error; for validation.
    """

    def __init__(
        self,
        drafts: Drafts,
        recordings: Recordings,
        split: str,
        fractions: DraftPairs,
        weight: Tensor | None = None,
        *,
        available: bool = False,
    ):
        inside = recordings.split[drafts.place[drafts.target]] == SPLITS.index(split)
        self.pairs: list[Tensor] = []
        self.sums: list[Tensor] = []
        wanted = []
        for k, name in enumerate(KINDS):
            fraction = getattr(fractions, name)
            wished = np.ones(len(drafts.target), bool) if weight is None else weight.numpy()[drafts.target] > 0
            rows = torch.from_numpy(np.flatnonzero(inside & wished & (drafts.kind == k)))
            if fraction > 0 and not len(rows) and not available:
                raise ValueError(
                    f"train.denoiser.drafts.{name} is {fraction:g}, but in split {split} {MISSING[name]}: "
                    "set it to 0 and raise the others, or add a store that has some"
                )
            targets = torch.from_numpy(drafts.target)[rows]
            each = torch.ones(len(rows), dtype=torch.float64) if weight is None else weight[targets].double()
            self.pairs.append(rows)
            self.sums.append(each.cumsum(0))
            wanted.append(fraction if len(rows) else 0.0)
        self.fractions = torch.tensor(wanted)
        if not self.fractions.sum():
            raise ValueError(
                f"no pairs of the kinds of train.denoiser.drafts in split {split}: prepare a store with such patients"
            )

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Numbers (n,) of pairs."""
        kinds = torch.multinomial(self.fractions, n, replacement=True, generator=generator)
        where = torch.rand(n, generator=generator, dtype=torch.float64)
        out = torch.empty(n, dtype=torch.long)
        for k, (rows, sums) in enumerate(zip(self.pairs, self.sums, strict=True)):
            here = torch.nonzero(kinds == k).flatten()
            if len(here):
                out[here] = rows[torch.searchsorted(sums, where[here] * sums[-1], right=True).clamp(max=len(rows) - 1)]
        return out


def drafts_of(
    settings: Config, recordings: Recordings, vae: Codec, vae_key: str, folder: Path, accelerator: "Accelerator"
) -> Drafts:
    """The pairs of all training and validation patients, kept in a folder; made when they are not
    there, or of other recordings."""
    config, fractions, device = settings.train.drafts, settings.train.denoiser.drafts, accelerator.device
    kinds = tuple(name for name in KINDS if getattr(fractions, name) > 0)
    key = digest(vae_key, recordings.digest, config.model_dump_json(), *kinds)
    found = Drafts.open(folder, key)
    if found is not None:
        return found
    vae.to(device)

    @torch.no_grad()
    def encode(signals: Tensor) -> Tensor:
        return vae.encode(signals.to(device)).float()

    return fill(
        folder,
        key,
        recordings,
        encode,
        config,
        kinds,
        part=accelerator.process_index,
        parts=accelerator.num_processes,
        workers=max(1, cores() // accelerator.num_processes - 1),
        ready=accelerator.wait_for_everyone,
    )


def fill(
    folder: Path,
    key: str,
    recordings: Recordings,
    encode: Encode,
    config: DraftsConfig,
    kinds: tuple[str, ...] = KINDS,
    *,
    part: int = 0,
    parts: int = 1,
    workers: int = 0,
    ready: Callable[[], None] = lambda: None,
) -> Drafts:
    """Make the bank, or finish one that was begun with the same key; the arguments are those of `latents.fill`.

    kinds: of pairs that are wanted."""
    shards = groups(recordings)
    said = {s for places in shards for place in places for s in recordings.statements(place)}
    names = tuple(sorted(said | state_names()))
    if part == 0:
        begin(folder, key)
    ready()
    missing = [k for k in range(len(shards)) if k % parts == part and not shard_file(folder, k).exists()]
    tasks = [(recordings, shards[k], config, kinds, {name: i for i, name in enumerate(names)}) for k in missing]
    for k, made in zip(
        missing,
        tqdm(albums(tasks, workers), total=len(tasks), desc="drafts", unit="shard", disable=part > 0),
        strict=True,
    ):
        arrays = {name: getattr(made, name) for name in SMALL}
        arrays |= {"latents": encoded(made.signals, encode), "drafts": encoded(made.drafts, encode)}
        write_file(shard_file(folder, k), lambda path, arrays=arrays: save_arrays(path, arrays))
    ready()
    if part == 0:
        join(folder, len(shards))
        write_text(folder / "bank.json", json.dumps({"key": key, "names": names}) + "\n")
        for k in range(len(shards)):
            shard_file(folder, k).unlink()
    ready()
    bank = Drafts.open(folder, key)
    assert bank is not None
    return bank


def groups(recordings: Recordings) -> list[list[int]]:
    """Places of training and validation ECGs, the people whole, `PEOPLE` in each list."""
    places = np.concatenate([recordings.places(split) for split in ("train", "validation")])
    owner = recordings.owner[places]
    order = np.argsort(owner, kind="stable")
    person = np.unique(owner[order], return_inverse=True)[1] // PEOPLE
    return [part.tolist() for part in np.split(places[order], np.flatnonzero(np.diff(person)) + 1) if len(part)]


def begin(folder: Path, key: str) -> None:
    """Shards that were begun with another key are begun again."""
    (folder / "shards").mkdir(parents=True, exist_ok=True)
    begun = folder / "begun"
    if begun.is_file() and begun.read_text() == key:
        return
    (folder / "bank.json").unlink(missing_ok=True)
    for path in (folder / "shards").iterdir():
        path.unlink()
    write_text(begun, key)


def shard_file(folder: Path, number: int) -> Path:
    return folder / "shards" / f"{number}.npz"


def save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)


def albums(tasks: list[tuple], workers: int) -> Iterator[Made]:
    if workers < 1 or len(tasks) < 2:
        yield from (album(*task) for task in tasks)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        waiting = []
        for task in tasks:
            waiting.append(pool.submit(album, *task))
            if len(waiting) > workers + 1:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


def encoded(signals: np.ndarray, encode: Encode) -> np.ndarray:
    """Signals (n, 8, L) int16 in uV as latents (n, Z, T) float16."""
    parts = (
        [encode(x.float() / 1000).half().cpu() for x in torch.from_numpy(signals).split(128)] if len(signals) else []
    )
    return torch.cat(parts).numpy() if parts else np.zeros((0, 0, 0), np.float16)


def join(folder: Path, shards: int) -> None:
    """The shards' arrays, one behind the other, each in a file of its own."""
    small: dict[str, list[np.ndarray]] = {name: [] for name in SMALL}
    sizes, shapes = np.zeros((shards, 2), np.int64), {}
    for k in range(shards):
        with np.load(shard_file(folder, k)) as shard:
            first = int(sizes[:k, 0].sum())
            for name in SMALL:
                small[name].append(shard[name] + (first if name in ("reference", "target") else 0))
            sizes[k] = len(shard["place"]), len(shard["kind"])
            shapes |= {name: shard[name].shape[1:] for name in LARGE if len(shard[name])}
    if "latents" not in shapes:
        raise ValueError(
            "no ECG of the stores has beats that can be read: a denoiser with drafts cannot be trained on them"
        )
    for name, arrays in small.items():
        np.save(folder / f"{name}.npy", np.concatenate(arrays))
    for name in LARGE:
        column, at = int(name == "drafts"), 0
        shape = (int(sizes[:, column].sum()), *shapes.get(name, shapes["latents"]))
        whole = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float16, shape)
        for k in range(shards):
            if sizes[k, column]:
                with np.load(shard_file(folder, k)) as shard:
                    whole[at : at + sizes[k, column]] = shard[name]
            at += sizes[k, column]
        whole.flush()
