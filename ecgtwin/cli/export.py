"""`ecgtwin export`: the networks as files for other engines."""

from pathlib import Path
from typing import Annotated

import typer

from .errors import refusing, say
from .options import Model


def export(
    output: Annotated[Path, typer.Argument(help="folder of denoiser.onnx and decoder.onnx")],
    format: Annotated[str, typer.Option(help="onnx")] = "onnx",
    model: Model = None,
) -> None:
    """Write denoiser and decoder for engines other than PyTorch, for any number of ECGs and statements."""
    with refusing():
        if format != "onnx":
            raise ValueError(f"format {format!r}: expected onnx")
        from ..twin.onnx import export_onnx
        from ..twin.twin import ECGTwin

        for path in export_onnx(ECGTwin.from_pretrained(model, device="cpu"), output):
            say(f"{path}  {path.stat().st_size / 2**20:.1f} MiB")
