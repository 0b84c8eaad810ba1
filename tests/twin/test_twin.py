import json
import re
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch

from ecgtwin.ecg.beats import Beats
from ecgtwin.ecg.leads import INDEPENDENT, LEADS
from ecgtwin.text.statements import Assumption
from ecgtwin.train.checkpoint import load_tensors, save_tensors
from ecgtwin.twin.condition import Condition
from ecgtwin.twin.contradictions import Contradiction
from ecgtwin.twin.rhythm import variation
from ecgtwin.twin.twin import ECGTwin

from .tiny import CONFIG, model, reference

AF = Condition("atrial fibrillation", "female", 63, 110)


@pytest.fixture(scope="module")
def tiny():
    return model()


@pytest.fixture(scope="module")
def drafting():
    """A model that reads beats and drafts."""
    return model(CONFIG | {"denoiser": CONFIG["denoiser"] | {"draft": True}})


@pytest.fixture(params=["plain", "drafting"])
def either(request, tiny, drafting):
    return {"plain": tiny, "drafting": drafting}[request.param]


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
    from ecgtwin.twin.request import Request

    base = tiny.base(patient)[0]
    requests = [Request(base, AF, 0)]
    x, level = torch.randn(1, 4, 128), tiny.schedule.level(20)
    guided = tiny.denoiser(requests, guidance=1, base_guidance=1)(x, level).x0
    plain = bind(tiny.parts.denoiser, tiny.conditions([AF], base[None]), "v")(x, level).x0
    torch.testing.assert_close(guided, plain, atol=1e-5, rtol=1e-4)


def test_saved_and_loaded_generates_bit_equal(tiny, patient, tmp_path):
    tiny.save_pretrained(tmp_path / "model")
    again = ECGTwin.from_pretrained(tmp_path / "model", device="cpu")
    assert np.array_equal(tiny.generate(patient, AF, steps=2)[0].signal, again.generate(patient, AF, steps=2)[0].signal)
    assert again.statements == tiny.statements and len(again.parts.weights_hash) == 64
    half = ECGTwin.from_pretrained(tiny.save_pretrained(tmp_path / "half", half=True), device="cpu")
    half.save_pretrained(tmp_path / "half2")
    twice = ECGTwin.from_pretrained(tmp_path / "half2", device="cpu")
    assert np.array_equal(half.generate(patient, AF, steps=2)[0].signal, twice.generate(patient, AF, steps=2)[0].signal)


def test_a_synonym_is_the_statement_and_an_unknown_one_is_refused(tiny, patient):
    a, b = (tiny.generate(patient, Condition(r), steps=2)[0].signal for r in ("AF", "atrial fibrillation"))
    assert np.array_equal(a, b)
    with pytest.raises(ValueError, match="atrial fibrillation"):
        tiny.generate(patient, Condition("atrial fibrilation"), steps=2)


def reconstruction(model, ecg):
    return model.parts.vae.decode(model.parts.vae.encode(model.signals([ecg])))[0].numpy()


def difference(model, ecg, *asked, **options):
    """Of a counterfactual from the reconstruction, relative to it."""
    expected = reconstruction(model, ecg)
    twin = model.counterfactual(ecg, *asked, **options).select(INDEPENDENT)
    return np.abs(twin.signal - expected).mean() / np.abs(expected).mean()


def test_the_same_condition_gives_the_reference_back(either, patient):
    """Inverting and regenerating under one condition ends at the auto-encoder's reconstruction, whatever the scales."""
    for options in (
        {},
        {"steps": 5, "guidance": 4.0, "rescale": 0.5},
        {"base_guidance": 1.0, "guidance": 1.0, "steps": 1},
    ):
        assert difference(either, patient, AF, reference_condition=AF, **options) < 1e-4
    assert difference(either, patient, Condition(), steps=3) < 1e-4  # nothing asked for
    assert difference(either, patient, Condition(), reference_condition=AF, steps=3) < 1e-4
    assert difference(either, patient, Condition("AF"), reference_condition=AF, steps=3) < 1e-4  # the rest stays
    assert difference(either, patient, Condition("sinus rhythm"), reference_condition=AF, steps=3) > 2e-4


@pytest.mark.parametrize(
    "diffusion",
    [
        {"schedule": "flow", "steps": 50, "prediction": "flow"},
        {"schedule": "sigmoid", "steps": 50, "zero_terminal": True, "prediction": "v"},
        {"schedule": "scaled_linear", "steps": 50, "start": 0.001, "end": 0.02, "prediction": "x0"},
    ],
    ids=lambda d: d["schedule"],
)
def test_every_schedule_generates_and_gives_the_reference_back(diffusion, patient):
    """Also from pure noise (alpha = 0), where a way up from the reference would forget it."""
    other = model(CONFIG | {"diffusion": diffusion})
    assert np.isfinite(other.generate(patient, AF, steps=3)[0].signal).all()
    assert difference(other, patient, AF, reference_condition=AF, steps=4) < 1e-3
    assert difference(other, patient, Condition("sinus rhythm"), reference_condition=AF, steps=4) > 1e-3


def test_strength_goes_from_the_reconstruction_to_the_whole_change(tiny, patient):
    ask = Condition("complete left bundle branch block"), {"reference_condition": AF, "steps": 4}
    nothing, half, whole = (difference(tiny, patient, ask[0], strength=s, **ask[1]) for s in (0, 0.5, 1.0))
    assert nothing < 1e-4 < half < whole


def test_a_counterfactual_calls_no_scale_that_was_not_asked_for(tiny, patient, monkeypatch):
    asked = []
    plain = tiny.denoiser
    monkeypatch.setattr(tiny, "denoiser", lambda r, **scales: asked.append(scales) or plain(r, **scales))
    tiny.counterfactual(patient, AF, steps=2, guidance=1.0, base_guidance=1.0)
    wanted = {"guidance": 1.0, "base_guidance": 1.0, "rescale": 0.0}
    assert [{k: v for k, v in scales.items() if k != "visited"} for scales in asked] == [wanted] * 2


def test_a_counterfactual_keeps_the_beats_unless_another_rhythm_is_asked_for(drafting, patient):
    own = drafting.taken(drafting.signals([patient])[0])[0]
    was = Condition("sinus rhythm", heart_rate=own.heart_rate)

    def beats(condition, was=was, **options):
        before, after = drafting.change(patient, condition, 0, reference_condition=was, **options)
        np.testing.assert_allclose(before.beats.times, own.times)
        return after.beats

    for kept in (
        was,
        Condition("complete left bundle branch block"),
        Condition("sinus rhythm"),
        Condition(sex="male"),
        Condition(),
    ):
        np.testing.assert_array_equal(beats(kept).times, own.times)
        np.testing.assert_array_equal(beats(kept, None).times, own.times)
    assert abs(beats(Condition(heart_rate=120)).heart_rate - 120) < 1
    assert variation(beats(Condition("atrial fibrillation"))) > 0.1
    assert variation(beats(Condition("atrial fibrillation"), None)) > 0.1
    given = Beats(np.arange(0.3, 10, 0.7), np.zeros(14))
    assert beats(Condition("sinus rhythm"), beats=given) is given


@pytest.mark.parametrize(
    ("within", "kept"), [(0.0, [True, False, False]), (0.05, [True, True, False]), (0.3, [True] * 3)]
)
def test_how_near_a_heart_rate_keeps_the_beats_is_the_models_setting(patient, within, kept):
    settings = {"denoiser": CONFIG["denoiser"] | {"draft": True}, "sampling": {"keeps_beats": within}}
    tiny, was = model(CONFIG | settings), Condition("sinus rhythm", heart_rate=65)
    own = tiny.taken(tiny.signals([patient])[0], was)[0].heart_rate
    found = []
    for factor in (1.0, 1.03, 1.2):
        before, after = tiny.change(patient, Condition(heart_rate=factor * own), 0, reference_condition=was)
        found.append(after.beats is before.beats)
    assert found == kept


def test_beats_are_refused_where_the_model_plans_none(tiny, patient):
    with pytest.raises(ValueError, match="decides itself"):
        tiny.generate(patient, AF, beats=patient, steps=1)
    with pytest.raises(TypeError, match="Beats"):
        tiny.generate(patient, AF, beats=[0.5, 1.5], steps=1)


def test_people_share_neither_noise_nor_beats_but_conditions_of_one_person_do(either, patient):
    other = reference(2)

    def asked(ecg, condition, *seeds):
        return either.requests(ecg, condition, seeds)

    one = asked(patient, AF, 0, 1)
    assert one[0].seed != one[1].seed != asked(other, AF, 1)[0].seed
    again = asked(
        replace(patient, name="somebody", patient="else"), Condition("atrial fibrillation", "male", 20, 60), 1
    )[0]
    assert again.seed == one[1].seed
    if one[0].beats is not None:
        strangers = asked(other, AF, 0)[0]
        assert (
            len(one[0].beats) != len(strangers.beats) or np.abs(one[0].beats.times - strangers.beats.times).max() > 0.05
        )
        np.testing.assert_array_equal(asked(patient, AF, 0)[0].beats.times, one[0].beats.times)


def test_sex_and_age_of_the_reference_are_kept(tiny, patient):
    known = replace(patient, sex="female", age=71.0)
    twin = tiny.generate(known, Condition("AF"), steps=1)[0]
    assert (twin.sex, twin.age) == ("female", 71.0)
    twin = tiny.generate(
        known, Condition("AF", sex="male"), reference_condition=Condition("sinus rhythm", age=70), steps=1
    )[0]
    assert (twin.sex, twin.age) == ("male", 70.0)


@pytest.mark.parametrize("wrong", ["AF", Path("p.hea"), np.zeros((12, 5000)), pandas.DataFrame({"I": [0.0]}), None, 5])
def test_wrong_types_are_told_what_to_do(tiny, patient, wrong):
    for call in (tiny.generate, tiny.counterfactual):
        with pytest.raises(TypeError, match="ECG|file"):
            call(wrong, AF)
        with pytest.raises(TypeError, match=r"condition.*Condition\("):
            call(patient, wrong)
    with pytest.raises(TypeError, match="ECG|file"):
        tiny.base(wrong)
    if wrong is not None:
        with pytest.raises(TypeError, match=r"condition.*Condition\("):
            tiny.generate(patient, AF, reference_condition=wrong)
        with pytest.raises(TypeError, match=r"condition.*Condition\("):
            tiny.base(patient, wrong)


def test_a_condition_without_a_rhythm_is_told(tiny, patient):
    with pytest.warns(Assumption, match="no rhythm is asked for beside complete left bundle branch block"):
        tiny.generate(patient, Condition("complete left bundle branch block"), steps=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for named in ("sinus rhythm|complete left bundle branch block", "atrial fibrillation", None):
            tiny.generate(patient, Condition(named, heart_rate=70), steps=1)


def test_contradictions_are_told(tiny, patient):
    with pytest.warns(Contradiction, match="one rhythm at a time"):
        tiny.generate(patient, Condition("sinus rhythm|atrial fibrillation"), steps=1)
    with pytest.warns(Contradiction, match="20/min"):
        tiny.counterfactual(patient, Condition("AF", heart_rate=20), steps=1)


def test_a_model_is_one_line(tiny):
    assert re.fullmatch(r"<ECGTwin 0\.\d million weights, 4 statements, 10 s at 102\.4 Hz, on cpu>", repr(tiny))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n 0"),
        ({"n": 1.5}, "n 1.5"),
        ({"steps": 0}, "steps 0"),
        ({"n": 1, "steps": -3}, "steps -3"),
        ({"guidance": float("nan")}, "guidance nan"),
        ({"base_guidance": float("inf")}, "base_guidance inf"),
        ({"rescale": float("nan")}, "rescale nan"),
        ({"seed": 2**64}, "seed 184"),
        ({"seed": 2**64 - 1, "n": 2}, "seed 184"),
        ({"seed": -1}, "seed -1"),
        ({"seed": 0.5}, "seed 0.5"),
    ],
)
def test_impossible_options_are_refused(tiny, patient, options, message):
    with pytest.raises(ValueError, match=message):
        tiny.generate(patient, AF, **options)
    if "n" not in options:
        with pytest.raises(ValueError, match=message):
            tiny.counterfactual(patient, AF, **options)


def test_the_largest_seed_and_the_ends_of_strength(tiny, patient):
    assert np.isfinite(tiny.generate(patient, AF, seed=2**64 - 1, steps=1)[0].signal).all()
    for strength in (-0.1, 1.1, float("nan"), None):
        with pytest.raises(ValueError, match="strength"):
            tiny.counterfactual(patient, AF, strength=strength)


def test_nothing_is_refused(tiny):
    for call in (tiny.base, tiny.sample, tiny.signals):
        with pytest.raises(ValueError, match="no re"):
            call([])


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no model at"):
        ECGTwin.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="format None"):
        ECGTwin.from_pretrained(tmp_path)


def test_a_model_folder_of_the_earlier_format_still_loads(tiny, patient, tmp_path):
    """Format 1 called the auto-encoder `codec` and the denoiser's validation `twin`, and had the
    tuned values in the code."""
    tiny.save_pretrained(tmp_path)
    tensors, _ = load_tensors(tmp_path / "weights.safetensors")
    assert {name.split(".")[0] for name in tensors} == {"vae", "base", "denoiser"}
    earlier = {f"codec.{k.removeprefix('vae.')}" if k.startswith("vae.") else k: v for k, v in tensors.items()}
    save_tensors(tmp_path / "weights.safetensors", earlier)
    tree = json.loads((tmp_path / "config.json").read_text())
    tree |= {"format": 1, "facts": {"validation": {"twin": {"held": 0.4}}}}
    del tree["model"]["sampling"], tree["model"]["condition"]
    for name in ("zero_terminal", "min_snr"):
        del tree["model"]["diffusion"][name]
    tree["model"]["diffusion"] |= {"start": 0.00085, "end": 0.012}  # written beside a cosine, which has no betas
    (tmp_path / "config.json").write_text(json.dumps(tree))
    again = ECGTwin.from_pretrained(tmp_path, device="cpu")
    assert again.parts.facts["validation"] == {"denoiser": {"held": 0.4}}
    assert (again.config.sampling.guidance, again.config.sampling.base_guidance, again.config.sampling.steps) == (
        2.5,
        1.5,
        20,
    )
    assert np.array_equal(again.generate(patient, AF, steps=2)[0].signal, tiny.generate(patient, AF, steps=2)[0].signal)


def test_what_a_model_was_tuned_with_is_what_it_uses(tiny, patient, tmp_path):
    tiny.save_pretrained(tmp_path)
    tree = json.loads((tmp_path / "config.json").read_text())
    tree["model"]["sampling"] = {"steps": 2, "guidance": 1.0, "base_guidance": 0.5}
    tree["model"]["condition"]["heart_rate"] = {"mean": 100.0, "std": 10.0}
    (tmp_path / "config.json").write_text(json.dumps(tree))
    tuned = ECGTwin.from_pretrained(tmp_path, device="cpu")
    assert tuned.conditions([AF]).tokens[0, 0, 0] == pytest.approx((AF.heart_rate - 100) / 10)
    given = tuned.generate(patient, AF, steps=2, guidance=1.0, base_guidance=0.5)[0].signal
    assert np.array_equal(tuned.generate(patient, AF)[0].signal, given)
    assert not np.allclose(tuned.generate(patient, AF, guidance=3.0)[0].signal, given, atol=1e-4)
