"""Denoiser and decoder as ONNX files, for engines other than PyTorch.

Shapes: B batch · M statements · Z latent channels · T latent samples · L samples · E base width · K kinds of beats.
"""

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..atomic import write_file
from .condition import Condition, Conditions
from .network import TwinNetwork
from .request import Request
from .twin import ECGTwin

OPSET = 18


class Asked(nn.Module):
    """A denoiser that takes its conditions as separate tensors, those of `Conditions`."""

    def __init__(self, network: TwinNetwork):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, t: Tensor, *conditions: Tensor) -> Tensor:
        return self.network(x, t, Conditions(*conditions))


class Decoded(nn.Module):
    """z (B, Z, T) -> mV (B, 8, L)."""

    def __init__(self, codec: nn.Module):
        super().__init__()
        self.codec = codec

    def forward(self, z: Tensor) -> Tensor:
        return self.codec.decode(z)


def example(twin: ECGTwin, b: int = 3) -> tuple[Tensor, Tensor, Conditions]:
    """Latents, timesteps and conditions (of two statements each) of the shapes and types that the denoiser takes."""
    statements = twin.statements[:2]
    requests = [Request(None, Condition(statements, heart_rate=60.0 + k), k) for k in range(b)]
    c = twin.conditions([r.condition for r in requests], torch.zeros(b, twin.config.base.base))
    if twin.config.denoiser.draft:
        c = twin.with_beats(c, [r._replace(beats=twin.planned(r.condition, r.seed)) for r in requests])
    shape = (b, twin.config.vae.latent, twin.config.signal.samples // twin.parts.vae.vae.factor)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return noise, torch.linspace(1.0, twin.schedule.length - 1.0, b), c


def export_onnx(twin: ECGTwin, folder: Path) -> list[Path]:
    """Write `denoiser.onnx` and `decoder.onnx` into a folder. B and M may be anything when they are run.

    denoiser: x (B, Z, T), t (B,) and the tensors of `Conditions` by their names -> prediction (B, Z, T), of which
    kind says the model's config.json (diffusion.prediction). decoder: z (B, Z, T) -> signal (B, 8, L) in mV, leads I,
    II, V1-V6. ValueError where the package onnx is not installed, or for a model that is not on the CPU.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError:
        how = 'in a clone of ecgtwin run pip install ".[onnx]"'
        raise ValueError(f"export needs the packages onnx and onnxscript: {how}") from None
    if twin.device.type != "cpu":
        raise ValueError(f"the model is on {twin.device}: load it with device='cpu' to export it")
    x, t, c = example(twin)
    given = {name: value for name, value in c._asdict().items() if value is not None}
    batch, statements = torch.export.Dim("batch", min=1, max=65_536), torch.export.Dim("statements", min=1, max=200)
    free = {name: {0: batch} | ({1: statements} if name in ("tokens", "mask") else {}) for name in given}
    denoiser = write(
        Asked(twin.parts.denoiser),
        (x, t, *given.values()),
        ({0: batch}, {0: batch}, tuple(free.values())),
        ["x", "t", *given],
        "prediction",
        folder / "denoiser.onnx",
    )
    decoder = write(Decoded(twin.parts.vae), (x,), ({0: batch},), ["z"], "signal", folder / "decoder.onnx")
    return [denoiser, decoder]


def write(network: nn.Module, given: tuple[Tensor, ...], free: Any, names: list[str], answer: str, path: Path) -> Path:
    """One network as one file, weights inside. free: which axes are."""
    with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own, of which a user can change nothing
        given = tuple(tensor.clone() for tensor in given)  # those made in inference mode cannot be traced
        with contextlib.redirect_stdout(io.StringIO()):
            program = torch.onnx.export(
                network.eval(), given, dynamo=True, dynamic_shapes=free, input_names=names, output_names=[answer],
                opset_version=OPSET, verbose=False,
            )  # fmt: skip
    return write_file(path, lambda place: program.save(str(place), external_data=False))
