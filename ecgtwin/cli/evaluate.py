"""`ecgtwin evaluate`."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from .errors import refusing, say
from .options import Adapters, Device, Json, Seed, adapted


class Split(StrEnum):
    train = "train"
    validation = "validation"
    test = "test"


class Suite(StrEnum):
    parts = "parts"
    quick = "quick"
    full = "full"


def evaluate(
    what: Annotated[
        Path,
        typer.Argument(
            help="'default', a model folder, a folder of generated records, an array FILE.npy, or with "
            "--compare a report"
        ),
    ],
    real: Annotated[
        Path | None, typer.Option(help="a store made by `ecgtwin data prepare`, or a PTB-XL folder")
    ] = None,
    split: Annotated[
        Split, typer.Option(help="of the patients; in PTB-XL validation is fold 9, test fold 10")
    ] = Split.validation,
    suite: Annotated[
        Suite,
        typer.Option(
            help="parts: auto-encoder, base, speed, requested states; quick: everything on 96 ECGs, the part utility "
            "only where --parts names it; full: on all"
        ),
    ] = Suite.quick,
    output: Annotated[Path | None, typer.Option(help="write the figures here as JSON")] = None,
    as_json: Json = False,
    report: Annotated[Path | None, typer.Option(help="write a page that needs no server here (HTML)")] = None,
    compare: Annotated[
        Path | None, typer.Option(help="another report (JSON): print paired differences, this minus WHAT")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="folder for generated ECGs; what is there is not drawn again")
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            "--parts",
            help="of the suite, joined by commas: realism, agreement, identity, pairs, doses, privacy, truth, "
            "utility; all if left out",
        ),
    ] = None,
    people: Annotated[
        int, typer.Option(help="with --suite parts: simulated people, whose counterfactuals are known; 0: none", min=0)
    ] = 16,
    rate: Annotated[float | None, typer.Option(help="of an array, in Hz")] = None,
    leads: Annotated[
        str | None, typer.Option(help="of an array, such as I,II,III,aVR,aVL,aVF,V1,V2,V3,V4,V5,V6")
    ] = None,
    unit: Annotated[str | None, typer.Option(help="of an array: mV, uV or V")] = None,
    conditions: Annotated[
        Path | None, typer.Option(help="table of what each ECG of an array was asked for; FILE.csv if left out")
    ] = None,
    beside: Annotated[
        list[Path], typer.Option(help="of an array: another generator's array, as rows beside it; repeat")
    ] = [],  # noqa: B006 typer reads it
    adapter: Adapters = None,
    seed: Seed = 0,
    device: Device = "auto",
    precision: Annotated[
        str, typer.Option(help="float32, or bfloat16 where the machine is quicker with it")
    ] = "float32",
) -> None:
    """Score a model, or any generator's files, against real ECGs of patients on whom nothing was trained."""
    with refusing():
        from ..evaluation import compare as comparing
        from ..evaluation import page

        if compare is not None:
            a, b = loaded(what), loaded(compare)
            typer.echo(comparing.text(comparing.compare(a, b), comparing.wholes(a, b)))
            return
        if real is None:
            raise ValueError("--real is missing: a store made by `ecgtwin data prepare`, or a PTB-XL folder")
        if suite is Suite.parts:
            found, shown = parts(what, real, split, people, seed, device, adapter, precision)
        else:
            place = cache or (output.with_suffix(".cache") if output else None)
            found = judged(
                what,
                real,
                split.value,
                suite.value,
                place,
                seed,
                device,
                adapter,
                Array(rate, leads, unit, conditions, beside),
                only,
                precision,
            )
            shown = page.text(found)
        written(found, output, report if suite is not Suite.parts else None, page.page)
        typer.echo(json.dumps(found, indent=1) if as_json else shown)


class Array:
    """What an array does not say of itself."""

    def __init__(self, rate: float | None, leads: str | None, unit: str | None, table: Path | None, beside: list[Path]):
        self.rate, self.unit, self.table, self.beside = rate, unit, table, beside
        self.leads = None if leads is None else tuple(leads.split(","))


def judged(
    what: Path,
    real: Path,
    split: str,
    suite: str,
    cache: Path | None,
    seed: int,
    device: str,
    adapter: list[str] | None,
    array: Array,
    only: str | None = None,
    precision: str = "float32",
) -> dict[str, Any]:
    from ..evaluation import files, run
    from ..evaluation.evaluate import opened
    from ..evaluation.suite import chosen_parts
    from ..twin.model import named
    from ..twin.twin import ECGTwin

    is_array, folder = what.suffix == ".npy", what.is_dir() and not (what / "config.json").is_file()
    if is_array or folder:
        rate, samples = 102.4, 1024  # what the judges read

        def read(path: Path, table: Path | None = None) -> files.Made:
            options = {"rate": array.rate, "leads": array.leads, "unit": array.unit}
            return files.read_array(path, **options, table=table, wanted=rate, samples=samples)

        names = [path.stem for path in (what, *array.beside)]
        if len(set(names)) < len(names):
            raise ValueError(f"rows would have the same name: {', '.join(names)}; rename the files")
        with opened(real, rate, samples) as recordings:
            made = files.read_folder(what, wanted=rate, samples=samples) if folder else read(what, array.table)
            others = {path.stem: read(path) for path in array.beside}
            return run.of_files(made, recordings, split=split, seed=seed, say=progress, name=what.stem, beside=others)
    if array.beside:
        raise ValueError("--beside goes with an array or a folder of generated ECGs, not with a model")
    chosen = chosen_parts(only, suite)
    model = adapted(ECGTwin.from_pretrained(named(what), device=device, precision=precision), adapter)
    c = model.config.signal
    with opened(real, c.rate, c.samples) as recordings:
        name = "the model inside the package" if named(what) is None or str(what) == "default" else what.name
        return run.of_generator(
            model,
            recordings,
            split=split,
            size=suite,
            cache=cache,
            seed=seed,
            say=progress,
            progress=True,
            name=name,
            parts=chosen,
        )


def parts(
    what: Path, real: Path, split: Split, people: int, seed: int, device: str, adapter: list[str] | None, precision: str
) -> tuple[dict[str, Any], str]:
    from ..evaluation.evaluate import evaluate as measure
    from ..evaluation.report import summary
    from ..twin.model import named
    from ..twin.twin import ECGTwin

    found = measure(
        adapted(ECGTwin.from_pretrained(named(what), device=device, precision=precision), adapter),
        real,
        split=split.value,
        people=people,
        seed=seed,
        report=progress,
    )
    return found, summary(found)


def progress(text: str) -> None:
    say(f"… {text}")


def loaded(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8"))
    if found.get("format") != 1:
        raise ValueError(f"{path} is no report of `ecgtwin evaluate --suite quick|full --output FILE.json`")
    return found


def written(found: dict[str, Any], output: Path | None, report: Path | None, page: Any) -> None:
    from ..atomic import write_text

    if output is not None:
        write_text(output, json.dumps(found, indent=1) + "\n")
    if report is not None:
        write_text(report, page(found))
        say(f"report: {report}")
