"""A twin with adapters: several with weights, taken away bit for bit, saved as their sum, refused by another model."""

import json

import numpy as np
import pytest
import torch

from ecgtwin import Condition, ECGTwin
from ecgtwin.cli.options import adapted
from ecgtwin.nets import adapters
from ecgtwin.nets.adapters import AdapterConfig

from . import tiny

FIBRILLATION = Condition("atrial fibrillation")


def written(folder, name: str, seed: int, kind="lora"):
    """The file of an adapter of the tiny model, with random content."""
    network = tiny.model().parts.denoiser
    adapters.train_only(network, AdapterConfig(kind, 2), "new")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in adapters.parameters(network, "new"):
            p.copy_(0.3 * torch.randn(p.shape, generator=generator))
    return adapters.save(network, folder / f"{name}.safetensors", "new")


def drawn(model: ECGTwin) -> np.ndarray:
    return model.generate(tiny.reference(), FIBRILLATION, steps=2)[0].signal


def test_adapters_change_what_is_drawn_by_their_weights_and_go_without_a_trace(tmp_path):
    model = tiny.model()
    plain, own = drawn(model), model.weights_hash
    site, device = written(tmp_path, "site", 1), written(tmp_path, "device", 2, "loha")
    assert model.load_adapter(site, weight=0.5) == "site" and model.load_adapter(device, name="d") == "d"
    assert model.adapters == {"site": 0.5, "d": 1.0} and model.weights_hash != own
    both = drawn(model)
    model.remove_adapter("d")
    one = drawn(model)
    assert not np.allclose(one, plain, atol=1e-3) and not np.allclose(both, one, atol=1e-3)
    model.remove_adapter("site")
    assert np.array_equal(drawn(model), plain) and model.weights_hash == own
    model.load_adapter(site, weight=0.0)
    assert np.array_equal(drawn(model), plain)


def test_a_saved_model_has_its_adapters_in_the_weights(tmp_path):
    model = tiny.model()
    model.load_adapter(written(tmp_path, "site", 1))
    again = ECGTwin.from_pretrained(model.save_pretrained(tmp_path / "model"), device="cpu")
    assert again.adapters == {} and model.adapters == {"site": 1.0}
    assert np.allclose(drawn(again), drawn(model), atol=1e-5)
    with pytest.raises(ValueError, match="another base"):  # the sum is another base
        again.load_adapter(written(tmp_path, "site", 1))


def test_the_option_takes_files_and_weights(tmp_path):
    site = written(tmp_path, "site", 1)
    model = adapted(tiny.model(), [str(site), f"{site}=0.25"])
    assert list(model.adapters.values()) == [1.0, 0.25]
    for wrong, said in (
        (f"{site}=much", "FILE=WEIGHT"),
        (f"{site}=nan", "finite"),
        ("none.safetensors", "no adapter at"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=said):
            adapted(tiny.model(), [wrong])


def test_the_sidecar_names_them(tmp_path):
    from ecgtwin.cli import deliver

    model = adapted(tiny.model(), [f"{written(tmp_path, 'site', 1)}=0.5"])
    wish = deliver.Wish(("atrial fibrillation",), None, None, None, (), None)
    deliver.run(
        tiny.reference(),
        wish,
        deliver.Options(1, 0, 2, None, None, "npz"),
        tmp_path / "out",
        model=model,
        say=print,
        as_json=False,
    )
    said = json.loads((tmp_path / "out" / "twins.json").read_text())["model"]
    assert list(said["adapters"].values()) == [0.5] and said["weights_sha256"] == model.weights_hash
