"""`ecgtwin follow` and `ecgtwin image follow`: structure in, state from text. `ecgtwin image upsample`: more pixels."""

from pathlib import Path
from typing import Annotated

import typer

from .errors import refusing, say
from .fill import N
from .fill import written as ecgs_written
from .image_fill import written as pictures_written
from .options import Adapters, Device, Overwrite, Reports, Seed, adapted, statements
from .options import Model as TwinModel
from .options import Steps as TwinSteps
from .pictures import Folder, Guidance, Model, Picture, Steps, kept, pipeline_of, read_picture, refuse_used

Control = Annotated[Path, typer.Option(help="file of the control: weights.safetensors of its training")]


def follow(
    structure: Annotated[Path, typer.Argument(help="an ECG with some of the leads I, II, V1-V6, 10 s or more")],
    control: Control,
    lead: Annotated[
        list[str] | None, typer.Option(help="only this lead of STRUCTURE is followed; may be repeated")
    ] = None,
    report: Reports = None,
    guidance: Annotated[float, typer.Option(help="how strongly the statements act; 1 = as learned")] = 1.0,
    redraw: Annotated[
        bool, typer.Option("--redraw", help="also draw the given leads anew, as for a noisy or scribbled trace")
    ] = False,
    n: N = 1,
    seed: Seed = 0,
    steps: TwinSteps = None,
    input_rate: Annotated[float | None, typer.Option(help="sampling rate in Hz, for files that do not say")] = None,
    units: Annotated[str | None, typer.Option(help="mV, uV or V, for files that do not say")] = None,
    output: Annotated[Path, typer.Option(help="folder for records, pictures and sidecar")] = Path("followed"),
    model: TwinModel = None,
    adapter: Adapters = None,
    device: Device = "auto",
) -> None:
    """N ECGs of 12 leads that follow the leads of STRUCTURE, such as lead I of a watch, in the state of --report."""
    with refusing({"rate": "--input-rate"}):
        from ..ecg.record import ECG
        from ..twin.condition import Condition
        from ..twin.twin import ECGTwin

        twin = adapted(ECGTwin.from_pretrained(model, device=device), adapter)
        twin.load_control(control)
        ecg = ECG.read(structure, rate=input_rate, units=units)
        condition, leads = Condition(twin.normalise(statements(report))), tuple(lead) if lead else None
        options = {"n": n, "seed": seed, "steps": steps, "guidance": guidance, "keep": not redraw}
        made = twin.follow(ecg, condition, leads=leads, **options)
        said = {"structure": str(structure), "leads": leads, "control": str(control), "condition": str(condition)}
        ecgs_written(made, ecg, output, "followed", said | options)


def image_follow(
    model: Model,
    structure: Picture,
    caption: Annotated[str, typer.Argument(help="what the pictures show")],
    control: Control,
    n: N = 1,
    seed: Seed = 0,
    steps: Steps = 20,
    guidance: Guidance = 1.5,
    output: Folder = Path("followed"),
    adapter: Adapters = None,
    overwrite: Overwrite = False,
    device: Device = "auto",
) -> None:
    """N pictures of CAPTION whose edges are those of the picture STRUCTURE."""
    with refusing():
        refuse_used(output, overwrite)
        pipeline = pipeline_of(model, adapter, device)
        pipeline.load_control(control)
        options = {"steps": steps, "guidance": guidance, "seed": seed}
        images = pipeline.follow(read_picture(structure), caption, n, **options)
        settings = {"control": str(control), **options}
        pictures_written(pipeline, images, output, "followed", model, structure, caption, settings)


def image_upsample(
    stage: Annotated[Path, typer.Argument(help="folder of the stage, as train_cascade_image.py writes it")],
    pictures: Annotated[list[Path], typer.Argument(help="pictures; they are scaled and cut to the coarse size")],
    seed: Seed = 0,
    steps: Annotated[int | None, typer.Option(help="denoising steps; the stage's own if left out", min=1)] = None,
    output: Folder = Path("upsampled"),
    overwrite: Overwrite = False,
    device: Device = "auto",
) -> None:
    """Each picture with more pixels, drawn by a diffusion of its own under the small one."""
    with refusing():
        from ..image.upsampling import Upsampler

        refuse_used(output, overwrite)
        made = Upsampler.from_pretrained(stage, device=device).upsample(
            [read_picture(path) for path in pictures], seed=seed, steps=steps
        )
        rows = [
            {"file": f"upsampled_{k:03d}.png", "picture": str(path), "seed": seed + k}
            for k, path in enumerate(pictures)
        ]
        kept(made, rows, output, {"stage": str(stage), "settings": {"seed": seed, "steps": steps}}, columns=len(rows))
        say(f"{len(made)} pictures in {output}")
