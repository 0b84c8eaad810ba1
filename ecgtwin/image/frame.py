"""Does a model do what its frame says? Original size and crop corner, asked of generated and of real pictures alike."""

from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor

from ..diffusion.solvers import Solver
from .dataset import Pictures, as_pixels, crop
from .pipeline import ImagePipeline, Request


def frame_response(
    pipeline: ImagePipeline,
    pictures: Pictures,
    *,
    steps: int = 20,
    guidance: float = 1.0,
    seed: int = 0,
    solver: Solver | None = None,
    refine: bool = True,
    most: int = 200,
) -> dict[str, float]:
    """What moves when only the frame is changed, in generated images and, as `*_real`, in real ones.

    down, right: how many pixels the content moves when the crop corner goes from the far end to the near one.
    roughness: of half the original size over that of the whole; below 1 where small originals look blurred.
    pictures: their captions are used; of several sizes, those of the commonest alone, and `most` of them at most.
    """
    shapes = [tuple(x.shape) for x in pictures.images]
    common = Counter(shapes).most_common(1)[0][0]
    pictures = pictures.select([k for k, shape in enumerate(shapes) if shape == common][:most])
    height, width, top, left = pictures.typical()
    far = [n - own for n, own in zip(pictures.images[0].shape[1:], pictures.size_of(0), strict=True)]

    def made(size: tuple[float, float] = (height, width), corner: tuple[float, float] = (top, left)) -> Tensor:
        seen = pictures.size_of(0)
        requests = [Request(caption, seed + k, size, corner, seen) for k, caption in enumerate(pictures.captions)]
        return pipeline.sample(requests, steps=steps, guidance=guidance, solver=solver, refine=refine).cpu()

    def real(corner: tuple[int, int], shrunk: bool = False) -> Tensor:
        images = pictures.shrunk if shrunk else pictures.images
        return as_pixels(torch.stack([crop(x, corner, pictures.size_of(0)) for x in images]))

    found: dict[str, float] = {"pictures": len(pictures)}
    for axis, name in ((0, "down"), (1, "right")):
        if far[axis]:
            ends = [(0, left), (far[0], left)] if axis == 0 else [(top, 0), (top, far[1])]
            for suffix, source in (("", lambda c: made(corner=c)), ("_real", lambda c: real(tuple(map(int, c))))):
                found[name + suffix] = moved(source, ends, axis)
    if pictures.shrunk:
        centre = (int(top), int(left))
        found["roughness"] = roughness(made(size=(height // 2, width // 2))) / roughness(made())
        found["roughness_real"] = roughness(real(centre, shrunk=True)) / roughness(real(centre))
    return found


def moved(source: Callable[[tuple[float, float]], Tensor], ends: list[tuple[float, float]], axis: int) -> float:
    near, far = (centre(source(corner), axis) for corner in ends)
    return float((near - far).mean())


def centre(x: Tensor, axis: int) -> Tensor:
    """Centre of the bright mass along an axis of images (B, C, H, W) in [-1, 1], in pixels: (B,)."""
    mass = (x + 1).sum((1, 3 - axis))  # (B, H) or (B, W)
    places = torch.arange(mass.shape[1], dtype=mass.dtype)
    return (mass * places).sum(1) / mass.sum(1).clamp(min=1e-6)


def roughness(x: Tensor) -> float:
    """Mean difference of neighbouring pixels."""
    return float(x.diff(dim=-1).abs().mean() + x.diff(dim=-2).abs().mean())
