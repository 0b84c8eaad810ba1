"""Which statements of a model can be trusted: how many ECGs taught it, and whether an independent reader sees them.

The figures lie beside the weights in `reliability.json` and name the weights that they were measured on;
`scripts/measure_reliability.py` makes them for any model.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from ..ecg.intervals import measure_many
from ..ecg.leads import INDEPENDENT, LEADS, complete
from ..ecg.store.recordings import Recordings
from ..metrics.evaluators import Statements
from ..metrics.rules import RULES, validity
from ..metrics.two_sample import auroc
from ..train.strict import Strict, parse
from ..twin.contradictions import ELSEWHERE
from ..twin.contradictions import SINUS as SINUS_RHYTHMS
from ..twin.twin import ECGTwin
from .per_state import SINUS, references, twins
from .requested_state import plain
from .training_distance import Stored, TrainingDistance

FEW = 30
"""Training ECGs below which a statement is not to be trusted."""
READS = 0.75
"""AUROC on real ECGs below which the reader's word on a statement counts for nothing."""
GOOD = 0.9
OWN_RHYTHM = (*SINUS_RHYTHMS, *ELSEWHERE, "paced rhythm", "supraventricular arrhythmia")
"""Statements that are asked for without "sinus rhythm" beside them."""
Fraction = Annotated[float, Field(ge=0, le=1)] | None
Count = Annotated[int, Field(ge=0)]
Word = Annotated[str, Field(max_length=200)]


class Judged(Strict):
    """recorded: real training ECGs. auroc: reader's, twins asked for it against twins asked for a normal sinus rhythm
    of the same people. reader: the same reader's on real ECGs. rules, rules_before: fraction of its rules that hold in
    those twins, and in the sinus twins. None: not known."""

    recorded: Count
    auroc: Fraction = None
    reader: Fraction = None
    rules: Fraction = None
    rules_before: Fraction = None


class Measured(Strict):
    """A `reliability.json`. samples: twins of each statement."""

    weights_sha256: Word
    data: Word
    samples: Count
    statements: dict[Word, Judged]
    training: Stored | None = None


@dataclass(frozen=True)
class Trust:
    """What speaks for a statement. learned: training ECGs, simulated ones with them, None where the model does not say;
    constructed: real ECGs put into other states by the simulator; judged: None where nothing was measured."""

    name: str
    learned: int | None
    constructed: int
    judged: Judged | None

    @property
    def few(self) -> bool:
        """Whether too little taught it. What was constructed does not count: it shows the same people once more."""
        return self.learned is not None and self.learned < FEW

    @property
    def auroc(self) -> float | None:
        """Of requested against sinus, where the reader can read the statement in real ECGs."""
        known = self.judged is not None and (self.judged.reader or 0) >= READS
        return self.judged.auroc if known else None

    @property
    def verdict(self) -> str:
        """few, good, fair, poor, or not judged."""
        if self.few:
            return "few"
        if self.auroc is None:
            return "not judged"
        return "good" if self.auroc >= GOOD else "fair" if self.auroc >= READS else "poor"

    @property
    def doubt(self) -> str | None:
        """A sentence where it is not to be trusted."""
        if self.few:
            return f"{self.name} was learned from {self.learned} ECGs: too few to be trusted"
        if self.verdict == "poor":
            return (
                f"{self.name} is drawn poorly: an independent reader tells it from sinus rhythm with AUROC "
                f"{self.auroc:.2f} (0.5 is chance)"
            )
        return None

    def data(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        j = self.judged
        return {
            "name": self.name,
            "training_ecgs": self.learned,
            "recorded_ecgs": None if j is None else j.recorded,
            "constructed_ecgs": self.constructed,
            "auroc": self.auroc,
            "rules": None if j is None else j.rules,
            "rules_in_sinus_twins": None if j is None else j.rules_before,
            "checked": self.name in RULES,
            "verdict": self.verdict,
            "doubt": self.doubt,
        }


@dataclass(frozen=True, eq=False)
class Reliability:
    """Of all statements of a model. note: a sentence where figures are missing or of other weights, else ""."""

    statements: dict[str, Trust]
    note: str
    training: Stored | None

    @cached_property
    def distance(self) -> TrainingDistance | None:
        """From the training data; None where the model does not bring what it takes."""
        return None if self.training is None else TrainingDistance.of(self.training)

    @staticmethod
    def of(model: ECGTwin) -> "Reliability":
        return Reliability.of_files(model.statements, model.parts.facts, model.parts.reliability, model.weights_hash)

    @staticmethod
    def of_files(names: Sequence[str], facts: dict, tree: dict | None, weights_hash: str) -> "Reliability":
        """names: a model's statements; facts, tree: what its config.json and reliability.json hold. ValueError for a
        damaged one."""
        measured = None if tree is None else parse(Measured, tree, "reliability.json")
        note = ""
        if measured is None:
            note = "how reliably statements are drawn was not measured for this model"
        elif measured.weights_sha256 != weights_hash:
            note = "reliability was measured on other weights: scripts/measure_reliability.py measures it anew"
        learned, constructed = (counts(facts, name) for name in ("statement_counts", "constructed_counts"))
        told = {} if measured is None else measured.statements
        found = {
            name: Trust(name, learned.get(name, 0) if learned else None, constructed.get(name, 0), told.get(name))
            for name in names
        }
        return Reliability(found, note, None if measured is None else measured.training)

    def data(self, statements: Sequence[str]) -> list[dict[str, Any]]:
        """Of those that the model knows, plain values for JSON."""
        return [self.statements[name].data() for name in statements if name in self.statements]

    def doubts(self, statements: Sequence[str]) -> list[str]:
        """Sentences on those that are not to be trusted."""
        asked = (self.statements[name] for name in statements if name in self.statements)
        return [one.doubt for one in asked if one.doubt]


def counts(facts: dict, name: str) -> dict[str, int]:
    found = facts.get(name)
    return {k: v for k, v in found.items() if isinstance(v, int)} if isinstance(found, dict) else {}


def asked_as(statement: str) -> tuple[str, ...]:
    """The statements of a request for one."""
    return (statement,) if statement in OWN_RHYTHM else ("sinus rhythm", statement)


def measure(
    model: ECGTwin,
    recordings: Recordings,
    *,
    people: int = 24,
    seed: int = 0,
    done: dict[str, Judged] | None = None,
    told: Callable[[dict[str, Judged]], None] = lambda found: None,
    **options: Any,
) -> Measured:
    """Twins of real validation references in sinus rhythm in every state that the model knows, read by the independent
    classifier and by rules. done: what an earlier call with the same arguments found; told: called with what is found
    after each statement. options: of `ECGTwin.sample`."""
    held, training, rate = recordings.only("validation"), recordings.only("train", simulated=False), recordings.rate
    recorded = Counter(s for k in range(len(training)) for s in training.statements(k))
    refs, reader = references(model, held, plain(held, people, seed)), Statements.load()
    known = tuple(s for s in SINUS if s in model.statements)
    before = twins(model, refs, known, None, seed, **options)[0]
    read_before, measured_before = reader(before), measure_many(twelve(before), rate, LEADS)
    found = dict(done or {})
    for name in model.statements:
        if name in found:
            continue
        real = reader.auroc.get(name)
        row: dict[str, Any] = {"recorded": recorded[name], "reader": None if real is None else round(real, 3)}
        if name not in known:
            asked = tuple(s for s in asked_as(name) if s in model.statements)
            drawn = twins(model, refs, asked, None, seed, **options)[0]
            if name in reader.names:
                column = reader.names.index(name)
                both = np.concatenate([read_before[:, column], reader(drawn)[:, column]])
                row["auroc"] = round(float(auroc(both, np.repeat([0, 1], [len(before), len(drawn)]))), 3)
            row["rules"] = held_by(name, measure_many(twelve(drawn), rate, LEADS))
            row["rules_before"] = held_by(name, measured_before)
        found[name] = Judged(**row)
        told(found)
    space = TrainingDistance.fit(training.millivolts(), held.millivolts(), seed)
    return Measured(
        weights_sha256=model.weights_hash,
        data=f"{recordings.stores[0].source}, validation patients",
        samples=len(refs.rows),
        statements=found,
        training=space.stored(),
    )


def twelve(signals: np.ndarray) -> np.ndarray:
    """All leads (N, 12, L): criteria ask for III, aVL and aVF too."""
    return np.stack([complete(dict(zip(INDEPENDENT, x, strict=True)), LEADS) for x in signals])


def held_by(statement: str, measured: Sequence[Any]) -> float | None:
    """Mean fraction of a statement's rules that hold."""
    values = [v for m in measured if (v := validity((statement,), m)) is not None]
    return round(float(np.mean(values)), 3) if values else None
