"""`ecgtwin generate` and `ecgtwin demo`."""

import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .attending import Attending, Kept, Like, Pictures, Weight, weights_of
from .errors import refusing, say
from .options import HOW, Adapters, Device, Json, Learned, Model, Overwrite, Reports, Seed, Steps, adapted, statements
from .walk import Eta, Guide, Interval, Levels, LevelsOption, Shift, SolverOption, Walk, classifier_of, interval_of

if TYPE_CHECKING:
    from ..twin.twin import ECGTwin

ASKED, SURE, FILE, MANY = (
    "What is asked for", "How sure it is", "What the file does not say", "Many people, many machines"
)  # fmt: skip
"""Panels of the help."""
EPILOG = """Examples

ecgtwin generate patient.xml --report "atrial fibrillation" --heart-rate 120 -n 8 --html

ecgtwin generate records --report "complete right bundle branch block" -n 8 --measure qrs,qrs_axis

With many people, records lie in OUTPUT with index.csv (and measurements.csv by --measure), the other options are what \
a table's rows leave empty, and the same command again goes on where it was stopped. Runs with --shard 1/N to N/N, or \
the processes of `accelerate launch`, share a table and an OUTPUT; the same command without them then completes \
index.csv. Exit code 3: some were refused, and index.csv says why."""
FASTEST = 10_000.0
"""Hz that an ECG may be written at."""
SOME_REFUSED = 3
"""Exit code where rows of a table were refused and the others answered."""


def generate(
    record: Annotated[
        Path | None,
        typer.Argument(
            help="10 s or more, 12 leads: WFDB, CSV, NPZ, DICOM, MUSE, Sierra, aECG, SCP, EDF, ISHNE; a folder: "
            "each record in it"
        ),
    ] = None,
    report: Reports = None,
    heart_rate: Annotated[float | None, typer.Option(help="beats/min, 20-300", rich_help_panel=ASKED)] = None,
    sex: Annotated[
        str | None, typer.Option(help="female or male; from the header if left out", rich_help_panel=ASKED)
    ] = None,
    age: Annotated[float | None, typer.Option(help="years; from the header if left out", rich_help_panel=ASKED)] = None,
    reference_report: Annotated[
        list[str] | None,
        typer.Option(
            help="statement of the reference's own state; from the header if left out; may be repeated",
            rich_help_panel=ASKED,
        ),
    ] = None,
    n: Annotated[int, typer.Option("-n", help="how many twins", min=1, rich_help_panel=ASKED)] = 1,
    seed: Seed = 0,
    output: Annotated[Path, typer.Option(help="folder for records, pictures and sidecar")] = Path("twins"),
    keep: Annotated[
        bool,
        typer.Option(
            "--keep",
            help="change the recording itself: rhythm, baseline and all that was not asked for stay",
            rich_help_panel=ASKED,
        ),
    ] = False,
    strength: Annotated[
        float,
        typer.Option(
            help="with --keep: 0 (nothing changes) to 1 (the whole change); 0.5 is not half-way in durations",
            rich_help_panel=ASKED,
        ),
    ] = 1.0,
    html: Annotated[
        bool,
        typer.Option(
            "--html", help="write a page on what changed and how sure that is (twins.html)", rich_help_panel=SURE
        ),
    ] = False,
    measure: Annotated[
        str | None,
        typer.Option(
            help="table of these before and after, with their spread over the N twins: all, or some of heart_rate, "
            "regularity, p_present, pr, qrs, qt, qtc_fridericia, qrs_axis, t_axis, sokolow, with commas",
            metavar="NAMES",
            rich_help_panel=SURE,
        ),
    ] = None,
    candidates: Annotated[
        int | None,
        typer.Option(help="draw so many, keep the N that fit best; all are listed", min=1, rich_help_panel=SURE),
    ] = None,
    steps: Steps = None,
    fast: Annotated[
        bool,
        typer.Option("--fast", help="in few steps: 4, by a solver fitted to the model", rich_help_panel=HOW),
    ] = False,
    no_noise: Annotated[
        bool,
        typer.Option("--no-noise", help="without the noise of the reference's recording", rich_help_panel=HOW),
    ] = False,
    guidance: Annotated[
        float | None, typer.Option(help="how strongly the condition acts; 1 = as learned", rich_help_panel=HOW)
    ] = None,
    base_guidance: Annotated[
        float | None, typer.Option(help="how strongly the identity acts; 1 = as learned", rich_help_panel=HOW)
    ] = None,
    rescale: Annotated[
        float,
        typer.Option(help="0-1: how much of guidance's exaggeration of amplitudes is taken back", rich_help_panel=HOW),
    ] = 0.0,
    variety: Annotated[
        float | None,
        typer.Option(
            help="0-1: how much beats differ between samples; 0 = the most typical beat, 1 = as learned",
            min=0,
            max=1,
            rich_help_panel=HOW,
        ),
    ] = None,
    negative_report: Annotated[
        list[str] | None,
        typer.Option(help="statement of a state to go away from; may be repeated", rich_help_panel=HOW),
    ] = None,
    weight: Weight = None,
    like: Like = None,
    kept: Kept = 0.8,
    attention: Pictures = False,
    solver: SolverOption = None,
    eta: Eta = None,
    levels: LevelsOption = Levels.trailing,
    shift: Shift = 1.0,
    interval: Interval = None,
    classifier: Guide = None,
    start: Annotated[
        float | None, typer.Option(help="where in a longer recording to begin, in s", rich_help_panel=FILE)
    ] = None,
    units: Annotated[
        str | None, typer.Option(help="mV, uV or V, for files that do not say", rich_help_panel=FILE)
    ] = None,
    input_rate: Annotated[
        float | None,
        typer.Option(
            help="sampling rate in Hz, for files that do not say (beats/min are --heart-rate)", rich_help_panel=FILE
        ),
    ] = None,
    leads: Annotated[
        str | None,
        typer.Option(
            help="names of the columns in their order, with commas, for files that do not say", rich_help_panel=FILE
        ),
    ] = None,
    gain: Annotated[
        float | None,
        typer.Option(help="steps of the converter per mV, for tables of its bare counts", rich_help_panel=FILE),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            help="Hz of the ECGs that are written; above the model's own, such as 500, a cascade draws the rest"
        ),
    ] = None,
    format: Annotated[str, typer.Option(help="wfdb, csv, npz or dicom")] = "wfdb",
    encoder: Annotated[
        Path | None,
        typer.Option(help="folder of the model's text encoder, to look free text up by meaning", rich_help_panel=ASKED),
    ] = None,
    accept_nearest: Annotated[
        bool,
        typer.Option(
            "--accept-nearest",
            help="take the statement nearest to a free text: look at it first",
            rich_help_panel=ASKED,
        ),
    ] = False,
    table: Annotated[
        Path | None,
        typer.Option(
            help="CSV of many requests in the place of RECORD: columns record, report, heart_rate, sex, age, "
            "reference_report, n, seed"
            " ('|' between statements; only record is required)",
            rich_help_panel=MANY,
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="K/N",
            help="with --table: answer the K-th of N shares of its rows; afterwards run it without",
            rich_help_panel=MANY,
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="with --table: address of a Dask scheduler whose workers answer the rows, or 'local'",
            rich_help_panel=MANY,
        ),
    ] = None,
    model: Model = None,
    adapter: Adapters = None,
    learned: Learned = None,
    device: Device = "auto",
    precision: Annotated[
        str, typer.Option(help="float32, or bfloat16 where the machine is quicker with it", rich_help_panel=HOW)
    ] = "float32",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write N ECGs of the person in RECORD under another condition, or of each person in a folder or a table."""
    with refusing({"rate": "--input-rate"}):
        from ..ecg.files import Given
        from ..ecg.record import ECG
        from ..ecg.store.prepare import cores
        from ..ecg.store.turn import Turn
        from ..twin.twin import ECGTwin
        from . import cohort, deliver, measured, people
        from .cluster import engine

        if (shard or scheduler) and table is None and not (record is not None and record.is_dir()):
            raise ValueError("--shard and --scheduler are for --table and for folders")
        if strength != 1.0 and not keep:
            raise ValueError("--strength is for --keep: it says how far the recording itself is changed")
        if (record is None) == (table is None):
            raise ValueError("give RECORD for the twins of one person, or --table for those of many (not both)")
        if rate is not None and not 0 < rate <= FASTEST:
            raise ValueError(f"--rate {rate:g}: expected Hz, more than 0 and at most {FASTEST:g}")
        names = leads.split(",") if leads else None
        wish = deliver.Wish(
            statements(report), sex, age, heart_rate, statements(reference_report), start, encoder, accept_nearest
        )
        options = deliver.Options(
            n,
            seed,
            steps,
            guidance,
            base_guidance,
            format,
            rescale,
            keep,
            strength,
            candidates,
            html,
            Walk(solver, eta, levels.value, shift, interval_of(interval), classifier_of(classifier)),
            statements(negative_report),
            measured.quantities(measure),
            Attending(weights_of(weight), statements(like), kept, attention),
            fast,
            variety,
            rate,
            not no_noise,
        )
        given, options = options, options.spreading()
        if options != given:
            say("The twins' beats vary as learned (--variety 1), so that their spread says how sure they are")
        if keep and (options.walk != Walk() or options.negative or fast or variety is not None):
            raise ValueError(
                "--fast, --variety, --solver, --levels, --shift, --interval, --classifier and --negative-report are "
                "for new ECGs: leave --keep out"
            )
        if record is not None and people.is_folder(record):
            record, table = None, record
        if record is not None:
            reference = ECG.read(record, units=units, rate=input_rate, leads=names, gain=gain)
            deliver.run(
                reference,
                wish,
                options,
                output,
                model=taught(
                    adapted(ECGTwin.from_pretrained(model, device=device, precision=precision), adapter), learned
                ),
                say=say,
                as_json=as_json,
                overwrite=overwrite,
            )
            if not (html or measure or as_json):
                say("What changed, and how sure that is: the same with -n 8 --html")
            return
        if keep or overwrite or candidates or html:
            raise ValueError(
                "a table or a folder goes without --keep, --overwrite, --candidates and --html; the same command "
                "goes on where it stopped"
            )
        if options.attending != Attending():
            raise ValueError("a table or a folder goes without --weight, --like, --kept and --attention")
        given = Given(units, input_rate, tuple(names) if names else None, gain)
        turn, device = launched(device) if shard is None else (Turn.of(shard), device)
        if scheduler is not None and turn is not None:
            raise ValueError("--scheduler shares the rows out by itself: leave --shard and accelerate out")
        if scheduler is not None and adapter:
            raise ValueError(
                "--adapter goes without --scheduler: save the adapted model, and give its folder as --model"
            )
        if scheduler is not None and learned:
            raise ValueError("--learned goes without --scheduler, whose workers read the model by themselves")
        loaded = taught(adapted(ECGTwin.from_pretrained(model, device=device, precision=precision), adapter), learned)
        with nullcontext() if scheduler is None else engine(scheduler, cores()) as workers:
            done = cohort.run(
                table, people.Asked(Path(), wish, n, seed), options, output, model=loaded, given=given, say=say,
                turn=turn, source=model, engine=workers,
            )  # fmt: skip
    cohort.tell(done, say, as_json)
    if done["refused"]:
        raise typer.Exit(SOME_REFUSED)


def taught(model: "ECGTwin", learned: list[Path] | None) -> "ECGTwin":
    """A model with learned statements."""
    for path in learned or ():
        model.load_statement(path)
    return model


def launched(device: str) -> tuple[Any, str]:
    """The share of this process among those that `accelerate launch` or `torchrun` started, and its device."""
    from ..ecg.store.turn import Turn

    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return None, device
    if device == "auto":
        import torch

        local = os.environ.get("LOCAL_RANK", "0")
        device = f"cuda:{local}" if torch.cuda.is_available() else "cpu"
    return Turn(int(os.environ.get("RANK", "0")) + 1, count), device


def demo(
    output: Annotated[Path, typer.Option(help="folder for records, pictures and sidecar")] = Path("demo"),
    report: Reports = None,
    heart_rate: Annotated[float, typer.Option(help="beats/min, 20-300")] = 110.0,
    n: Annotated[int, typer.Option("-n", help="how many twins", min=1)] = 1,
    seed: Seed = 0,
    steps: Steps = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """The same on an example that the package makes itself: a simulated person in sinus rhythm at 66 beats/min."""
    with refusing():
        from ..twin.twin import ECGTwin
        from . import deliver
        from .wanted import example

        wish = deliver.Wish(
            statements(report) or ("atrial fibrillation",), None, None, heart_rate, ("sinus rhythm",), None
        )
        options = deliver.Options(n, seed, steps, None, None, "wfdb")
        model = ECGTwin.from_pretrained(device=device)
        deliver.run(example(), wish, options, output, model=model, say=say, as_json=as_json, overwrite=overwrite)
