"""Views of every recording, as latents: made once by the frozen auto-encoder, then training touches no signal.

A *target* is the recording itself or the same beats at another heart rate; a *view* is that, with another day's
electrodes and noise, from the first or the second half of the recording only or from all of it. Two views of one
recording therefore share no beat, no noise and no electrode position: what they share is the heart.

A bank is a folder, memory-mapped, so it may be larger than memory: bank.json (written last), latents.npy,
about.npy (one number of each latent: its heart rate). It is filled shard by shard; after an interruption the
shards that are done are kept.
"""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..atomic import write_text
from ..ecg.change_heart_rate import change_heart_rate
from ..ecg.rhythm import r_peaks
from ..ecg.store.prepare import cores
from ..ecg.store.recordings import Recordings
from ..train.batch import stream
from ..twin.codec import Codec
from .augment import Electrodes, disturb
from .config import BankConfig, Config, HeartRateConfig
from .weights import digest

if TYPE_CHECKING:
    from accelerate import Accelerator

SHARD = 64
Encode = Callable[[Tensor], Tensor]
Make = Callable[[Recordings, int], tuple[np.ndarray, np.ndarray]]
"""The signals of the recording at a place, (K, 8, samples) int16 in uV, and a number about each, (K,).
Worker processes unpickle it."""


@dataclass(frozen=True, eq=False)
class Bank:
    """latents (N, targets + views, Z, T) float16 on disk; about (N, targets + views): beats/min, NaN
    where it cannot be measured."""

    latents: np.ndarray
    about: Tensor
    targets: int

    @property
    def views(self) -> int:
        return self.latents.shape[1] - self.targets

    def target(self, rows: Tensor, kinds: Tensor) -> Tensor:
        """(b, Z, T) float16 of ECGs `rows`, target number `kinds`."""
        return torch.from_numpy(self.latents[rows.numpy(), kinds.numpy()])

    def view(self, rows: Tensor, kinds: Tensor) -> Tensor:
        return self.target(rows, kinds + self.targets)

    @property
    def target_rates(self) -> Tensor:
        return self.about[:, : self.targets]

    @property
    def view_rates(self) -> Tensor:
        return self.about[:, self.targets :]

    @staticmethod
    def open(folder: Path, key: str) -> "Bank | None":
        """The finished bank in a folder, if it was made of the same recordings by the same auto-encoder (`key`)."""
        facts = finished(folder, key)
        if facts is None:
            return None
        rates = torch.from_numpy(np.load(folder / "about.npy"))
        return Bank(np.load(folder / "latents.npy", mmap_mode="r"), rates, facts["targets"])


def finished(folder: Path, key: str) -> dict[str, Any] | None:
    """What a finished bank says of itself, if it was made with this key."""
    path = folder / "bank.json"
    facts = json.loads(path.read_text()) if path.is_file() else None
    return facts if facts is not None and facts["key"] == key else None


def fill(
    folder: Path,
    key: str,
    recordings: Recordings,
    encode: Encode,
    make: Make,
    shape: tuple[int, int, int],
    *,
    targets: int,
    part: int = 0,
    parts: int = 1,
    workers: int = 0,
    ready: Callable[[], None] = lambda: None,
) -> Bank:
    """Make the bank, or finish one that was begun with the same key.

    encode: signals (B, 8, samples) in mV -> latents (B, Z, T). make: signals of one recording. shape: (K, Z,
        T). targets: of the K. part,
    parts: of the processes that share the work. workers: further processes that prepare signals.
        ready: waits until all are here.
    """
    begin(folder, key, (len(recordings), *shape), part == 0)
    ready()
    latents = np.load(folder / "latents.npy", mmap_mode="r+")
    rates = np.load(folder / "about.npy", mmap_mode="r+")
    starts = [
        s for s in range(0, len(recordings), SHARD) if s // SHARD % parts == part and not done_file(folder, s).exists()
    ]
    bar = tqdm(
        variants(recordings, starts, make, workers), total=len(starts), desc=folder.name, unit="shard", disable=part > 0
    )
    for start, signals, found in bar:
        rows = slice(start, start + len(signals))
        flat = torch.from_numpy(signals).flatten(0, 1).split(128)
        z = torch.cat([encode(x.float() / 1000) for x in flat])
        latents[rows] = z.half().cpu().unflatten(0, signals.shape[:2]).numpy()
        rates[rows] = found
        latents.flush()
        rates.flush()
        done_file(folder, start).touch()
    ready()
    if part == 0:
        write_text(folder / "bank.json", json.dumps({"key": key, "targets": targets}) + "\n")
        for path in (folder / "done").iterdir():
            path.unlink()
    ready()
    bank = Bank.open(folder, key)
    assert bank is not None
    return bank


def begin(folder: Path, key: str, shape: tuple[int, ...], main: bool) -> None:
    """Empty files of the right size; those begun with another key are begun again."""
    if not main:
        return
    done = folder / "done"
    done.mkdir(parents=True, exist_ok=True)
    begun = folder / "begun"
    if begun.is_file() and begun.read_text() == key:
        return
    begun.unlink(missing_ok=True)
    (folder / "bank.json").unlink(missing_ok=True)
    for path in done.iterdir():
        path.unlink()
    np.lib.format.open_memmap(folder / "latents.npy", "w+", np.float16, shape)
    np.lib.format.open_memmap(folder / "about.npy", "w+", np.float32, shape[:2])
    begun.write_text(key)


def done_file(folder: Path, start: int) -> Path:
    return folder / "done" / f"{start}"


def variants(
    recordings: Recordings, starts: list[int], make: Make, workers: int
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """For each shard: where it starts, signals (n, K, 8, samples) int16 in uV, and a number about each (n, K)."""
    if workers < 1 or len(starts) < 2:
        yield from (shard(recordings, start, make) for start in starts)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        waiting = []
        for start in starts:
            waiting.append(pool.submit(shard, recordings, start, make))
            if len(waiting) > workers + 1:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


def shard(recordings: Recordings, start: int, make: Make) -> tuple[int, np.ndarray, np.ndarray]:
    places = range(start, min(start + SHARD, len(recordings)))
    made = [make(recordings, place) for place in places]
    return start, np.stack([x for x, _ in made]), np.stack([r for _, r in made])


def changed(recordings: Recordings, place: int, *, config: BankConfig) -> tuple[np.ndarray, np.ndarray]:
    """All targets and views of one recording, (K, 8, samples) int16 in uV, and their heart rates (K,).

    Target 0 is the recording itself. Views come in three equal parts: first half, second half, all of the beats.
    """
    targets, views, rate = config.targets, config.views, recordings.rate
    kinds = targets + views
    key = (config.seed, int(recordings.which[place]), int(recordings.rows[place]))
    generator, noise = np.random.default_rng(key), stream(*key)
    x = recordings.millivolts(slice(place, place + 1))[0]
    peaks = r_peaks(x, rate)
    now = 60 * rate / np.diff(peaks).mean() if len(peaks) >= 3 else np.nan
    signals, rates = np.repeat(x[None], kinds, 0), np.full(kinds, now, np.float32)
    for kind in range(1, kinds) if len(peaks) >= 4 else ():
        part, middle = third(max(0, kind - targets), views), len(peaks) // 2
        chosen = peaks
        if kind >= targets and part < 2 and len(peaks) >= 7:
            chosen = peaks[: middle + 1] if part == 0 else peaks[middle:]
        local = 60 * rate / np.diff(chosen).mean()
        wanted = draw_rate(generator, local, config.heart_rate)
        warped = at_rate(x, rate, chosen, local, wanted, generator.uniform())
        if warped is not None:
            signals[kind], rates[kind] = warped, wanted
    batch = torch.from_numpy(signals)
    e = config.electrodes
    seen = Electrodes.draw(views, noise, angle=e.angle, shift=e.shift, gain=e.gain).apply(batch[targets:])
    batch[targets:] = disturb(seen, noise, rate, wander=config.wander, noise=config.noise)
    batch = batch - batch.median(-1, keepdim=True).values
    return (batch * 1000).round().clamp(-32767, 32767).to(torch.int16).numpy(), rates


def third(view: int, views: int) -> int:
    """Which beats a view shows: 0 the first half, 1 the second, 2 all."""
    return view * 3 // views


def at_rate(
    x: np.ndarray, rate: float, peaks: np.ndarray, now: float, wanted: float, start: float
) -> np.ndarray | None:
    """The recording at a wanted heart rate, or None where its beats do not allow it."""
    try:
        return change_heart_rate(x, rate, peaks, now / wanted, start=start)
    except ValueError:
        return None


def draw_rate(generator: np.random.Generator, now: float, limits: HeartRateConfig) -> float:
    """A heart rate within a factor of the recording's and within limits, evenly on a log scale; the
    recording's where it is outside."""
    low, high = max(limits.low, now / limits.factor), min(limits.high, now * limits.factor)
    return float(np.exp(generator.uniform(np.log(low), np.log(high)))) if low < high else now


def bank_of(vae: Path, output: Path, name: str = "bank") -> Path:
    """Where latents are kept: beside the auto-encoder, for all stages; with one that came
    in a model, beside the run."""
    return (vae.parent if vae.is_file() else output) / name


def views(
    settings: Config, recordings: Recordings, vae: Codec, vae_key: str, folder: Path, accelerator: "Accelerator"
) -> Bank:
    """The latents of all recordings, kept in a folder; made when they are not there, or of other recordings."""
    config, model = settings.train.bank, settings.model
    shape = (config.targets + config.views, model.vae.latent, model.signal.samples // vae.vae.factor)
    key = digest(vae_key, recordings.digest, config.model_dump_json())

    def encode(signals: Tensor) -> Tensor:
        with torch.autocast(signals.device.type, dtype=torch.bfloat16):
            return vae.encode(signals)

    return kept(
        folder, key, recordings, vae, encode, partial(changed, config=config), shape, config.targets, accelerator
    )


def kept(
    folder: Path,
    key: str,
    recordings: Recordings,
    vae: Codec,
    encode: Encode,
    make: Make,
    shape: tuple[int, int, int],
    targets: int,
    accelerator: "Accelerator",
) -> Bank:
    """The bank in a folder, filled by all processes of a training where it is not there."""
    found = Bank.open(folder, key)
    if found is not None:
        return found
    device = accelerator.device
    vae.to(device)
    workers = max(1, cores() // accelerator.num_processes - 1)
    with torch.no_grad():
        return fill(
            folder,
            key,
            recordings,
            lambda x: encode(x.to(device)).float(),
            make,
            shape,
            targets=targets,
            part=accelerator.process_index,
            parts=accelerator.num_processes,
            workers=workers,
            ready=accelerator.wait_for_everyone,
        )
