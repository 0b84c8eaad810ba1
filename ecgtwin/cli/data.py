"""`ecgtwin data`: make a store of a data set, and check one."""

import json
import sys
import time
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, help="Make a compact store of a data set of ECGs, and check it.")


class Kind(StrEnum):
    ptbxl = "ptbxl"
    mimic = "mimic-iv-ecg"
    challenge = "challenge"
    ptbdb = "ptbdb"
    wfdb = "wfdb"


OWN = {
    "frequency": (Kind.ptbxl,),
    "patients": (Kind.mimic,),
    "ptbxl": (Kind.challenge,),
    "most": (Kind.challenge, Kind.ptbdb, Kind.wfdb),
    "patient": (Kind.wfdb,),
    "units": (Kind.wfdb,),
}
"""Options that only some data sets have."""
Json = Annotated[bool, typer.Option("--json", help="print the report as JSON")]


@app.command()
def prepare(
    kind: Annotated[Kind, typer.Argument(help="which data set; wfdb: any folder of WFDB records")],
    source: Annotated[Path, typer.Argument(help="its folder, or any folder above; a part of the files is enough")],
    store: Annotated[Path, typer.Argument(help="the new store; an unfinished one is continued")],
    rate: Annotated[float, typer.Option(help="Hz")] = 102.4,
    seconds: Annotated[float, typer.Option(help="length of a window in s")] = 10.0,
    workers: Annotated[int | None, typer.Option(help="processes; all cores if left out", min=1)] = None,
    shares: Annotated[
        str,
        typer.Option(
            help="of training, validation and test patients, where the data set has no folds", metavar="A,B,C"
        ),
    ] = "0.8,0.1,0.1",
    frequency: Annotated[int | None, typer.Option(help="ptbxl: files of 100 or 500 Hz; by RATE if left out")] = None,
    patients: Annotated[
        Path | None, typer.Option(help="mimic-iv-ecg: patients.csv or .csv.gz of MIMIC-IV, for sex and age")
    ] = None,
    ptbxl: Annotated[
        Path | None, typer.Option(help="challenge: folder of PTB-XL, to keep its records in their folds")
    ] = None,
    most: Annotated[
        int | None, typer.Option(help="challenge, ptbdb, wfdb: windows of one recording; 12 if left out", min=1)
    ] = None,
    patient: Annotated[
        str | None, typer.Option(help="wfdb: regular expression that finds the patient in a record's path")
    ] = None,
    units: Annotated[str | None, typer.Option(help="wfdb: mV, uV or V, where the headers are wrong")] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="K/N", help="do the K-th of N shares; afterwards run it without")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="address of a Dask scheduler whose workers do it, or 'local'")
    ] = None,
    fresh: Annotated[bool, typer.Option(help="replace a store, or begin an unfinished one again")] = False,
    progress: Annotated[bool, typer.Option(help="show progress")] = True,
    as_json: Json = False,
) -> None:
    """Make STORE of a data set: signals of one rate and length, and an index of everything known about them.

    Runs with --shard 1/N to N/N share the work on one STORE; the same command without it then completes the store.
    """
    from .errors import refusing, say

    with refusing():
        from ..ecg.store.prepare import cores
        from ..ecg.store.prepare import prepare as make
        from ..ecg.store.turn import Turn
        from ..ecg.store.writer import summary
        from .cluster import engine

        given = {
            "frequency": frequency,
            "patients": patients,
            "ptbxl": ptbxl,
            "most": most,
            "patient": patient,
            "units": units,
        }
        given = {name: value for name, value in given.items() if value is not None}
        for name in given:
            if kind not in OWN[name]:
                raise ValueError(f"--{name} is an option of {', '.join(OWN[name])}, not of {kind}")
        begun = time.perf_counter()
        found = scan(kind, source, rate, seconds, given)
        if progress:
            lost = {
                what: n for what, n in found.problems.items() if "not here" in what or "without their signal" in what
            }
            say(
                f"{found.name}: {len(found.table)} windows to read"
                + "".join(f"; {what}: {n}" for what, n in lost.items())
            )
        turn = None if shard is None else Turn.of(shard)
        if turn is not None and scheduler is not None:
            raise ValueError("--scheduler shares the work out by itself: leave --shard out")
        options = {"rate": rate, "seconds": seconds, "shares": fractions(shares), "workers": workers}
        options |= {"fresh": fresh, "progress": progress, "turn": turn}
        with nullcontext() if scheduler is None else engine(scheduler, workers or cores()) as given_to:
            made = make(found, store, **options, engine=given_to)
        if made is None:
            say(f"share {shard} is done; when all are, the same command without --shard completes {store}")
            return
        took = time.perf_counter() - begun
        report = {"store": str(store), "seconds_taken": round(took, 2), "ecgs_per_second": round(len(made) / took, 1)}
        report |= {"workers": workers or cores()} | summary(made)
        if as_json:
            typer.echo(json.dumps(report, indent=2, ensure_ascii=False))
        else:
            typer.echo(told(report))


@app.command()
def simulate(
    store: Annotated[Path, typer.Argument(help="the new store")],
    people: Annotated[int, typer.Option(help="how many", min=1)] = 500,
    each: Annotated[int, typer.Option(help="ECGs of each, in different states", min=1)] = 4,
    healthy: Annotated[float, typer.Option(help="share of ECGs in sinus rhythm and nothing else", min=0, max=1)] = 0.3,
    combined: Annotated[float, typer.Option(help="share of the others that have a second state", min=0, max=1)] = 0.3,
    rate: Annotated[float, typer.Option(help="Hz")] = 102.4,
    seconds: Annotated[float, typer.Option(help="length in s", min=2)] = 10.0,
    seed: Annotated[int, typer.Option(help="the same seed gives the same people")] = 0,
    progress: Annotated[bool, typer.Option(help="show progress")] = True,
    as_json: Json = False,
) -> None:
    """Make STORE of simulated people, who are in several states each: for training beside real ones, and for tests."""
    from .errors import refusing

    with refusing():
        from tqdm import tqdm

        from ..ecg.datasets.source import Statements
        from ..ecg.simulate import cohort
        from ..ecg.store.collect import collect
        from ..ecg.store.writer import summary
        from ..text.statements import STATEMENTS, Vocabulary

        names = tuple(statement.name for statement in STATEMENTS)
        vocabulary = Vocabulary(names)
        drawn = cohort(people, seed, each=each, healthy=healthy, combined=combined, seconds=seconds)
        shown = tqdm(drawn, total=people * each, desc="simulating", disable=not progress)
        words = Statements(lambda line: (vocabulary.normalise(line),), names)
        made = collect(
            (one.ecg for one in shown), store, statements=words, name="simulated", rate=rate, seconds=seconds
        )
        report = {"store": str(store)} | summary(made)
        text = f"{store}: {report['ecgs']} ECGs ({report['usable']} usable) of {report['patients']} simulated people"
        typer.echo(json.dumps(report, indent=2, ensure_ascii=False) if as_json else text)


def fractions(text: str) -> tuple[float, ...]:
    """ "0.8,0.1,0.1" as numbers."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(
            f"--shares {text[:40]!r}: expected three numbers with commas between them, such as 0.8,0.1,0.1"
        ) from None


def scan(kind: Kind, source: Path, rate: float, seconds: float, given: dict[str, Any]) -> Any:
    """The data set as a source, its codes or report lines read as statements."""
    from ..ecg.datasets import challenge, mimic, ptbdb, ptbxl, wfdb_folder
    from ..ecg.datasets.source import Statements
    from ..text.phrases import from_phrase
    from ..text.statements import STATEMENTS, from_scp, from_snomed

    names = [statement.name for statement in STATEMENTS]
    lines = Statements(from_phrase, names)
    if kind == Kind.ptbxl:
        given = {"frequency": 500 if rate > 128 else None} | given
        return ptbxl.scan(source, Statements(lambda code: from_scp([code]), names), **given)
    if kind == Kind.mimic:
        return mimic.scan(source, lines, **given)
    if kind == Kind.challenge:
        return challenge.scan(source, Statements(lambda code: from_snomed([code]), names), seconds=seconds, **given)
    return (ptbdb.scan if kind == Kind.ptbdb else wfdb_folder.scan)(source, lines, seconds=seconds, **given)


def told(report: dict[str, Any]) -> str:
    """The report of a preparation as text."""
    lines = [
        f"{report['store']}: {report['ecgs']} ECGs ({report['usable']} usable) of {report['patients']} patients, "
        f"{report['samples']} samples at {report['rate']:g} Hz",
        f"{report['seconds_taken']:g} s, {report['ecgs_per_second']:g} ECGs/s with {report['workers']} workers; "
        f"digest {report['digest']}",
        "splits: "
        + ", ".join(f"{name} {n}" for name, n in report["splits"].items())
        + f"; split digest {report['split_digest']}",
        f"heart rate measured for {report['heart_rate_measured']}; without a statement: {report['without_statement']}",
    ]
    lines += [f"  flag {name}: {n}" for name, n in report["flags"].items()]
    lines += [f"  {what}: {n}" for what, n in report["problems"].items()]
    lines += [f"  unreadable {name}: {why}" for name, why in list(report["unreadable"].items())[:10]]
    if report["unmapped"]:
        lines.append(
            "  gave no statement: " + ", ".join(f"{code} ({n})" for code, n in list(report["unmapped"].items())[:10])
        )
    return "\n".join(lines)


@app.command()
def check(
    store: Annotated[Path, typer.Argument(help="a store")],
    against: Annotated[
        list[Path] | None, typer.Option(help="another store of the same training; may be repeated")
    ] = None,
    page: Annotated[
        Path | None, typer.Option("--html", help="write one HTML page with histograms and example ECGs")
    ] = None,
    verify: Annotated[bool, typer.Option(help="read every signal and compare it with its fingerprint")] = False,
    as_json: Json = False,
) -> None:
    """Report what STORE holds and whether anything leaks between its splits. Exit code 1: leaks or damaged signals."""
    from .errors import refusing, say

    with refusing():
        from ..ecg.store import Store
        from ..ecg.store.audit import audit, summary

        opened = Store.open(store)
        report = audit(opened, [Store.open(path) for path in against or []])
        if verify:
            report["damaged_rows"] = opened.verify()
        if page is not None:
            from ..atomic import write_text
            from ..ecg.store.audit_html import page as written

            write_text(page, written(opened, report))
            say(f"page in {page}")
        typer.echo(json.dumps(report, indent=2, ensure_ascii=False) if as_json else summary(report))
        if report.get("damaged_rows"):
            say(
                f"{len(report['damaged_rows'])} rows are not what was written, "
                f"first {report['damaged_rows'][0]}: prepare it again"
            )
        if report["leaks"]["found"] or report.get("damaged_rows"):
            raise typer.Exit(1)


if __name__ == "__main__":
    sys.exit(app())
