"""A decoder that is trained alone: latents and everything trained on them stay as they are."""

import numpy as np
import pytest
import torch

from ecgtwin.ecg.store.recordings import Recordings
from ecgtwin.train.device import accelerator_of
from ecgtwin.train.strict import parse
from ecgtwin.training.config import Config
from ecgtwin.training.recipe import train
from ecgtwin.training.vae import VAEStage, spectral_error
from ecgtwin.training.weights import load_vae

from .. import tiny_store


def stage(recordings, start=None, **more):
    settings = parse(Config, tiny_store.tree(vae={"steps": 2} | more), "tiny")
    return VAEStage(settings, recordings, accelerator_of(cpu=True), start)


def test_the_encoder_and_its_latents_stay_and_the_decoder_learns(simulated_store, tmp_path):
    recordings = Recordings.of([simulated_store])
    recordings = recordings.where(np.arange(60))
    train(stage(recordings), tmp_path / "a", accelerator_of(cpu=True))
    began = tmp_path / "a" / "weights.safetensors"
    with pytest.raises(ValueError, match="freeze_encoder.*--start"):
        stage(recordings, freeze_encoder=True)
    figures = train(
        stage(recordings, began, freeze_encoder=True, spectral=0.2), tmp_path / "b", accelerator_of(cpu=True)
    )
    assert np.isfinite(figures["correlation"])
    (before, key), (after, kept) = (load_vae(tmp_path / x / "weights.safetensors") for x in ("a", "b"))
    assert key == kept
    for name, tensor in before.state_dict().items():
        assert torch.equal(tensor, after.state_dict()[name]) == (not name.startswith("vae.decoder")), name


def test_the_spectral_error_sees_what_a_low_pass_leaves_out():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 8, 1024, generator=generator)
    spectrum = torch.fft.rfft(x)
    spectrum[..., 300:] = 0
    y = torch.fft.irfft(spectrum)
    shifted = x + (x - y).square().mean().sqrt()  # as far away, with the same fast detail
    assert spectral_error(x, x).abs().max() == 0
    assert (spectral_error(x, y) > 2 * spectral_error(x, shifted)).all()
