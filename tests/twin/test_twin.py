import numpy as np
import pytest
import torch

from ecgtwin.ecg.leads import INDEPENDENT, LEADS
from ecgtwin.twin.condition import Condition
from ecgtwin.twin.twin import ECGTwin

from .tiny import model, reference

AF = Condition("atrial fibrillation", "female", 63, 110)


@pytest.fixture(scope="module")
def tiny():
    return model()


@pytest.fixture(scope="module")
def patient():
    return reference()


def signals(ecgs):
    return np.stack([e.signal for e in ecgs])


def test_twins_are_twelve_leads_in_mv_and_obey_einthoven(tiny, patient):
    twins = tiny.generate(patient, AF, n=2, steps=2)
    for twin in twins:
        assert twin.leads == LEADS and twin.rate == 102.4 and twin.signal.shape == (12, 1024)
        assert np.isfinite(twin.signal).all() and twin.synthetic
        i, ii, iii, avr, avl, avf = twin.signal[:6].astype(np.float64)
        for residual in (iii - (ii - i), avr + (i + ii) / 2, avl - (i - ii / 2), avf - (ii - i / 2)):
            assert np.abs(residual).max() < 1e-4
    assert twins[0].sex == "female" and twins[0].age == 63 and twins[0].reports == ("atrial fibrillation",)


def test_a_seed_repeats_and_another_differs(tiny, patient):
    one, two = (tiny.generate(patient, AF, steps=3, seed=5)[0].signal for _ in range(2))
    assert np.array_equal(one, two)
    assert not np.allclose(one, tiny.generate(patient, AF, steps=3, seed=6)[0].signal, atol=1e-3)


def test_sample_k_is_the_same_alone_or_among_eight(tiny, patient):
    many = signals(tiny.generate(patient, AF, n=8, steps=3, seed=10))
    for k in (0, 3, 7):
        alone = tiny.generate(patient, AF, steps=3, seed=10 + k)[0].signal
        np.testing.assert_allclose(alone, many[k], atol=2e-5)


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("report", Condition("sinus rhythm", "female", 63, 110)),
        ("heart rate", Condition("atrial fibrillation", "female", 63, 60)),
        ("sex", Condition("atrial fibrillation", "male", 63, 110)),
        ("age", Condition("atrial fibrillation", "female", 23, 110)),
        ("sex unknown", Condition("atrial fibrillation", None, 63, 110)),
        ("age unknown", Condition("atrial fibrillation", "female", None, 110)),
    ],
)
def test_every_condition_acts(tiny, patient, name, changed):
    a, b = (tiny.generate(patient, c, steps=2)[0].signal for c in (AF, changed))
    assert np.abs(a - b).max() > 1e-4, name


def test_the_reference_acts(tiny, patient):
    a, b = (tiny.generate(r, AF, steps=2)[0].signal for r in (patient, reference(2)))
    assert np.abs(a - b).max() > 1e-4


def test_left_and_right_differ(tiny, patient):
    left, right = (
        tiny.generate(patient, Condition(f"complete {side} bundle branch block"), steps=2)[0].signal
        for side in ("left", "right")
    )
    assert np.abs(left - right).max() > 1e-4


def test_guidance_of_one_is_the_plain_network(tiny, patient):
    from ecgtwin.diffusion.denoiser import bind
    from ecgtwin.twin.twin import Request

    base = tiny.base(patient)[0]
    requests = [Request(base, AF, 0)]
    x, level = torch.randn(1, 4, 128), tiny.schedule.level(20)
    guided = tiny.denoiser(requests, guidance=1, base_guidance=1)(x, level).x0
    plain = bind(tiny.parts.denoiser, tiny.conditions([AF], base[None]), "v")(x, level).x0
    torch.testing.assert_close(guided, plain, atol=1e-5, rtol=1e-4)


def test_saved_and_loaded_generates_bit_equal(tiny, patient, tmp_path):
    tiny.save_pretrained(tmp_path / "model")
    again = ECGTwin.from_pretrained(tmp_path / "model", device="cpu")
    assert np.array_equal(
        tiny.generate(patient, AF, steps=2)[0].signal, again.generate(patient, AF, steps=2)[0].signal
    )
    assert again.statements == tiny.statements and len(again.parts.weights_hash) == 64
    half = ECGTwin.from_pretrained(tiny.save_pretrained(tmp_path / "half", half=True), device="cpu")
    half.save_pretrained(tmp_path / "half2")
    twice = ECGTwin.from_pretrained(tmp_path / "half2", device="cpu")
    assert np.array_equal(
        half.generate(patient, AF, steps=2)[0].signal, twice.generate(patient, AF, steps=2)[0].signal
    )


def test_a_synonym_is_the_statement_and_an_unknown_one_is_refused(tiny, patient):
    a, b = (tiny.generate(patient, Condition(r), steps=2)[0].signal for r in ("AF", "atrial fibrillation"))
    assert np.array_equal(a, b)
    with pytest.raises(ValueError, match="atrial fibrillation"):
        tiny.generate(patient, Condition("atrial fibrilation"), steps=2)


def test_the_same_condition_gives_the_reference_back(tiny, patient):
    """Inverting and regenerating under one condition ends at the auto-encoder's reconstruction."""
    expected = tiny.parts.vae.decode(tiny.parts.vae.encode(tiny.signals([patient])))[0].numpy()

    def error(condition):
        twin = tiny.counterfactual(patient, condition, was=AF, steps=20).select(INDEPENDENT)
        return np.abs(twin.signal - expected).mean() / np.abs(expected).mean()

    same, changed = error(AF), error(Condition("sinus rhythm"))
    assert same < 1e-4 and changed > 2e-4


@pytest.mark.parametrize(
    ("options", "message"), [({"n": 0}, "n 0"), ({"steps": 0}, "steps 0"), ({"n": 1, "steps": -3}, "steps -3")]
)
def test_impossible_options_are_refused(tiny, patient, options, message):
    with pytest.raises(ValueError, match=message):
        tiny.generate(patient, AF, **options)


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no model at"):
        ECGTwin.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="format None"):
        ECGTwin.from_pretrained(tmp_path)
