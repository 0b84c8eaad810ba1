import json

import numpy as np
import pytest
import torch

from ecgtwin.diffusion.sample import seeded_noise
from ecgtwin.diffusion.solvers import DDIM, PNDM, DpmPP, Heun
from ecgtwin.image.model import build, build_text
from ecgtwin.image.pipeline import ImagePipeline, Request, handover

from .tiny import CAPTIONS, DIT, UNET, VAE, model_config, pipeline, write_clip

SEVEN, TWO = CAPTIONS[7], CAPTIONS[2]
REFINER = {"share": 0.5, "denoiser": DIT}
KINDS = {
    "unet": {},
    "dit": {"denoiser": DIT},
    "latent": {"denoiser": DIT | {"patch": 1}, "codec": VAE},
    "labels": {"text": {"kind": "labels"}},
    "refined": {"refiner": REFINER},
    "flow": {"diffusion": {"schedule": "flow", "prediction": "flow"}},
    "terminal": {"diffusion": {"schedule": "sigmoid", "zero_terminal": True}},
}


def sampled(p, *requests, **more):
    return p.sample(requests, steps=more.pop("steps", 3), **more)


@pytest.mark.parametrize("kind", KINDS)
def test_save_load_generate_is_bit_equal(kind, tmp_path):
    p = pipeline(**KINDS[kind])
    p.save_pretrained(tmp_path / "model")
    q = ImagePipeline.from_pretrained(tmp_path / "model")
    requests = [Request(SEVEN, 3), Request(TWO, 4)]
    a, b = sampled(p, *requests), sampled(q, *requests)
    assert a.shape == (2, 1, 8, 8) and torch.equal(a, b) and a.abs().max() <= 1
    assert q.parts.config == p.parts.config and q.parts.frame == p.parts.frame and q.parts.facts == p.parts.facts
    assert sorted(f.name for f in (tmp_path / "model").iterdir()) == ["config.json", "text", "weights.safetensors"]


@pytest.mark.parametrize("denoiser", [UNET, DIT])
def test_an_untrained_network_answers_zero(denoiser):
    settings = model_config(denoiser)
    parts = build(settings, build_text(settings, CAPTIONS), (8.0, 8.0, 0.0, 0.0))
    p = ImagePipeline(parts)
    c = p.conditions([Request(SEVEN, 0)])
    assert not p.network(torch.randn(1, 1, 8, 8), torch.tensor([500.0]), c).any()


@pytest.mark.parametrize("kind", KINDS)
def test_every_condition_moves_the_image(kind):
    p = pipeline(**KINDS[kind])
    plain = sampled(p, Request(SEVEN, 0), guidance=1.0)
    for other in (
        Request(TWO, 0),
        Request(SEVEN, 1),
        Request(SEVEN, 0, size=(5, 10)),
        Request(SEVEN, 0, size=(10, 5)),
        Request(SEVEN, 0, crop=(0, 1)),
        Request(SEVEN, 0, crop=(1, 0)),
    ):
        assert not torch.allclose(sampled(p, other, guidance=1.0), plain, atol=1e-4), other
    assert torch.equal(sampled(p, Request(SEVEN, 0, size=(10, 10), crop=(1, 1)), guidance=1.0), plain)
    assert not torch.allclose(sampled(p, Request(SEVEN, 0), guidance=3.0), plain, atol=1e-4)


def test_a_sample_is_its_own_in_any_batch():
    p = pipeline()
    many = sampled(p, *(Request(CAPTIONS[k], k) for k in range(5)), solver=DpmPP(2, eta=1.0))
    alone = sampled(p, Request(CAPTIONS[3], 3), solver=DpmPP(2, eta=1.0))
    torch.testing.assert_close(many[3:4], alone, atol=1e-5, rtol=1e-4)
    # The noise, unlike what matrix products make of it, is the same to the last bit.
    like = torch.empty(5, 1, 8, 8)
    assert torch.equal(seeded_noise(range(5))(like)[3:4], seeded_noise([3])(like[:1]))


def test_prepared_conditions_equal_plain_ones():
    p = pipeline()
    c = p.conditions([Request(SEVEN, 0), Request(TWO, 0)])
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([100.0, 100.0])
    torch.testing.assert_close(p.network(x, t, c), p.network(x, t, p.network.prepare(c)))


def test_without_a_caption_the_caption_does_not_matter():
    p = pipeline()
    a, b = sampled(p, Request(SEVEN, 0), guidance=0.0), sampled(p, Request(TWO, 0), guidance=0.0)
    assert torch.equal(a, b)


def test_the_order_of_words_matters():
    p = pipeline(captions=("seven over two",))
    a, b = (sampled(p, Request(c, 0), guidance=1.0) for c in ("seven over two", "two over seven"))
    assert not torch.allclose(a, b, atol=1e-4)


def test_the_refiner_takes_over_at_its_level():
    p = pipeline(refiner=REFINER)
    calls = []
    for name in ("network", "refiner"):
        module, forward = getattr(p, name), getattr(p, name).forward
        module.forward = lambda x, t, c, name=name, forward=forward: (
            calls.append((name, t[0].item())) or forward(x, t, c)
        )
    sampled(p, Request(SEVEN, 0), steps=10, guidance=1.0)
    border = handover(p.schedule, 0.5)
    assert len(calls) == 10 and {name for name, _ in calls} == {"network", "refiner"}
    assert all((name == "refiner") == (t <= border) for name, t in calls)
    calls.clear()
    sampled(p, Request(SEVEN, 0), refine=False, guidance=1.0)
    assert {name for name, _ in calls} == {"network"}


def test_generate_orders_and_seeds():
    p = pipeline()
    images = p.generate([SEVEN, TWO], 2, steps=2, seed=5, solver=DDIM())
    assert [im.size for im in images] == [(8, 8)] * 4 and images[0].mode == "L"
    whole = [np.array(im) for im in images]
    alone = np.array(p.generate(TWO, steps=2, seed=6, solver=DDIM())[0])
    assert np.abs(whole[3].astype(int) - alone).max() <= 1
    in_parts = p.generate([SEVEN, TWO], 2, steps=2, seed=5, solver=DDIM(), batch=1)
    assert all(np.abs(a.astype(int) - np.array(b)).max() <= 1 for a, b in zip(whole, in_parts, strict=True))


@pytest.mark.parametrize("solver", [DDIM(), DDIM(eta=1.0), Heun(), DpmPP(1)])
def test_any_solver(solver):
    assert sampled(pipeline(), Request(SEVEN, 0), solver=solver).isfinite().all()


def test_bad_requests_are_refused():
    p = pipeline()
    with pytest.raises(ValueError, match="seven"):
        p.generate("a handwritten sevn")
    with pytest.raises(ValueError, match="1 or more"):
        p.generate(SEVEN, 0)
    with pytest.raises(ValueError, match="steps"):
        p.generate(SEVEN, steps=0)


NAN = float("nan")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"guidance": NAN}, "guidance nan"),
        ({"guidance": float("inf")}, "guidance inf"),
        ({"size": (NAN, 8)}, "size"),
        ({"size": (0, 8)}, "size"),
        ({"crop": (0, float("inf"))}, "crop"),
        ({"crop": (-1, 0)}, "crop"),
        ({"seed": 2**64}, "seed"),
        ({"seed": -1}, "seed"),
        ({"batch": 0}, "batch 0"),
        ({"captions": []}, "no captions"),
    ],
)
def test_what_would_draw_nothing_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        pipeline().generate(options.pop("captions", SEVEN), steps=2, **options)
    with pytest.raises(ValueError, match="at least one sample"):
        pipeline().sample([])


def test_heun_draws_what_other_samplers_draw():
    """It drew noise where its steps went by sigma/alpha, which is 20,000 at the first level of the cosine schedule."""
    p = pipeline()
    requests = [Request(c, 0) for c in CAPTIONS]
    exact = sampled(p, *requests, steps=200, solver=DpmPP(2))
    for solver in (Heun(), Heun("edm"), PNDM()):
        assert (sampled(p, *requests, steps=20, solver=solver) - exact).square().mean().sqrt() < 0.05 * exact.std()


def test_a_folder_that_is_no_model(tmp_path):
    with pytest.raises(FileNotFoundError, match="no image model"):
        ImagePipeline.from_pretrained(tmp_path)
    folder = pipeline().save_pretrained(tmp_path / "model")
    tree = json.loads((folder / "config.json").read_text())
    for key, value, words in (("format", 99, "format"), ("model", {**tree["model"], "x": 1}, "unknown key")):
        (folder / "config.json").write_text(json.dumps({**tree, key: value}))
        with pytest.raises(ValueError, match=words):
            ImagePipeline.from_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({**tree, "model": model_config(DIT).model_dump()}))
    with pytest.raises(ValueError, match="does not fit"):
        ImagePipeline.from_pretrained(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match="not JSON"):
        ImagePipeline.from_pretrained(folder)


def test_pure_noise_cannot_be_learned_from_eps():
    with pytest.raises(ValueError, match="predict v or x0"):
        pipeline(diffusion={"zero_terminal": True, "prediction": "eps"})


def test_a_size_that_the_network_cannot_take_is_refused():
    settings = model_config(DIT, picture={"size": 9, "channels": 1})
    with pytest.raises(ValueError, match="multiple of 2"):
        build(settings, build_text(settings, CAPTIONS), (8.0, 8.0, 0.0, 0.0))


def test_clip_conditions_and_travels_with_the_model(tmp_path):
    pytest.importorskip("transformers")
    clip = write_clip(tmp_path / "clip")
    p = pipeline(
        text={"kind": "clip", "path": str(clip), "tokens": 12, "layer": -2}, picture={"size": 8, "channels": 3}
    )
    a, b = (sampled(p, Request(c, 0), guidance=1.0) for c in ("a cat", "a dog"))
    assert a.shape == (1, 3, 8, 8) and not torch.allclose(a, b, atol=1e-4)
    p.save_pretrained(tmp_path / "model")
    clip.rename(tmp_path / "elsewhere")
    assert torch.equal(sampled(ImagePipeline.from_pretrained(tmp_path / "model"), Request("a cat", 0), guidance=1.0), a)


def test_two_text_models_stand_side_by_side(tmp_path):
    first, second = write_clip(tmp_path / "first"), write_clip(tmp_path / "second")
    one = {"kind": "clip", "path": str(first), "tokens": 12}
    other = {"kind": "clip", "path": str(second), "tokens": 20, "layer": -2}
    p = pipeline(text={"kind": "pair", "first": one, "second": other})
    alone = [pipeline(text=kind).text.encode([SEVEN]) for kind in (one, other)]
    both = p.text.encode([SEVEN])
    assert both.values.shape == (1, 20, 32) and p.text.width == 32
    assert torch.equal(both.mask[:, :12], alone[0].mask | alone[1].mask[:, :12])
    torch.testing.assert_close(both.values[:, :12, :16], alone[0].values * alone[0].mask[..., None])
    torch.testing.assert_close(both.values[..., 16:], alone[1].values * alone[1].mask[..., None])
    assert not both.values[:, 12:, :16].any()
    p.save_pretrained(tmp_path / "model")
    q = ImagePipeline.from_pretrained(tmp_path / "model")
    requests = [Request(SEVEN, 3), Request(TWO, 3)]
    a, b = sampled(p, *requests), sampled(q, *requests)
    assert torch.equal(a, b) and not torch.equal(a[0], a[1])
