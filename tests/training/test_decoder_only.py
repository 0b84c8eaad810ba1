"""A decoder that is trained alone: latents and everything trained on them stay as they are."""

import numpy as np
import pytest
import torch

from ecgtwin.ecg.store.recordings import Recordings
from ecgtwin.train.device import accelerator_of
from ecgtwin.train.strict import parse
from ecgtwin.training.config import Config
from ecgtwin.training.recipe import train
from ecgtwin.training.vae import AROUND, SMALL, VAEStage, spectral_error, synchronous_error
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
        stage(recordings, began, freeze_encoder=True, spectral=0.2, synchronous=2.0),
        tmp_path / "b",
        accelerator_of(cpu=True),
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


def test_the_synchronous_error_sees_what_beats_share():
    generator = torch.Generator().manual_seed(0)
    peaks = torch.full((2, 40), -1)
    peaks[0, :10], peaks[1, :4] = torch.arange(10) * 104 + 45, torch.arange(4) * 250 + 60
    noise = 0.5 * SMALL * torch.randn(2, 8, 1100, generator=generator)
    shared = torch.zeros_like(noise)
    for row, places in enumerate(peaks):
        for place in places[places >= 0].tolist():
            shared[row, :, place - 20 : place - 10] = 0.5 * SMALL
    whole = (shared**2).sum((1, 2))
    assert synchronous_error(shared, peaks).numpy() == pytest.approx(whole.numpy(), rel=1e-5)
    left = synchronous_error(noise, peaks)
    within = 8 * (AROUND[1] - AROUND[0]) * (0.5 * SMALL) ** 2  # noise of n beats: a share of 1 / n of each window's
    assert left.numpy() == pytest.approx([within, within], rel=0.15)
    assert not synchronous_error(shared, torch.full_like(peaks, -1)).any()
