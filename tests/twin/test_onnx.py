"""Exported networks answer as those of PyTorch do, for any number of ECGs and statements."""

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ecgtwin.cli import app
from ecgtwin.twin.condition import join
from ecgtwin.twin.onnx import example

from .tiny import CONFIG, model

pytest.importorskip("onnxscript")
runtime = pytest.importorskip("onnxruntime")


def test_files_answer_as_the_networks(tmp_path):
    tiny = model(CONFIG | {"denoiser": CONFIG["denoiser"] | {"draft": True}})
    folder = tiny.save_pretrained(tmp_path / "model")
    result = CliRunner().invoke(app, ["export", str(tmp_path / "onnx"), "--model", str(folder)])
    assert result.exit_code == 0, result.output
    denoiser, decoder = (
        runtime.InferenceSession(tmp_path / "onnx" / f"{name}.onnx", providers=["CPUExecutionProvider"])
        for name in ("denoiser", "decoder")
    )
    for b, m in ((1, 1), (3, 2), (5, 2)):
        x, t, c = example(tiny, b)
        c = c._replace(tokens=c.tokens[:, :m], mask=c.mask[:, :m])
        c = c._replace(keep_condition=torch.arange(b) > 0, keep_draft=torch.arange(b) != 1)
        given = {name: value.numpy() for name, value in c._asdict().items()}
        (found,) = denoiser.run(None, {"x": x.numpy(), "t": t.numpy()} | given)
        with torch.inference_mode():
            expected, signal = tiny.parts.denoiser(x, t, join([c])), tiny.parts.vae.decode(x)
        assert np.abs(found - expected.numpy()).max() < 1e-4 and expected.std() > 0.05
        assert np.abs(decoder.run(None, {"z": x.numpy()})[0] - signal.numpy()).max() < 1e-4
    result = CliRunner().invoke(app, ["export", str(tmp_path), "--format", "tflite"])
    assert result.exit_code == 2 and "expected onnx" in result.stderr
