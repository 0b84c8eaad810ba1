"""From a reference and a wish to a folder of files: records, one picture, one sidecar. All of them or none."""

import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ..ecg.leads import LEADS
from ..ecg.plot import plot
from ..ecg.quality import prepare
from ..ecg.record import ECG
from ..ecg.simulate import Person, simulate
from ..text.statements import from_snomed
from ..twin.condition import Condition
from ..twin.twin import ECGTwin

NOTICE = "Synthetic ECGs, counterfactuals conditioned on a reference. Research use only, not for clinical diagnosis."
SUFFIX = {"wfdb": ".hea", "csv": ".csv", "npz": ".npz"}


@dataclass(frozen=True)
class Wish:
    """What the user asked for; what is left out comes from the reference's header."""

    reports: tuple[str, ...]
    sex: str | None
    age: float | None
    heart_rate: float | None
    reference_reports: tuple[str, ...]
    start: float | None


@dataclass(frozen=True)
class Options:
    n: int
    seed: int
    steps: int
    guidance: float | None
    base_guidance: float | None
    format: str
    rescale: float = 0.0


def example() -> ECG:
    """A simulated person in sinus rhythm: made by code, nobody's recording."""
    return simulate(Person.draw(7), "sinus rhythm", 66.0, seed=7)


def known_reports(model: ECGTwin, reports: tuple[str, ...]) -> tuple[tuple[str, ...], list[str]]:
    """Those of a header's statements that the model knows, and those that it does not."""
    known, unknown = [], []
    for text in reports:
        if text.startswith("snomed:"):
            found = [s for s in from_snomed([text.removeprefix("snomed:")]) if s in model.statements]
            known += found
            unknown += [] if found else [text]
            continue
        try:
            known.append(model.vocabulary.normalise(text))
        except ValueError:
            unknown.append(text)
    return tuple(known), unknown


def conditions(model: ECGTwin, reference: ECG, wish: Wish) -> tuple[Condition, Condition, list[str]]:
    """The wanted condition, the reference's own, and notes on what came from where."""
    notes = []
    if wish.reference_reports:
        reports = model.normalise(wish.reference_reports)
    else:
        reports, unknown = known_reports(model, reference.reports)
        if unknown:
            notes.append(f"header statements that the model does not know, left out: {', '.join(unknown)}")
        if not reports:
            notes.append("no known report statement of the reference: its own state counts as unknown")
    rate = reference.heart_rate()
    # The numbers alone would not be the reference's state: without a statement the condition-free token is used.
    was = Condition(reports, reference.sex, reference.age, rate) if reports else Condition()
    sex, age = wish.sex or reference.sex, reference.age if wish.age is None else wish.age
    return Condition(model.normalise(wish.reports), sex, age, wish.heart_rate), was, notes


def run(
    reference: ECG,
    wish: Wish,
    options: Options,
    output: Path,
    *,
    model: ECGTwin,
    say: Callable[[str], None],
    as_json: bool,
) -> dict[str, Any]:
    """Generate and write; returns the sidecar. Raises ValueError or OSError before anything is written."""
    if options.format not in SUFFIX:
        raise ValueError(f"format {options.format!r}: expected one of {', '.join(SUFFIX)}")
    c = model.config.signal
    now, was, notes = conditions(model, reference, wish)
    used = prepare(reference, seconds=c.samples / c.rate, leads=LEADS, start=wish.start)
    notes += [note for note in used.notes if note not in notes]
    tuned = model.config.sampling
    guidance = tuned.guidance if options.guidance is None else options.guidance
    base_guidance = tuned.base_guidance if options.base_guidance is None else options.base_guidance
    begin = time.perf_counter()
    twins = model.generate(
        used,
        now,
        reference_condition=None if was.empty else was,
        n=options.n,
        steps=options.steps,
        guidance=guidance,
        base_guidance=base_guidance,
        rescale=options.rescale,
        seed=options.seed,
        progress=True,
    )
    seconds = time.perf_counter() - begin
    names = [f"twin_{k:03d}" for k in range(len(twins))]
    sidecar = {
        "notice": NOTICE,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {p: version(p) for p in ("ecgtwin", "torch", "numpy")} | {"python": platform.python_version()},
        "model": {"weights_sha256": model.parts.weights_hash, "text_encoder": model.table.fingerprint},
        "device": str(model.device),
        "threads": torch.get_num_threads(),
        "reference": {"name": reference.name, "condition": asdict(was), "heart_rate": reference.heart_rate()},
        "condition": asdict(now),
        "options": asdict(options) | {"guidance": guidance, "base_guidance": base_guidance},
        "seconds": round(seconds, 3),
        "notes": notes,
        "twins": [
            {"file": name + SUFFIX[options.format], "seed": options.seed + k, "heart_rate": twin.heart_rate()}
            for k, (name, twin) in enumerate(zip(names, twins, strict=True))
        ],
        "picture": "twins.png",
    }
    text = json.dumps(sidecar, indent=2)
    output.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".ecgtwin-", dir=output))
    try:
        for name, twin in zip(names, twins, strict=True):
            twin.write(part / (name + SUFFIX[options.format]), format=options.format)
        plot(twins[0], part / "twins.png", reference=used, layout="stacked", title=f"{now}  ·  reference: {reference.name}")
        (part / "twins.json").write_text(text + "\n")
        for path in sorted(part.iterdir()):
            os.replace(path, output / path.name)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    for note in notes:
        say(f"note: {note}")
    if as_json:
        print(text)
    else:
        for twin in sidecar["twins"]:
            beats = "not measurable" if twin["heart_rate"] is None else f"{twin['heart_rate']:.0f}/min"
            say(f"{output / twin['file']}  seed {twin['seed']}  heart rate {beats}")
        say(f"{output / 'twins.png'}\n{seconds:.1f} s. {NOTICE}")
    return sidecar
