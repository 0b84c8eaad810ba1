"""Rows of `ecgtwin generate --table` answered by other processes, which see the same files at the same places."""

from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from ..ecg.files import Given
from ..twin.lean import Precision
from ..twin.twin import ECGTwin
from .people import Asked, Row
from .wanted import Options

WAITING = 64
"""Groups of rows that are given away at a time: the others wait here."""


@dataclass(frozen=True)
class Errand:
    """What another process must know to answer rows. model: its folder, None: the default. weights: what that folder
    must hold."""

    folder: Path
    output: Path
    model: Path | None
    weights: str
    device: str
    precision: Precision
    default: Asked
    options: Options
    given: Given


@lru_cache(1)
def loaded(model: Path | None, device: str, precision: Precision) -> ECGTwin:
    return ECGTwin.from_pretrained(model, device=device, precision=precision)


def answered(errand: Errand, group: list[Row], done: frozenset[int]) -> list[str]:
    """Write the files of a group's rows but those done; returns their lines of the index."""
    from .cohort import answers, reference_of, written

    model = loaded(errand.model, errand.device, errand.precision)
    if model.weights_hash != errand.weights:
        raise ValueError(
            f"the model at {errand.model or 'the package'} is another one here: install the same everywhere"
        )
    load, waiting = reference_of(errand.folder, errand.default, errand.given, model), []
    for row in group:
        waiting.append(Future())
        try:
            waiting[-1].set_result(load(row))
        except Exception as error:  # whatever a file holds: the row is refused, by `answers`
            waiting[-1].set_exception(error)
    found = answers(model, group, waiting, errand.options)
    return [written(errand.output, a, errand.options.format) for a in found if a.row.number not in done]


def remotely(
    errand: Errand, groups: Iterable[list[Row]], done: frozenset[int], engine: Executor
) -> Iterator[list[str]]:
    """Lines of the index of groups of rows, as they come."""
    errand = replace(errand, folder=errand.folder.absolute(), output=errand.output.absolute())
    running: set[Future] = set()
    for group in groups:
        mine = done & {row.number for row in group}
        running.add(engine.submit(answered, errand, group, mine))
        if len(running) >= WAITING:
            ready, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in ready)
    while running:
        ready, running = wait(running, return_when=FIRST_COMPLETED)
        yield from (future.result() for future in ready)
