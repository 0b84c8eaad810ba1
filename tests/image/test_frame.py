import pytest
import torch

from ecgtwin.image.config import DataConfig
from ecgtwin.image.frame import centre, frame_response, roughness

from .tiny import pictures, pipeline


def test_centre_and_roughness():
    x = -torch.ones(1, 1, 5, 7)
    x[0, 0, 3, 1] = 1
    assert centre(x, 0).item() == pytest.approx(3) and centre(x, 1).item() == pytest.approx(1)
    assert roughness(torch.zeros(1, 1, 4, 4)) == 0
    assert roughness(torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])) == 1


class Echo:
    """Stands for a model that does exactly as told: it returns the real crop."""

    def __init__(self, found):
        self.found, self.parts = found, pipeline().parts

    def sample(self, requests, **_):
        frames = [(*(r.size or (10, 10)), *(r.crop or (1, 1))) for r in requests]
        images = self.found.shrunk if frames[0][0] == 5 else self.found.images
        crops = [x[:, int(t) : int(t) + 8, int(w) : int(w) + 8] for x, (_, _, t, w) in zip(images, frames, strict=True)]
        return torch.stack(crops).float() / 127.5 - 1


def test_a_model_that_obeys_responds_as_real_pictures_do():
    found = pictures(20, data=DataConfig(zoom=1.25, shrunk=0.5))
    figures = frame_response(Echo(found), found)
    for name in ("down", "right", "roughness"):
        assert figures[name] == pytest.approx(figures[f"{name}_real"])
    assert figures["roughness"] < 0.8
    ramp = [torch.arange(10).expand(1, 10, 10).mul(20).to(torch.uint8)] * 2
    rising = type(found)(tuple(ramp), (), found.originals[:2], found.captions[:2], (8, 8))
    assert "roughness" not in frame_response(Echo(rising), rising)
