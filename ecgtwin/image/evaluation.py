"""How good are generated images? Recognised captions, Frechet and kernel distance, CLIP
score, copies of the training set.

Everything that looks at images is a callable (B, C, S, S) in [-1, 1] -> (B, D), so any network can judge.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from tqdm import tqdm

from ..diffusion.solvers import Solver
from ..metrics.frechet import frechet_distance, inception_score, kernel_distance
from .dataset import Pictures
from .frame import frame_response
from .judge import Clip, Features, classes, in_parts, train_judge
from .pipeline import GUIDANCE, ImagePipeline, Request


def generate_like(
    pipeline: ImagePipeline,
    captions: Sequence[str],
    *,
    steps: int = 20,
    guidance: float = GUIDANCE,
    seed: int = 0,
    solver: Solver | None = None,
    refine: bool = True,
    shape: tuple[int, int] | None = None,
    batch: int = 128,
    progress: bool = False,
) -> Tensor:
    """One image (N, C, H, W) for each caption, image k with seed `seed + k`."""
    requests = [Request(caption, seed + k, shape=shape) for k, caption in enumerate(captions)]
    starts = tqdm(range(0, len(requests), batch), desc="images", disable=not progress)
    made = [
        pipeline.sample(requests[i : i + batch], steps=steps, guidance=guidance, solver=solver, refine=refine)
        for i in starts
    ]
    return torch.cat(made).cpu()


def distances(features: Features, made: Tensor, held: Tensor, seen: Tensor) -> dict[str, float]:
    """FID and KID of generated against training pictures, beside the floor: held-out real ones in their place.

    The Frechet distance is biased by the number of images, so `made` must be as many as `held`.
    """
    if len(made) != len(held):
        raise ValueError(f"{len(made)} generated and {len(held)} held-out images: the floor needs equal numbers")
    a, b, real = (in_parts(features, x).numpy() for x in (made, held, seen))
    return {
        "fid": frechet_distance(a, real),
        "fid_floor": frechet_distance(b, real),
        "kid": kernel_distance(a, real),
        "kid_floor": kernel_distance(b, real),
    }


def nearest(made: Tensor, seen: Tensor) -> np.ndarray:
    """Root-mean-square distance of each image to the nearest training picture (N,): small means copied."""
    return (torch.cdist(made.flatten(1), seen.flatten(1)).min(1).values / made[0].numel() ** 0.5).numpy()


def evaluate(
    pipeline: ImagePipeline,
    pictures: Pictures,
    *,
    steps: int = 20,
    guidance: float = GUIDANCE,
    seed: int = 0,
    solver: Solver | None = None,
    refine: bool = True,
    clip: Clip | None = None,
    judge_steps: int = 600,
    progress: bool = False,
    accelerator: Accelerator | None = None,
) -> dict[str, Any]:
    """Figures of a model beside those of real pictures that it never saw.

    pictures: those it was trained on; they are divided as training did. One image is generated for each held-out
    picture's caption that the model can read. A judge is trained on the training pictures for `judge_steps`; its
    features give FID and KID, and CLIP's too where one is given. `frame` (of models trained on crops or shrunken
    originals) is `frame_response`. `nearest` is the median distance to the nearest training picture, against that of
    held-out ones. What these pictures do not allow is in `left_out` with its reason: free captions have no judge.
    accelerator: where the judge is trained, as in `train_judge`; images are made where the pipeline is. With buckets:
    these figures of each shape by itself, a judge of its own each.
    """
    how = {"steps": steps, "guidance": guidance, "seed": seed, "solver": solver, "refine": refine, "clip": clip}
    how |= {"judge_steps": judge_steps, "progress": progress, "accelerator": accelerator}
    seen, held = pictures.split(pipeline.parts.data.held)
    if not pictures.sizes:
        return measured(pipeline, seen, held, **how)
    return {
        f"{shape[0]} x {shape[1]}": measured(
            pipeline, seen.select(seen.by_shape()[shape].tolist()), held.select(rows.tolist()), **how
        )
        for shape, rows in held.by_shape().items()
    }


def measured(
    pipeline: ImagePipeline,
    seen: Pictures,
    held: Pictures,
    *,
    steps: int,
    guidance: float,
    seed: int,
    solver: Solver | None,
    refine: bool,
    clip: Clip | None,
    judge_steps: int,
    progress: bool,
    accelerator: Accelerator | None,
) -> dict[str, Any]:
    """The figures of `evaluate`, of training and held-out pictures of one shape."""
    data = pipeline.parts.data
    held, unreadable = held.readable(pipeline.text)
    left_out: dict[str, str] = {}
    if unreadable:
        left_out["held"] = f"{unreadable} held-out pictures whose captions have words that training never showed"
    judge, why = None, ""
    try:
        classes(seen)
    except ValueError as error:
        why = str(error)
    else:
        judge = train_judge(seen, steps=judge_steps, progress=progress, accelerator=accelerator)
    real, training = held.centred().pixels, seen.centred().pixels
    began = time.monotonic()
    made = generate_like(
        pipeline,
        held.captions,
        steps=steps,
        guidance=guidance,
        seed=seed,
        solver=solver,
        refine=refine,
        shape=held.size_of(0),
        progress=progress,
    )
    seconds = time.monotonic() - began
    figures: dict[str, Any] = {"images": len(made), "training": len(training)}
    if judge is None:
        left_out["recognised"] = why
    elif not set(held.captions) <= set(judge.captions):
        left_out["recognised"] = "captions that no training picture has"
    else:
        figures["recognised"] = judge.accuracy(made, held.captions)
        figures["recognised_real"] = judge.accuracy(real, held.captions)
    if judge is not None and len(made) >= 10:
        for key, images in (("inception_score", made), ("inception_score_real", real)):
            figures[key], figures[f"{key}_std"] = inception_score(in_parts(judge, images).softmax(1).numpy())
    if judge is not None:
        figures |= distances(judge.features, made, real, training)
    figures |= {
        "nearest": float(np.median(nearest(made, training))),
        "nearest_real": float(np.median(nearest(real, training))),
        "seconds_per_image": seconds / len(made),
        "steps": steps,
        "guidance": guidance,
        "seed": seed,
        "refine": refine and pipeline.refiner is not None,
    }
    if data.zoom > 1 or data.shrunk > 0:
        figures["frame"] = frame_response(
            pipeline, held, steps=steps, guidance=guidance, seed=seed, solver=solver, refine=refine
        )
    if clip is not None:
        figures["clip"] = {
            "score": clip.score(made, held.captions),
            "score_real": clip.score(real, held.captions),
            **distances(clip.features, made, real, training),
        }
    return figures | {"left_out": left_out}
