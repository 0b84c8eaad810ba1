"""`ecgtwin fill` and `ecgtwin vary`, and the same for pictures: what is missing drawn in, and
variations of what is there."""

import json
from pathlib import Path
from typing import Annotated

import typer

from .errors import refusing, say
from .options import Adapters, Device, Model, Reports, Seed, adapted, statements

Record = Annotated[Path, typer.Argument(help="an ECG in any format that `generate` reads")]
N = Annotated[int, typer.Option("-n", help="how many", min=1)]
Strength = Annotated[float, typer.Option(help="more than 0 (as it is) to 1 (drawn anew)")]
Picture = Annotated[Path, typer.Argument(help="a picture; it is scaled and cut to the model's size")]
ImageModel = Annotated[Path, typer.Argument(help="model folder, as `image train` writes it to OUTPUT/model")]
Guidance = Annotated[float, typer.Option(help="how strongly the caption acts; 1 = as learned")]


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
        made = twin.fill(ecg, unknown, condition, n=n, seed=seed, steps=steps, resample=resample)
        said = {"leads": lead or [], "spans": spans, "steps": steps, "resample": resample}
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
    from .deliver import known_reports

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


def image_fill(
    model: ImageModel,
    picture: Picture,
    caption: Annotated[str, typer.Argument(help="what the picture shows")],
    box: Annotated[str, typer.Option(help="TOP,LEFT,BOTTOM,RIGHT in pixels of the model: what is drawn anew")],
    n: N = 1,
    seed: Seed = 0,
    steps: Annotated[int, typer.Option(help="denoising steps", min=1)] = 20,
    resample: Annotated[int, typer.Option(help="times that each step is made", min=1)] = 8,
    guidance: Guidance = 1.5,
    output: Annotated[Path, typer.Option(help="folder for the pictures")] = Path("filled"),
    adapter: Adapters = None,
    device: Device = "auto",
) -> None:
    """Draw a part of PICTURE anew, N times. What lies outside the box stays."""
    with refusing():
        import torch

        pipeline = image_pipeline(model, adapter, device)
        size = pipeline.config.picture.size
        try:
            top, left, bottom, right = map(int, box.split(","))
        except ValueError:
            raise ValueError(f"--box {box}: expected TOP,LEFT,BOTTOM,RIGHT such as 0,0,4,{size}") from None
        if not (0 <= top < bottom <= size and 0 <= left < right <= size):
            raise ValueError(
                f"--box {box}: expected corners within 0 to {size}, top above bottom and left before right"
            )
        known = torch.ones(size, size, dtype=torch.bool)
        known[top:bottom, left:right] = False
        options = {"steps": steps, "resample": resample, "guidance": guidance, "seed": seed}
        pictures_written(pipeline.fill(read_picture(picture), known, caption, n, **options), output, "filled")


def image_vary(
    model: ImageModel,
    picture: Picture,
    caption: Annotated[str, typer.Argument(help="what the variations show")],
    strength: Strength = 0.5,
    n: N = 1,
    seed: Seed = 0,
    steps: Annotated[int, typer.Option(help="denoising steps of a whole run", min=1)] = 20,
    guidance: Guidance = 1.5,
    output: Annotated[Path, typer.Option(help="folder for the pictures")] = Path("varied"),
    adapter: Adapters = None,
    device: Device = "auto",
) -> None:
    """N variations of PICTURE: noise is added up to STRENGTH and taken away again under CAPTION (SDEdit)."""
    with refusing():
        pipeline = image_pipeline(model, adapter, device)
        options = {"strength": strength, "steps": steps, "guidance": guidance, "seed": seed}
        pictures_written(pipeline.vary(read_picture(picture), caption, n, **options), output, "varied")


def image_pipeline(model: Path, adapter: list[str] | None, device: str):
    from ..image.pipeline import ImagePipeline

    return adapted(ImagePipeline.from_pretrained(model, device=device), adapter)


def read_picture(path: Path):
    """ValueError for what is no picture."""
    from PIL import UnidentifiedImageError

    from ..image.dataset import read_image

    try:
        return read_image(path)
    except (UnidentifiedImageError, SyntaxError) as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from None


def pictures_written(made: list, output: Path, name: str) -> None:
    output.mkdir(parents=True, exist_ok=True)
    for k, image in enumerate(made):
        image.save(output / f"{name}_{k:03d}.png")
    say(f"{len(made)} pictures in {output}")
