"""`ecgtwin image`: train, use and judge image models on the same diffusion core."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from .attending import Kept, Weight, weights_of
from .options import Adapters, Device, Json, Learned, Output, Overwrite, tell
from .pictures import Data, Folder, Guidance, Model, Seed, Steps, kept, pipeline_of, read_pictures, refuse_used
from .walk import (
    Eta,
    Guide,
    Interval,
    Levels,
    LevelsOption,
    Sampler,
    Shift,
    SolverOption,
    Walk,
    classifier_of,
    interval_of,
)

app = typer.Typer(no_args_is_help=True, help="Images from captions, on the same diffusion core.")

Rescale = Annotated[float, typer.Option(help="0-1: how much of guidance's exaggeration of contrast is taken back")]
Negative = Annotated[str | None, typer.Option(help="a caption to go away from")]
Threshold = Annotated[float | None, typer.Option(help="quantile of dynamic thresholding, 0.995 in Imagen; of pixels")]
Refine = Annotated[bool, typer.Option(help="hand over to the refiner, where the model has one")]


@app.command()
def train(
    output: Annotated[Path, typer.Option(help="folder for checkpoints, losses and the finished model")],
    data: Data = "digits",
    config: Annotated[
        str, typer.Option(help="unet, dit, latent or refiner (inside the package), or a YAML file")
    ] = "unet",
    set_: Annotated[list[str] | None, typer.Option("--set", help="override, section.key=value")] = None,
    resume: Annotated[
        bool, typer.Option(help="go on from the last checkpoints in OUTPUT, also with more steps")
    ] = False,
    start: Annotated[
        Path | None, typer.Option(help="model folder to begin from in place of chance (fine-tuning)")
    ] = None,
    adapter: Annotated[
        bool,
        typer.Option(
            "--adapter",
            help="train an adapter (LoRA) of the model in --start: OUTPUT/denoiser/weights.safetensors; "
            "kind, rank: train.denoiser.adapter",
        ),
    ] = False,
    cpu: Annotated[bool, typer.Option("--cpu", help="leave GPUs alone")] = False,
    as_json: Json = False,
) -> None:
    """Train every stage that CONFIG names, and write the model to OUTPUT/model."""
    from .errors import refusing, say

    with refusing():
        from ..train.device import accelerator_of

        accelerator = accelerator_of(cpu)
        from ..image.config import read_config
        from ..image.training import train as fit_all

        settings = read_config(config, set_)
        if adapter and settings.train.denoiser.adapter is None:
            settings = read_config(config, [*(set_ or []), "train.denoiser.adapter={}"])
        pictures = read_pictures(data, settings.model, settings.data)
        pipeline = fit_all(settings, pictures, output, resume=resume, start=start, accelerator=accelerator)
        if not accelerator.is_main_process:
            return
        stages = pipeline.parts.facts["stages"]
        lines = (f"{k}: " + ", ".join(f"{n} {v}" for n, v in f.items()) for k, f in stages.items())
        tell(stages, "\n".join(lines), as_json)
        say(f"model in {output / 'model'}")


def walked(pipeline: Any, walk: Walk, rescale: float, negative: str | None, threshold: float | None) -> dict[str, Any]:
    """How to go from noise to image, as `ImagePipeline.generate` takes it."""
    how = {"solver": walk.solver_on(pipeline.schedule), "levels": walk.spacing(), "interval": walk.interval}
    how["classifier"] = walk.guided_by(pipeline)
    return how | {"rescale": rescale, "negative": negative, "threshold": threshold}


@app.command()
def generate(
    model: Model,
    captions: Annotated[list[str], typer.Argument(help="what the images show; one argument for each caption")],
    n: Annotated[int, typer.Option("-n", help="how many images of each caption", min=1)] = 1,
    output: Folder = Path("images"),
    steps: Steps = 20,
    guidance: Guidance = 1.5,
    seed: Seed = 0,
    solver: SolverOption = None,
    eta: Eta = None,
    levels: LevelsOption = Levels.trailing,
    shift: Shift = 1.0,
    interval: Interval = None,
    classifier: Guide = None,
    rescale: Rescale = 0.0,
    negative: Negative = None,
    threshold: Threshold = None,
    weight: Weight = None,
    like: Annotated[
        str | None,
        typer.Option(help="a caption whose images, of the same noise, these shall resemble (prompt-to-prompt)"),
    ] = None,
    alike: Kept = 0.8,
    attention: Annotated[
        bool, typer.Option("--attention", help="also where the network looked for each word, of each caption's first")
    ] = False,
    size: Annotated[tuple[float, float] | None, typer.Option(help="height and width of the original")] = None,
    crop: Annotated[tuple[float, float] | None, typer.Option(help="top and left of the crop, in pixels")] = None,
    shape: Annotated[
        tuple[int, int] | None, typer.Option(help="height and width of the images, of a model with several")
    ] = None,
    refine: Refine = True,
    scale: Annotated[int, typer.Option(help="how large the grid draws each pixel", min=1)] = 1,
    adapter: Adapters = None,
    learned: Learned = None,
    overwrite: Overwrite = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Write N images of each caption, a grid of them all and a sidecar."""
    from .errors import refusing, say

    with refusing():
        from ..image.picture import as_images, grid

        refuse_used(output, overwrite)
        pipeline = pipeline_of(model, adapter, device)
        for path in learned or ():
            pipeline.load_word(path)
        walk = Walk(solver, eta, levels.value, shift, interval_of(interval), classifier_of(classifier))
        how = {"steps": steps, "guidance": guidance, "seed": seed}
        weights = dict(weights_of(weight))
        if (weights or like or attention) and (
            walk != Walk() or rescale or negative or threshold or size or crop or shape
        ):
            raise ValueError("--weight, --like and --attention go with --steps, --guidance, --seed and -n alone")
        if weights or like:
            edits = {"source": like, "weights": weights, "kept": alike}
            images = [image for caption in captions for image in pipeline.rewrite(caption, n=n, **edits, **how)]
        else:
            images = pipeline.generate(
                captions, n, size=size, crop=crop, shape=shape, refine=refine, **how,
                **walked(pipeline, walk, rescale, negative, threshold),
            )  # fmt: skip
        looked = [pipeline.attention(caption, **how) for caption in (captions if attention else ())]
        wanted = [(k, caption, seed + i) for k, caption in enumerate(captions) for i in range(n)]
        rows = [{"file": name_of(*one), "caption": one[1], "seed": one[2]} for one in wanted]
        settings = {
            "steps": steps,
            "guidance": guidance,
            "walk": asdict(walk),
            "rescale": rescale,
            "negative": negative,
            "threshold": threshold,
            "weights": weights,
            "like": like,
            "kept": alike,
            "shape": shape or pipeline.config.picture.shape,
            "size": size or pipeline.parts.frame[:2],
            "crop": crop or pipeline.parts.frame[2:],
            "refine": refine and pipeline.refiner is not None,
            "adapters": pipeline.adapters,
            "learned": [str(path) for path in learned or ()],
        }
        facts = {"model": str(model), "device": str(pipeline.device), "settings": settings}
        text = kept(images, rows, output, facts, columns=n, scale=scale)
        for k, found in enumerate(looked):
            row = [found.image, *as_images(2 * found.maps[:, None] / found.maps.amax() - 1)]
            grid(row, len(row), scale=scale).save(output / f"{k:02d}_attention.png")
        if as_json:
            typer.echo(text)
        say(f"{len(images)} images in {output}")


def name_of(number: int, caption: str, seed: int) -> str:
    return f"{number:02d}_{'-'.join(re.findall(r'[A-Za-z0-9]+', caption))[:48]}_{seed:03d}.png"


@app.command()
def evaluate(
    model: Model,
    data: Data = "digits",
    output: Output = None,
    as_json: Json = False,
    clip: Annotated[Path | None, typer.Option(help="folder of a CLIP model: adds its score, FID and KID")] = None,
    steps: Steps = 20,
    guidance: Guidance = 1.5,
    seed: Seed = 0,
    solver: SolverOption = None,
    eta: Eta = None,
    refine: Refine = True,
    judge_steps: Annotated[int, typer.Option(help="training steps of the classifier that judges", min=1)] = 600,
    adapter: Adapters = None,
    device: Device = "auto",
) -> None:
    """Measure a model beside held-out pictures of DATA, the set that it was trained on.

    Share of captions recognised by a classifier trained on real pictures alone, FID and KID with their real-vs-real
    floors, and how near generated images come to training pictures.
    """
    from .errors import refusing

    with refusing():
        from ..train.device import accelerator_of

        pipeline = pipeline_of(model, adapter, device)
        accelerator = accelerator_of(pipeline.device.type == "cpu")
        from ..image.evaluation import evaluate as measure
        from ..image.judge import Clip

        figures = measure(
            pipeline,
            read_pictures(data, pipeline.config, pipeline.parts.data),
            steps=steps,
            guidance=guidance,
            seed=seed,
            solver=Walk(solver, eta).solver_on(pipeline.schedule),
            refine=refine,
            clip=Clip(clip) if clip else None,
            judge_steps=judge_steps,
            progress=True,
            accelerator=accelerator,
        )
        text = "\n".join(f"{name}: {v:.4g}" if isinstance(v, float) else f"{name}: {v}" for name, v in figures.items())
        tell(
            {**figures, "solver": (solver or Sampler.dpmpp).value, "model": pipeline.parts.facts}, text, as_json, output
        )


if __name__ == "__main__":
    app()
