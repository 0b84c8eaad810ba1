"""Many references and the branches of guidance in fewer calls: the same ECGs as one by one."""

import numpy as np
import pytest
import torch

from ecgtwin import Condition
from ecgtwin.diffusion import Level, bind, guide_two_ways
from ecgtwin.twin import drawing
from ecgtwin.twin.lean import LeanTwin
from ecgtwin.twin.request import Request

from .tiny import CONFIG, model, reference

AF, SINUS = Condition("atrial fibrillation", heart_rate=110), Condition("sinus rhythm", heart_rate=60)
DRAFT = CONFIG | {"denoiser": CONFIG["denoiser"] | {"draft": True}}
TOLERANCE_MV = 1e-5


@pytest.fixture(scope="module", params=[CONFIG, DRAFT], ids=["conditions", "drafts"])
def tiny(request):
    return model(request.param)


def one_by_one(tiny, requests, base_guidance, guidance, rescale):
    """The guided denoiser by three calls of the network."""
    c = tiny.conditions([r.condition for r in requests], torch.stack([r.base for r in requests]))
    c = tiny.with_beats(c, requests)
    none = torch.zeros_like(c.keep_base)
    nothing = c._replace(keep_condition=none, keep_base=none, keep_draft=None if c.draft is None else none)
    network = tiny.parts.denoiser
    branches = (bind(network, network.prepare(b), "v") for b in (nothing, c._replace(keep_condition=none), c))
    return guide_two_ways(*branches, base_guidance, guidance, rescale=rescale)


@pytest.mark.parametrize("scales", [(1.5, 1.5), (1.5, 2.5), (1.0, 2.0), (1.0, 1.0), (0.0, 1.0)])
def test_branches_in_one_call_answer_as_one_by_one(tiny, scales, monkeypatch):
    requests = [*tiny.requests(reference(1), AF, [0]), *tiny.requests(reference(2), SINUS, [1])]
    sizes, asked = [], LeanTwin.__call__
    monkeypatch.setattr(LeanTwin, "__call__", lambda self, x, t: sizes.append(len(x)) or asked(self, x, t))
    x, at = torch.randn(2, 4, 128, generator=torch.Generator().manual_seed(0)), Level(30.0, 0.6, 0.8)
    rescale = 0.0 if scales[1] == 0 else 0.4
    with torch.inference_mode():
        found = tiny.denoiser(requests, base_guidance=scales[0], guidance=scales[1], rescale=rescale)(x, at).x0
        expected = one_by_one(tiny, requests, *scales, rescale)(x, at).x0
    weights = (1 - scales[0], scales[0] - scales[1], scales[1])
    assert sizes == [2 * sum(w != 0 for w in weights)]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_many_references_are_drawn_as_one_by_one(tiny, monkeypatch):
    monkeypatch.setitem(drawing.FULL, "cpu", 4)  # batches end in the middle of a reference
    people, wanted, own = [reference(1), reference(2), reference(3)], [AF, SINUS, AF], [SINUS, None, SINUS]
    many = tiny.generate(people, wanted, reference_condition=own, n=3, steps=2, seed=5)
    assert [len(found) for found in many] == [3, 3, 3]
    for person, condition, was, found in zip(people, wanted, own, many, strict=True):
        for k, alone in enumerate(tiny.generate(person, condition, reference_condition=was, n=3, steps=2, seed=5)):
            assert np.abs(found[k].signal - alone.signal).max() < TOLERANCE_MV
            assert (found[k].name, found[k].reports, found[k].age) == (alone.name, alone.reports, alone.age)
    assert np.abs(many[0][0].signal - many[2][0].signal).max() > 0.01


def test_one_condition_for_all_and_what_does_not_fit(tiny):
    people = [reference(1), reference(2)]
    (a,), (b,) = tiny.generate(people, AF, steps=1)
    assert a.reports == b.reports == ("atrial fibrillation",) and a.name != b.name
    assert len(tiny.generate([reference(1)], [AF], steps=1)) == 1
    for wrong, said in (((people, [AF]), "1 conditions for 2"), (([], AF), "no requests")):
        with pytest.raises(ValueError, match=said):
            tiny.generate(*wrong, steps=1)
    with pytest.raises(TypeError, match="expected a Condition"):
        tiny.generate(people[0], [AF], steps=1)
    with pytest.raises(TypeError, match="reference"):
        tiny.generate([people[0], "patient.hea"], AF, steps=1)


def test_the_result_does_not_depend_on_the_batch(tiny):
    requests = [Request(tiny.base(reference(k))[0], AF, k) for k in range(3)]
    together = tiny.sample(requests, steps=3, guidance=2.0, base_guidance=1.5)
    for k, request in enumerate(requests):
        alone = tiny.sample([request], steps=3, guidance=2.0, base_guidance=1.5)[0]
        assert (together[k] - alone).abs().max() < TOLERANCE_MV
