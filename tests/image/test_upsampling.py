"""More pixels by the stage that takes ECGs to 500 Hz: trained by its stage, kept in a folder, used on pictures."""

import torch
from PIL import Image

from ecgtwin.image.upsampling import Upsampler, UpsamplerSettings, enlarged, shrunk, stage_of
from ecgtwin.train.device import accelerator_of
from ecgtwin.train.loop import Training
from ecgtwin.train.run import Run, complete
from ecgtwin.train.strict import parse
from ecgtwin.twin import upsampling as of_ecgs

from . import tiny

TREE = {
    "cascade": {
        "network": {"width": 16, "widths": [8, 8], "heads": 2, "groups": 4},
        "picture": {"size": 16, "channels": 1},
        "steps": 2,
    },
    "train": {"steps": 3, "batch": 4, "lr": 1.0e-2, "warmup": 1, "validate_every": 3},
}


def test_small_pictures_are_means_and_enlarging_keeps_what_is_flat():
    x = torch.rand(2, 1, 16, 16)
    small = shrunk(x, 4)
    assert torch.allclose(small[0, 0, 1, 2], x[0, 0, 4:8, 8:12].mean())
    flat = torch.full((1, 1, 4, 4), 0.3)
    assert torch.allclose(enlarged(flat, 4), torch.full((1, 1, 16, 16), 0.3))


def test_the_same_stage_trains_on_pictures_and_its_folder_draws_them(tmp_path):
    settings = parse(UpsamplerSettings, TREE, "test")
    seen, held = tiny.pictures(size=16).split(0.25)
    stage = stage_of(settings, seen, held)
    training = Training(stage.network, stage.plan, blocks=stage.blocks, accelerator=accelerator_of(cpu=True))
    assert complete(Run(tmp_path / "run", False), training, stage)["held"] > 0
    made = Upsampler(settings.cascade, stage.network)
    again = Upsampler.from_pretrained(made.save_pretrained(tmp_path / "stage"), device="cpu")
    small = [Image.fromarray(x[0].numpy()) for x in tiny.pictures(size=4).images[:3]]
    pictures = again.upsample(small, seed=5)
    assert [p.size for p in pictures] == [(16, 16)] * 3
    assert pictures[1].tobytes() == made.upsample(small[1:2], seed=6)[0].tobytes()
    coarse = torch.rand(2, 1, 4, 4) * 2 - 1
    drawn = again.sample(coarse, [1, 2])
    assert drawn.abs().max() <= 1 and not torch.equal(drawn, again.sample(coarse, [3, 4]))
    assert type(again.cascade) is type(of_ecgs.cascade_of(of_ecgs.UpsamplerConfig()))  # no second sampler
