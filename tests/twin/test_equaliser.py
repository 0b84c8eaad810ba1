"""The decoder's equaliser: exact where it can be, and on the model inside the package and real ECGs."""

import numpy as np
import pytest
import torch

from ecgtwin import ECGTwin
from ecgtwin.ecg.record import ECG
from ecgtwin.ecg.simulate import Person, simulate
from ecgtwin.metrics.features import band_power
from ecgtwin.train.strict import parse
from ecgtwin.training.equaliser import measure
from ecgtwin.twin.codec import TAPS, Codec
from ecgtwin.twin.config import ModelConfig
from ecgtwin.twin.model import build_codec

from .tiny import CONFIG

RATE = 102.4


def codec(hz=None, db=None):
    torch.manual_seed(0)
    equaliser = None if hz is None else {"hz": hz, "db": db}
    return build_codec(parse(ModelConfig, CONFIG | {"equaliser": equaliser}, "tiny")).eval()


def gain(taps, hz):
    """Of taps (leads, 1, TAPS) at frequencies, in dB."""
    turn = np.exp(-2j * np.pi * np.outer(np.arange(TAPS) - TAPS // 2, hz) / RATE)
    return 20 * np.log10(np.abs(taps[:, 0].double().numpy() @ turn))


def test_without_gain_nothing_changes():
    z = torch.randn(2, 4, 128)
    plain, flat = codec(), codec([20.0, 50.0], [[0.0, 0.0]] * 8)
    with torch.inference_mode():
        assert plain.taps is None
        assert torch.allclose(plain.decode(z), flat.decode(z), atol=1e-6)


def test_it_has_the_gains_that_it_is_given():
    rows = [[0.0, 3.0, -12.0] if k % 2 else [0.0, 0.0, 0.0] for k in range(8)]
    found = gain(codec([20.0, 35.0, 50.0], rows).taps, [5.0, 27.5, 35.0, 42.5, 50.0])
    assert np.abs(found[0]).max() < 1e-4
    np.testing.assert_allclose(found[1], [0.0, 1.5, 3.0, -4.5, -12.0], atol=0.35)


def test_leads_are_filtered_apart_and_the_weights_file_stays_the_same():
    rows = [[0.0, -30.0]] + [[0.0, 0.0]] * 7
    one, plain, z = codec([10.0, 20.0], rows), codec(), torch.randn(1, 4, 128)
    with torch.inference_mode():
        difference = (one.decode(z) - plain.decode(z)).abs().amax((0, 2))
    assert difference[0] > 1e-4 and difference[1:].max() < 1e-5
    assert one.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize(
    ("hz", "db", "said"),
    [
        ([30.0, 20.0], [[0.0, 0.0]] * 8, "rising"),
        ([20.0, 30.0], [[0.0]] * 8, "expected as many"),
        ([20.0, 30.0], [[0.0, 0.0]] * 3, "each of 8"),
        ([20.0, 30.0], [[0.0, float("nan")]] * 8, "db"),
    ],
)
def test_gains_that_make_no_sense_are_refused(hz, db, said):
    with pytest.raises(ValueError, match=said):
        codec(hz, db)


class Recordings:
    """Noise, as a store would give it."""

    rate = RATE

    def __init__(self, count):
        self.signals = np.random.default_rng(0).standard_normal((count, 8, 1024)).astype(np.float32)

    def __len__(self):
        return len(self.signals)

    def millivolts(self, rows):
        return self.signals[rows]


class Dull(Codec):
    """Gives back what it is given, 6 dB weaker above 40 Hz."""

    def __init__(self):
        super().__init__(codec().vae, 1.0, RATE)

    def encode(self, x):
        return x

    def decode(self, z):
        spectrum = torch.fft.rfft(z)
        spectrum[..., torch.linspace(0, RATE / 2, spectrum.shape[-1]) > 40] /= 2
        return torch.fft.irfft(spectrum, n=z.shape[-1])


def test_what_is_lost_is_measured():
    found = measure(Dull(), Recordings(40))
    hz, db = np.array(found.hz), np.array(found.db)
    np.testing.assert_allclose(db[:, hz > 41], 6.02, atol=0.15)
    np.testing.assert_allclose(db[:, hz < 39], 0.0, atol=0.15)


def test_an_equaliser_is_not_measured_through_another_or_on_nothing():
    with pytest.raises(ValueError, match="already"):
        measure(codec([20.0, 50.0], [[0.0, 0.0]] * 8), Recordings(4))
    with pytest.raises(ValueError, match="no recordings"):
        measure(codec(), Recordings(0))


def loss(model, ecgs):
    """dB by which reconstructions are above the ECGs, between 25, 40, 46 and 51 Hz; means over leads and ECGs."""
    x = model.signals(ecgs)
    with torch.inference_mode():
        y = model.parts.vae.decode(model.parts.vae.encode(x))
    bands = [
        band_power(s.cpu().numpy(), RATE, 1e-6, (25.0, 40.0, 46.0, 51.0)).reshape(len(x), 8, 3).mean((0, 1))
        for s in (y, x)
    ]
    return 10 * (bands[0] - bands[1])


def test_the_shipped_decoder_has_the_spectrum_of_real_ecgs(ptbxl):
    found = loss(ECGTwin.from_pretrained(device="cpu"), [ECG.read(p) for p in sorted(ptbxl.rglob("*_lr.hea"))[::120]])
    assert np.abs(found[:2]).max() < 1.0, found


def test_the_shipped_decoder_puts_nothing_above_the_anti_alias_filter():
    ecgs = [simulate(Person.draw(k), "sinus rhythm", 70.0, seed=k) for k in range(4)]
    model = ECGTwin.from_pretrained(device="cpu")
    x = model.signals(ecgs)
    with torch.inference_mode():
        y = model.parts.vae.decode(model.parts.vae.encode(x)).numpy()
    spectrum = np.abs(np.fft.rfft(y * np.hanning(1024))) ** 2
    hz = np.fft.rfftfreq(1024, 1 / RATE)
    assert spectrum[..., hz > 47.5].mean() < 1e-3 * spectrum[..., (hz > 25) & (hz < 40)].mean()
