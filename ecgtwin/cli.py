"""The command line. Exit code 0: done; 2: the input cannot be used, and the message says why and what to do."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from .cli_data import app as data_app
from .cli_image import app as image_app

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="What would this patient's ECG look like if their heart were in another state? "
    "Research use only, not for clinical diagnosis.",
)

app.add_typer(data_app, name="data")
app.add_typer(image_app, name="image")

Reports = Annotated[list[str] | None, typer.Option("--report", help="statement of the wanted state; may be repeated")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps")]
Seed = Annotated[int, typer.Option(help="sample k has seed SEED + k")]
Json = Annotated[bool, typer.Option("--json", help="print the report as JSON")]
Steps = Annotated[int, typer.Option(help="denoising steps")]
Model = Annotated[Path | None, typer.Option(help="model folder; the model inside the package if left out")]


@contextmanager
def refusing() -> Iterator[None]:
    """Turn what is wrong with the input into one clear message and exit code 2."""
    try:
        yield
    except (ValueError, OSError, FloatingPointError) as error:
        typer.secho(f"ecgtwin: {error}", err=True, fg="red")
        raise typer.Exit(2) from None


def say(text: str) -> None:
    typer.echo(text, err=True)


@app.command()
def generate(
    record: Annotated[Path, typer.Argument(help="WFDB record (with or without .hea), CSV or NPZ: 10 s, 12 leads")],
    report: Reports = None,
    heart_rate: Annotated[float | None, typer.Option(help="beats/min, 20-300")] = None,
    sex: Annotated[str | None, typer.Option(help="female or male; from the header if left out")] = None,
    age: Annotated[float | None, typer.Option(help="years; from the header if left out")] = None,
    reference_report: Annotated[
        list[str] | None,
        typer.Option(help="statement of the reference's own state; from the header if left out; may be repeated"),
    ] = None,
    n: Annotated[int, typer.Option("-n", help="how many twins", min=1)] = 1,
    seed: Seed = 0,
    output: Annotated[Path, typer.Option(help="folder for records, picture and sidecar")] = Path("twins"),
    steps: Steps = 20,
    guidance: Annotated[float | None, typer.Option(help="how strongly the condition acts; 1 = as learned")] = None,
    base_guidance: Annotated[float | None, typer.Option(help="how strongly the identity acts; 1 = as learned")] = None,
    rescale: Annotated[float, typer.Option(help="0-1: how much of guidance's exaggeration of amplitudes is taken back")] = 0.0,
    start: Annotated[float | None, typer.Option(help="where in a longer recording to begin, in s")] = None,
    units: Annotated[str | None, typer.Option(help="mV, uV or V, for files that do not say")] = None,
    rate: Annotated[float | None, typer.Option(help="sampling rate in Hz, for files that do not say")] = None,
    format: Annotated[str, typer.Option(help="wfdb, csv or npz")] = "wfdb",
    model: Model = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Write N ECGs of the person in RECORD under another condition."""
    with refusing():
        from .ecg.record import ECG
        from .twin import deliver

        reference = ECG.read(record, units=units, rate=rate)
        deliver.run(
            reference,
            deliver.Wish(tuple(report or ()), sex, age, heart_rate, tuple(reference_report or ()), start),
            deliver.Options(n, seed, steps, guidance, base_guidance, format, rescale),
            output,
            model=load(model, device),
            say=say,
            as_json=as_json,
        )


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="folder for records, picture and sidecar")] = Path("demo"),
    report: Reports = None,
    heart_rate: Annotated[float, typer.Option(help="beats/min, 20-300")] = 110.0,
    n: Annotated[int, typer.Option("-n", help="how many twins", min=1)] = 1,
    seed: Seed = 0,
    steps: Steps = 20,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """The same on an example that the package makes itself: a simulated person in sinus rhythm at 66 beats/min."""
    with refusing():
        from .twin import deliver

        wish = deliver.Wish(tuple(report or ("atrial fibrillation",)), None, None, heart_rate, ("sinus rhythm",), None)
        options = deliver.Options(n, seed, steps, None, None, "wfdb")
        deliver.run(deliver.example(), wish, options, output, model=load(None, device), say=say, as_json=as_json)


@app.command()
def statements(model: Model = None, as_json: Json = False) -> None:
    """List the report statements that a model knows."""
    with refusing():
        from .text.table import StatementTable
        from .twin.files import DEFAULT

        names = list(StatementTable.load((model or DEFAULT) / "statements").statements)
        typer.echo(json.dumps(names, indent=2) if as_json else "\n".join(sorted(names)))


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="model folder, or 'default'")],
    real: Annotated[Path, typer.Option(help="a store made by `ecgtwin data prepare`, or a PTB-XL folder")],
    people: Annotated[int, typer.Option(help="simulated people, whose counterfactuals are known; 0: none")] = 16,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the figures here as JSON")] = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Measure reconstruction, identity, heart rate and speed on the validation patients, and counterfactuals on simulated people."""
    with refusing():
        from .atomic import write_text
        from .twin.evaluate import evaluate as measure
        from .twin.evaluate import summary
        from .twin.files import named

        loaded = load(named(model), device)
        figures = measure(loaded, real, people=people, seed=seed, report=lambda t: say(f"… {t}"))
        if json_file is not None:
            write_text(json_file, json.dumps(figures, indent=2) + "\n")
        typer.echo(summary(figures))


def load(model: Path | None, device: str) -> Any:
    from .twin.twin import ECGTwin

    return ECGTwin.from_pretrained(model, device=device)


if __name__ == "__main__":
    sys.exit(app())
