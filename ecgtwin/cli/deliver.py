"""From a reference and a wish to a folder of files: records, a sheet for each, one sidecar. All of them or none."""

import json
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ..ecg.leads import LEADS
from ..ecg.plot import plot
from ..ecg.quality import prepare
from ..ecg.record import ECG
from ..evaluation.candidates import Ranked, ranked
from ..evaluation.explain import Explanation, explain
from ..evaluation.explain_page import page
from ..metrics.judge import load_judge
from ..twin.condition import Condition
from ..twin.contradictions import contradictions
from ..twin.request import fingerprint, seed_of
from ..twin.twin import ECGTwin
from .attending import draw_maps
from .measured import Side, shown
from .measured import write as write_table
from .wanted import Options, Wish, conditions, drawn, taken_scales

NOTICE = "Synthetic ECGs, counterfactuals conditioned on a reference. Research use only, not for clinical diagnosis."
SUFFIX = {"wfdb": ".hea", "csv": ".csv", "npz": ".npz", "dicom": ".dcm"}
OURS = re.compile(
    r"twin_\d{3,}(_attention_\d+)?\.(hea|dat|csv|npz|dcm|png)|twins\.(json|png|html)|explanation\.json|changes\.csv"
)
"""Names of the files of a run."""
FAR = 0.10
"""Difference of the measured heart rate from the asked one, relative to it, from which on it is told."""


def refuse_used(output: Path, overwrite: bool) -> None:
    """ValueError where the folder holds the files of another run, which would stand beside a
    sidecar that does not list them."""
    if output.exists() and not output.is_dir():
        raise ValueError(f"{output} is a file: give the name of a folder as --output")
    found = sorted(p.name for p in output.iterdir() if OURS.fullmatch(p.name)) if output.is_dir() else []
    if found and not overwrite:
        raise ValueError(
            f"{output} holds another run ({found[0]} …): give another folder as --output, or --overwrite to "
            "replace that run"
        )


def best_first(one: Explanation, notes: list[str]) -> list[Ranked]:
    """Candidates in the order of their merit, by the independent reader too where it is installed; a
    note says where it is not."""
    try:
        judge = load_judge()
    except ImportError as error:
        judge = None
        notes.append(f"candidates ranked by rules and likeness alone: {error}")
    return ranked(one, judge)


def far_off(name: str, asked: float | None, measured: float | None) -> str | None:
    """A warning where a twin does not beat as fast as was asked."""
    if asked is None or measured is not None and abs(measured - asked) <= FAR * asked:
        return None
    found = "cannot be measured" if measured is None else f"is {measured:.0f}/min"
    return f"{name}: the heart rate {found}, asked for were {asked:.0f}/min"


def title(wanted: Condition, measured: float | None) -> str:
    """The asked heart rate beside the measured one, then the rest of what was asked for: a
    long title is cut at its end."""
    rest = str(replace(wanted, heart_rate=None))
    if wanted.heart_rate is None:
        return f"asked for: {rest}"
    found = "not measurable" if measured is None else f"{measured:.0f}/min measured"
    return f"{wanted.heart_rate:.0f}/min asked for, {found}  ·  {rest}"


def run(
    reference: ECG,
    wish: Wish,
    options: Options,
    output: Path,
    *,
    model: ECGTwin,
    say: Callable[[str], None],
    as_json: bool,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Generate and write; returns the sidecar. Raises ValueError or OSError before anything is written.

    overwrite: replaces another run in the same folder, all of its files.
    """
    if options.format not in SUFFIX:
        raise ValueError(f"format {options.format!r}: expected one of {', '.join(SUFFIX)}")
    if options.candidates is not None and (options.keep or options.candidates < options.n):
        wrong = "--keep changes one recording" if options.keep else f"{options.n} twins are to be kept"
        raise ValueError(
            f"--candidates {options.candidates}, but {wrong}: ask for as many candidates as twins or more, "
            "without --keep"
        )
    options.attending.check(options)
    refuse_used(output, overwrite)
    c = model.config.signal
    used = prepare(reference, seconds=c.samples / c.rate, leads=LEADS, start=wish.start)
    now, was, notes = conditions(model, used, wish)
    notes = [*dict.fromkeys((*notes, *used.notes))]
    scales = taken_scales(model, used, now, was, options)
    begin = time.perf_counter()
    twins, wanted = drawn(model, used, now, was, options)
    seconds = time.perf_counter() - begin
    seeds, ranks = [options.seed + k for k in range(len(twins))], []
    # Of all candidates: those that are kept would say too little about the spread.
    one = explain(used, twins, wanted, model=model)
    if options.candidates:
        ranks = best_first(one, notes)
        one, seeds = one.ordered([r.index for r in ranks]), [seeds[r.index] for r in ranks]
    twins = one.twins[: options.n]
    names = [f"twin_{k:03d}" for k in range(len(twins))]
    asked, measured = wanted.heart_rate, [twin.heart_rate() for twin in twins]
    contrary = list(contradictions(model.normalise(wanted.reports), asked))
    far = [line for line in (far_off(name, asked, rate) for name, rate in zip(names, measured, strict=True)) if line]
    sidecar = {
        "notice": NOTICE,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {p: version(p) for p in ("ecgtwin", "torch", "numpy")} | {"python": platform.python_version()},
        "model": {
            "weights_sha256": model.weights_hash,
            "text_encoder": model.table.fingerprint,
            "adapters": model.adapters,
        },
        "device": str(model.device),
        "precision": model.precision,
        "threads": torch.get_num_threads(),
        "reference": {"name": reference.name, "condition": asdict(was), "heart_rate": used.heart_rate()},
        "condition": asdict(wanted),
        "options": asdict(options) | scales,
        "seconds": round(seconds, 3),
        "notes": notes,
        "contradictions": contrary,
        "warnings": far,
        "twins": [
            {
                "file": name + SUFFIX[options.format],
                "picture": f"{name}.png",
                "seed": seeds[k],
                "heart_rate": rate,
                "heart_rate_asked": asked,
                "validity": one.validity[k],
            }
            for k, (name, rate) in enumerate(zip(names, measured, strict=True))
        ],
    }
    if ranks:
        sidecar["candidates"] = [
            {
                "seed": seed,
                "file": sidecar["twins"][k]["file"] if k < len(names) else None,
                "merit": round(rank.merit, 4),
            }
            | {key: value for key, value in asdict(rank).items() if key != "index"}
            for k, (seed, rank) in enumerate(zip(seeds, ranks, strict=True))
        ]
    own = None if was.empty else was
    sheets = draw_maps(model, used, now, own, options.steps, sidecar["twins"]) if options.attending.pictures else {}
    text = json.dumps(sidecar, indent=2)
    output.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".ecgtwin-", dir=output))
    try:
        whose = fingerprint(used)
        for name, twin, rate, seed in zip(names, twins, measured, seeds, strict=False):
            fine = model.at_rate(twin, options.rate, seed_of(seed, whose))
            fine.write(part / (name + SUFFIX[options.format]), format=options.format)
            plot(twin, part / f"{name}.png", reference=used, layout="stacked", title=title(wanted, rate))
        for name, (found, statement) in sheets.items():
            found.plot(statement, part / name)
        (part / "twins.json").write_text(text + "\n")
        if options.html:
            facts = {"model": model.weights_hash, **sidecar["versions"], **sidecar["options"]}
            (part / "twins.html").write_text(page(one, title=reference.name, facts=facts), encoding="utf-8")
            (part / "explanation.json").write_text(one.json() + "\n", encoding="utf-8")
        if options.measure:
            write_table(part / "changes.csv", [Side(1, reference.name, one)], options.measure)
        for old in (p for p in output.iterdir() if overwrite and OURS.fullmatch(p.name)):
            old.unlink()
        for path in sorted(part.iterdir()):
            os.replace(path, output / path.name)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    for word, lines in (("note", notes), ("contradiction", contrary), ("warning", far)):
        for line in lines:
            say(f"{word}: {line}")
    if as_json:
        print(text)
        return sidecar
    for twin in sidecar["twins"]:
        beats = "not measurable" if twin["heart_rate"] is None else f"{twin['heart_rate']:.0f}/min"
        beats += "" if asked is None else f" ({asked:.0f}/min asked for)"
        say(f"{output / twin['file']}  {twin['picture']}  seed {twin['seed']}  heart rate {beats}")
    if ranks:
        say(f"the best {len(names)} of {len(ranks)} candidates; all are listed in {output / 'twins.json'}")
        say("\n".join(f"  {k}. seed {seed}: {one}" for k, (seed, one) in enumerate(zip(seeds, ranks, strict=True), 1)))
    if options.measure:
        say(shown(one, options.measure))
        say(f"{output / 'changes.csv'}  the same as a table")
    if options.html:
        say(f"{output / 'twins.html'}  what changed, and how sure that is")
    say(f"{seconds:.1f} s. {NOTICE}")
    return sidecar
