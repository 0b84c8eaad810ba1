"""`ecgtwin fill` and `ecgtwin vary`: what is missing of an ECG drawn in, and variations of what is there."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .errors import refusing, say
from .options import Adapters, Device, Model, Reports, Seed, adapted, statements

Record = Annotated[Path, typer.Argument(help="an ECG in any format that `generate` reads")]
N = Annotated[int, typer.Option("-n", help="how many", min=1)]
Strength = Annotated[float, typer.Option(help="more than 0 (as it is) to 1 (drawn anew)")]


class Rhythm(StrEnum):
    expected = "expected"
    drawn = "drawn"


def fill(
    record: Record,
    lead: Annotated[
        list[str] | None, typer.Option(help="a lead that is unknown, of I, II, V1-V6; may be repeated")
    ] = None,
    span: Annotated[
        list[str] | None,
        typer.Option(help="START:STOP in s that are unknown, of all leads, or START:STOP:V1,V2; may be repeated"),
    ] = None,
    after: Annotated[float | None, typer.Option(help="forecast: what comes after this many s is unknown")] = None,
    report: Reports = None,
    n: N = 1,
    seed: Seed = 0,
    steps: Annotated[int, typer.Option(help="denoising steps", min=1)] = 20,
    resample: Annotated[int, typer.Option(help="times that each step is made", min=1)] = 4,
    rhythm: Annotated[
        Rhythm, typer.Option(help="beats of unknown times: those to be expected, or, where irregular, drawn by --seed")
    ] = Rhythm.expected,
    output: Annotated[Path, typer.Option(help="folder for records, pictures and sidecar")] = Path("filled"),
    model: Model = None,
    adapter: Adapters = None,
    device: Device = "auto",
) -> None:
    """Draw what is missing of RECORD, N times: leads, stretches of time, or what comes next. Known samples stay."""
    with refusing():
        from ..ecg.record import ECG
        from ..twin.filling import Unknown
        from ..twin.twin import ECGTwin

        twin = adapted(ECGTwin.from_pretrained(model, device=device), adapter)
        seconds = twin.config.signal.samples / twin.config.signal.rate
        spans = [parsed(text) for text in span or ()]
        spans += [] if after is None else [parsed(f"{after:g}:{seconds:g}")]
        ecg, unknown = ECG.read(record), Unknown(tuple(lead or ()), tuple(spans))
        condition = condition_of(twin, ecg, statements(report))
        made = twin.fill(ecg, unknown, condition, n=n, seed=seed, steps=steps, resample=resample, rhythm=rhythm.value)
        said = {"leads": lead or [], "spans": spans, "steps": steps, "resample": resample, "rhythm": rhythm.value}
        written(made, ecg, output, "filled", {"record": str(record), "seed": seed, **said, "condition": str(condition)})


def vary(
    record: Record,
    strength: Strength = 0.5,
    report: Reports = None,
    n: N = 1,
    seed: Seed = 0,
    steps: Annotated[int, typer.Option(help="denoising steps of a whole run", min=1)] = 20,
    output: Annotated[Path, typer.Option(help="folder for records, pictures and sidecar")] = Path("varied"),
    model: Model = None,
    adapter: Adapters = None,
    device: Device = "auto",
) -> None:
    """N variations of RECORD: noise is added up to STRENGTH and taken away again (SDEdit)."""
    with refusing():
        from ..ecg.record import ECG
        from ..twin.twin import ECGTwin

        twin = adapted(ECGTwin.from_pretrained(model, device=device), adapter)
        ecg = ECG.read(record)
        condition = condition_of(twin, ecg, statements(report))
        made = twin.vary(ecg, condition, strength=strength, n=n, seed=seed, steps=steps)
        said = {"record": str(record), "seed": seed, "strength": strength, "steps": steps, "condition": str(condition)}
        written(made, ecg, output, "varied", said)


def parsed(text: str):
    """A span of an option. ValueError for what is none."""
    from ..twin.filling import Span

    start, _, rest = text.partition(":")
    stop, _, leads = rest.partition(":")
    try:
        return Span(float(start), float(stop), tuple(leads.split(",")) if leads else None)
    except ValueError:
        raise ValueError(f"--span {text}: expected START:STOP in s such as 4:6, or with leads 4:6:V1,V2") from None


def condition_of(twin, ecg, reports: tuple[str, ...]):
    """The state in which an ECG is: as given, else what the model knows of its header's statements."""
    from ..twin.condition import Condition
    from .wanted import known_reports

    return Condition(twin.normalise(reports) if reports else known_reports(twin, ecg.reports)[0])


def written(made: list, ecg, output: Path, name: str, said: dict) -> None:
    """Records, a picture of each over what was given, and a sidecar. ValueError where the folder holds some already."""
    from ..atomic import write_text
    from ..ecg.plot import plot
    from .deliver import NOTICE

    if list(output.glob(f"{name}*")) if output.is_dir() else output.exists():
        raise ValueError(f"{output} holds another run: give another folder as --output")
    output.mkdir(parents=True, exist_ok=True)
    whole = set(made[0].leads) <= set(ecg.leads)
    for k, one in enumerate(made):
        one.write(output / f"{name}_{k:03d}.hea", format="wfdb")
        plot(one, output / f"{name}_{k:03d}.png", reference=ecg if whole else None, layout="stacked", title=one.name)
        say(str(output / f"{name}_{k:03d}.hea"))
    write_text(output / f"{name}.json", json.dumps({"notice": NOTICE, **said}, indent=2) + "\n")
