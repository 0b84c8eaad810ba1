"""A student of an image model draws in one call of the network a step, at the scale that it is told."""

import pytest
import torch

from ecgtwin.diffusion.solvers import DDIM
from ecgtwin.image.distill import DistillConfig, drawn, noise_of, paths_of, stage_of
from ecgtwin.image.pipeline import ImagePipeline, Request
from ecgtwin.train.device import accelerator_of
from ecgtwin.train.loop import Training, fit

from . import tiny

SETTINGS = DistillConfig(
    teacher={"paths": 10, "held": 4, "steps": 4, "batch": 8},
    calls=(1, 2),
    train={"steps": 3, "batch": 4, "lr": 1.0e-2, "warmup": 1, "ema_decay": 0.5},
)


@pytest.fixture(
    scope="module", params=[{}, {"prediction": "edm", "data_std": 0.5}, {"learned_variance": True}], ids=str
)
def pipeline(request) -> ImagePipeline:
    found = tiny.pipeline(diffusion=request.param)
    for p in found.network.parameters():
        if not p.abs().sum():
            torch.nn.init.normal_(p, std=0.1)
    return found


def test_paths_end_where_the_pipeline_ends_and_do_not_depend_on_how_many_are_made(pipeline):
    teacher = SETTINGS.teacher
    paths = paths_of(pipeline, tiny.CAPTIONS, teacher, 8, 0)
    assert paths.states.shape[:2] == (8, 5) and len(paths.condition.values) == 8
    guidance = float(paths.scales[0])
    assert 1 <= guidance <= 3 and torch.equal(paths.scales, torch.full((8, 1), guidance))
    assert torch.equal(paths_of(pipeline, tiny.CAPTIONS, teacher, 8, 0).states, paths.states)


def test_it_starts_as_the_model_without_guidance_and_moves_with_training(pipeline):
    stage = stage_of(pipeline, tiny.CAPTIONS, SETTINGS)
    requests = [Request(tiny.CAPTIONS[k], k) for k in (0, 3)]
    plain = pipeline.sample(requests, steps=2, guidance=1.0, solver=DDIM())
    torch.testing.assert_close(drawn(pipeline, stage.network, requests, 2, 2.5), plain, atol=1e-5, rtol=0)
    training = Training(stage.network, stage.plan, blocks=stage.blocks, accelerator=accelerator_of(True))
    before = stage.validate(stage.network)
    losses = [step.figures["loss"] for step in fit(training, stage)]
    assert len(losses) == 3 and set(before) == {"held_1", "held_2"}
    stage.network.eval()
    low, high = (drawn(pipeline, stage.network, requests, 2, scale) for scale in (1.0, 3.0))
    assert (low - plain).abs().max() > 1e-4 and (low - high).abs().max() > 1e-6
    assert noise_of(pipeline, requests).shape == (2, *pipeline.latent) == (2, 1, 8, 8)


def test_calls_that_do_not_divide_the_path_are_refused():
    with pytest.raises(ValueError, match="divide"):
        DistillConfig(**SETTINGS.model_dump() | {"calls": (3,)})
