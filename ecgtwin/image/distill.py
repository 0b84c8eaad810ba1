"""A student of an image model: the guided model's images in one, two or four calls of the network in place of forty."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..diffusion import distill
from ..diffusion.denoiser import Denoiser, clamp_x0
from ..diffusion.levels import trailing
from ..diffusion.sample import sample, seeded_noise
from ..diffusion.solvers import DDIM, UniPC
from ..nets.adapters import AdapterConfig
from ..nets.student import Student
from ..train.batch import mapped, stream
from ..train.distillation import Distillation, Paths, StudentConfig, TeacherPlan
from ..train.plan import Positive
from .network import Conditions
from .pipeline import ImagePipeline, Request
from .stages import BLOCKS


class TeacherConfig(TeacherPlan):
    """How the teacher's paths are made: UniPC, each batch at a scale of its own."""

    batch: Positive = 128
    guidance: tuple[float, float] = (1.0, 3.0)
    """Between which scales are drawn."""


class DistillConfig(StudentConfig):
    teacher: TeacherConfig = TeacherConfig()


@torch.no_grad()
def paths_of(pipeline: ImagePipeline, captions: Sequence[str], config: TeacherConfig, n: int, seed: int) -> Paths:
    """n paths of captions that are drawn by chance, as often as they are there."""
    found, schedule = [], pipeline.schedule
    for first in range(0, n, config.batch):
        generator = stream(seed, first)
        size = min(config.batch, n - first)
        rows = torch.randint(len(captions), (size,), generator=generator).tolist()
        low, high = config.guidance
        guidance = low + (high - low) * float(torch.rand((), generator=generator))
        requests = [Request(captions[row], seed * n + first + k) for k, row in enumerate(rows)]
        denoise = pipeline.denoiser(requests, guidance=guidance)
        states = distill.path_of(denoise, noise_of(pipeline, requests), trailing(schedule, config.steps), UniPC(2))
        condition = mapped(pipeline.conditions(requests), Tensor.cpu)
        found.append(Paths(states.cpu(), condition, torch.full((size, 1), guidance)))
    condition = Conditions(*(torch.cat(c) for c in zip(*(p.condition for p in found), strict=True)))
    return Paths(torch.cat([p.states for p in found]), condition, torch.cat([p.scales for p in found]))


def noise_of(pipeline: ImagePipeline, requests: Sequence[Request]) -> Tensor:
    x = torch.empty(len(requests), *pipeline.latent, device=pipeline.device)
    return seeded_noise([r.seed for r in requests])(x)


def stage_of(pipeline: ImagePipeline, captions: Sequence[str], config: DistillConfig) -> Distillation:
    """The stage, with its teacher's paths made. ValueError: a model with a refiner, which is two networks."""
    if pipeline.refiner is not None:
        raise ValueError("this model has a refiner: a student is of one network; distil a model without one")
    teacher = config.teacher
    made = [
        paths_of(pipeline, captions, teacher, n, teacher.seed + k) for k, n in enumerate((teacher.paths, teacher.held))
    ]
    torch.manual_seed(config.train.seed)
    adapter = AdapterConfig(**config.adapter.model_dump())
    student = Student(pipeline.network, pipeline.network.width, 2, adapter)
    runs = distill.Runs(pipeline.objective, config.objective, last=config.last)
    inputs = {"base": student.base, "settings": config.model_dump_json()}
    return Distillation(
        student, config.train, config.calls, runs, *made, blocks=BLOCKS, config=config.model_dump(), inputs=inputs
    )


def denoiser(
    pipeline: ImagePipeline, student: Student, requests: Sequence[Request], calls: int, guidance: float
) -> Denoiser:
    """As `ImagePipeline.denoiser`, by the student in runs of so many calls: one call of the network a step."""
    scales = torch.full((len(requests), 1), guidance, device=pipeline.device)
    prepared = student.prepare(pipeline.conditions(requests), student.told(scales, calls))
    found = pipeline.objective.bind(student.network, prepared)
    codec = pipeline.config.codec
    return clamp_x0(found, -1.0, 1.0) if codec.kind == "pixels" and codec.clamp else found


@torch.no_grad()
def drawn(
    pipeline: ImagePipeline, student: Student, requests: Sequence[Request], calls: int, guidance: float
) -> Tensor:
    """Images (B, C, S, S) in [-1, 1], each from its own seed's noise."""
    denoise = denoiser(pipeline, student, requests, calls, guidance)
    z = sample(denoise, noise_of(pipeline, requests), trailing(pipeline.schedule, calls), DDIM())
    return pipeline.codec.decode(z).clamp(-1, 1)
