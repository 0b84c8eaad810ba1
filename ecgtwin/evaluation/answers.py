"""What the parts of the suite ask, and the answers: what several parts ask is asked once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ..ecg.store.recordings import Recordings
from ..metrics.identity import median_beats, whitening
from ..twin.twin import ECGTwin
from . import tasks
from .makers import Copy, Maker, Stranger, drawn
from .reading import Judges, Reading, beat_distance
from .tasks import Held, Task
from .utility import Effort

Say = Callable[[str], None]


@dataclass(frozen=True)
class Size:
    """How many: ECGs asked for again and exchanged, factual pairs at most, samples of each (of as many pairs),
    references of the heart rate and age series, edits by inversion, references of the series of strengths, simulated
    people, real people in constructed states, training ECGs. utility: what is spent on it."""

    ecgs: int
    pairs: int
    samples: int
    sampled: int
    series: int
    edits: int
    strengths: int
    people: int
    constructed: int
    fitted: int
    utility: Effort


@dataclass(frozen=True, eq=False)
class Stage:
    """What every part of the suite needs."""

    train: Recordings
    held: Held
    whole: Reading
    fitted: Reading
    ages: np.ndarray
    judges: Judges
    size: Size
    cache: Path | None
    seed: int
    say: Say
    progress: bool

    def read(self, signals: np.ndarray, patients: np.ndarray) -> Reading:
        return Reading(signals, self.held.rate, patients, self.judges)

    def answered(self, makers: Sequence[Maker], task: Task) -> dict[str, Reading]:
        """What each maker draws for a task, read."""
        found = {}
        for maker in makers:
            self.say(f"{task.name}: {maker.name} ({len(task)} ECGs)")
            found[maker.name] = self.read(drawn(maker, task, self.cache, progress=self.progress), task.patients)
        return found


@dataclass(frozen=True, eq=False)
class Answers:
    """twin: what is evaluated. others: rows beside it; keys "no reference", "counterfactual", "reconstruction",
    "mechanistic" are of a model and may lack. model: for the exact counterfactuals."""

    stage: Stage
    twin: Maker
    others: Mapping[str, Maker]
    model: ECGTwin | None

    def present(self, *names: str) -> list[Maker]:
        return [self.others[name] for name in names if name in self.others]

    @cached_property
    def redraw(self) -> Task:
        return tasks.redraw(self.stage.held, self.stage.size.ecgs, self.stage.seed)

    @cached_property
    def references(self) -> Reading:
        return self.stage.read(self.redraw.references, self.redraw.patients)

    @cached_property
    def again(self) -> Reading:
        return self.stage.answered([self.twin], self.redraw)[self.twin.name]

    @cached_property
    def reconstructed(self) -> dict[str, Reading]:
        return self.stage.answered(self.present("reconstruction"), self.redraw)

    @cached_property
    def exchange(self) -> Task:
        return tasks.exchange(self.stage.held, self.stage.size.ecgs, self.stage.seed)

    @cached_property
    def changed(self) -> dict[str, Reading]:
        return self.stage.answered([self.twin, *self.present("no reference")], self.exchange)

    @cached_property
    def real_other(self) -> Reading:
        return self.stage.read(self.exchange.truth, self.exchange.truth_patients)

    @cached_property
    def pairs(self) -> Task:
        return tasks.factual(self.stage.held, self.stage.size.pairs, self.stage.seed)

    @cached_property
    def before(self) -> Reading:
        return self.stage.read(self.pairs.references, self.pairs.patients)

    @cached_property
    def later(self) -> Reading:
        return self.stage.read(self.pairs.truth, self.pairs.patients)

    @cached_property
    def another_day(self) -> np.ndarray:
        """Distances in uV between two real ECGs of a patient."""
        return beat_distance(self.later.beats, self.before.beats)

    @cached_property
    def paired(self) -> dict[str, Reading]:
        """What was made of each factual pair's reference, in all rows; empty with fewer than 8 pairs."""
        beside = self.present("no reference", "reconstruction", "mechanistic")
        makers = [self.twin, Copy(), Stranger(self.stage.held), *beside]
        return self.stage.answered(makers, self.pairs) if len(self.pairs) >= 8 else {}

    @cached_property
    def embed(self) -> Callable[[np.ndarray], np.ndarray]:
        """Median beats whitened within training patients: all that have several ECGs, and others."""
        train = self.stage.train
        names, counts = np.unique(train.patient[train.patient >= 0], return_counts=True)
        several = np.flatnonzero(np.isin(train.patient, names[counts > 1]))
        some = np.random.default_rng([self.stage.seed, 7]).permutation(len(train))[: self.stage.size.fitted]
        rows = np.union1d(several, some)
        return whitening(median_beats(train.millivolts(rows), train.rate), train.patient[rows])
