"""What the simulator expects of a person in a new state, as the draft of a twin."""

from copy import copy
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import uniform_filter1d

from ecgtwin import Condition, ECGTwin
from ecgtwin.ecg.beats import FINE, lay, take
from ecgtwin.ecg.leads import INDEPENDENT
from ecgtwin.ecg.simulate import STATES, Person, simulate
from ecgtwin.twin.expected import Expected, expected_in, person_in, reshaping, state_of

RATE = 102.4
PLAIN = Condition("sinus rhythm|normal ECG", sex="female", age=60, heart_rate=70)
LEFT, PACED = "complete left bundle branch block", "paced rhythm"


def seen(person, state):
    return simulate(Person.draw(person), state, 70, seed=2).resample(RATE).select(INDEPENDENT)


@pytest.fixture(scope="module")
def reference():
    return seen(5, "sinus rhythm")


@pytest.fixture(scope="module")
def model():
    return ECGTwin.from_pretrained(device="cpu")


def width(beat):
    """ms in which a median beat's slope is above a tenth of its largest."""
    (shape,) = (beat.shapes[beat.main],)
    slope = np.sqrt((np.gradient(shape, axis=-1) ** 2).sum(0))
    fast = np.flatnonzero(slope > 0.15 * slope.max())
    return 1000 * (fast[-1] - fast[0]) / 512


def test_states_that_reshape_beats_are_asked_for_by_the_vocabularys_statements(model):
    assert {LEFT, PACED, "left ventricular hypertrophy", "long QT interval"} <= set(reshaping())
    assert not {"sinus rhythm", "atrial fibrillation", "sinus bradycardia"} & set(reshaping())
    assert set(reshaping()) <= set(model.statements)


def test_only_what_is_new_changes_the_beat():
    assert state_of((), (LEFT, "sinus rhythm")) is None
    assert state_of(("atrial fibrillation",), ("atrial fibrillation",)) is None
    both = state_of((LEFT,), (LEFT, "atrial fibrillation"))
    assert both.rhythm == "fibrillation" and both.changes
    right = "complete right bundle branch block"
    assert state_of((LEFT, right), ()) == state_of((LEFT,), ()) != state_of((right,), ())  # they exclude each other
    anterior, lateral = ("anterior myocardial infarction", "lateral myocardial infarction")
    scarred = ("anterolateral myocardial infarction", "sinus rhythm")
    assert state_of((anterior,), (), ("inferior myocardial infarction",)) == state_of((anterior,), ())
    assert state_of((anterior,), (), scarred) is state_of((anterior, lateral), (), scarred) is None  # its beats show it
    assert state_of((LEFT,), (), ("incomplete left bundle branch block", "sinus rhythm")) is None
    assert state_of((LEFT, anterior), (), scarred) == state_of((LEFT,), ())
    assert state_of((LEFT, "left ventricular hypertrophy"), ()).changes != state_of((LEFT,), ()).changes


def test_a_block_is_expected_wide_in_this_person(reference):
    signal = reference.signal
    there = expected_in(signal, RATE, PLAIN, (LEFT,), (LEFT, "sinus rhythm"))
    assert isinstance(there, Expected)
    person = person_in(signal, RATE, PLAIN)
    assert there.person.explained == person.explained > 0.8
    beat, own = there.at(70), Expected(person, state_of((LEFT,), ()), RATE).at(70)
    assert np.array_equal(beat.shapes[0], own.shapes[0])
    other = expected_in(seen(6, "sinus rhythm").signal, RATE, PLAIN, (LEFT,), (LEFT,))
    assert not np.allclose(other.at(70).shapes[0], beat.shapes[0], atol=0.05)
    assert there.at(10) is None  # no such rate can be constructed


def test_a_long_pr_is_a_first_degree_block_by_another_name():
    assert state_of(("prolonged PR interval",), ()) == state_of(("first degree AV block",), ())


def test_slow_hearts_and_flat_p_waves_are_fitted_all_the_same(reference):
    slow = uniform_filter1d(reference.signal, 5, axis=1)  # QRS drawn out by 40 ms
    assert person_in(slow, RATE, PLAIN) is None
    told = "non-specific intraventricular conduction disturbance"
    assert person_in(slow, RATE, Condition(told), patient=True).parts.qrs_ms > 122
    assert person_in(slow, RATE, Condition(told)) is None
    assert person_in(slow, RATE, Condition(f"{LEFT}|{told}"), patient=True) is None  # a block's beat is not one's own
    assert person_in(slow, RATE, PLAIN, patient=True) is None  # it may be a block that nobody told
    fibrillating = seen(5, "atrial fibrillation").signal
    assert person_in(fibrillating, RATE, PLAIN) is None
    assert not person_in(fibrillating, RATE, PLAIN, patient=True).atria


def test_samples_differ_in_what_no_recording_tells_near_the_middle(reference):
    there = expected_in(reference.signal, RATE, PLAIN, (LEFT,), (LEFT, "sinus rhythm"))
    assert np.array_equal(there.at(70, 3).shapes[0], there.at(70, 3).shapes[0])
    drawn = np.stack([there.at(70, seed).shapes[0][:, :400] for seed in range(6)])
    middle = replace(there.person, person=replace(there.person.person, spread=0.0))
    middle = Expected(middle, there.state, RATE).at(70).shapes[0][:, :400]
    far = replace(there.person, person=replace(there.person.person, spread=1.0))
    far = [replace(far, person=replace(far.person, seed=seed)) for seed in range(6)]
    far = np.stack([Expected(one, there.state, RATE).at(70).shapes[0][:, :400] for one in far])
    near, wide = np.abs(drawn - middle).mean(), np.abs(far - middle).mean()
    assert 0.005 < near < 0.6 * wide  # mV


def test_a_run_begins_partway_at_an_ecg_of_the_expected_beats(model, reference):
    asked = Condition(f"sinus rhythm|{LEFT}", sex="female", age=60, heart_rate=70)

    def at(depth):
        sampling = model.config.sampling.model_copy(update={"expected_depth": depth})
        other = copy(model)
        other.config = model.config.model_copy(update={"sampling": sampling})
        requests = other.requests(reference, asked, [0, 1], reference_condition=PLAIN)
        return requests, other.sample(requests).cpu().numpy(), other.sample(requests, fast=True).cpu().numpy()

    (whole, from_noise, _), (partly, near, fast) = at(1.0), at(0.5)
    assert whole[0].start is None and partly[0].start.shape == (8, model.config.signal.samples)
    assert not np.array_equal(partly[0].start, partly[1].start)
    start = np.stack([r.start for r in partly])
    laid = np.stack([lay(r.heartbeat, r.beats, RATE, start.shape[-1]) for r in partly])
    assert np.corrcoef(start.ravel(), laid.ravel())[0, 1] > 0.9  # the rest is noise and wander
    apart = [np.sqrt(((x - start) ** 2).mean()) for x in (near, fast, from_noise)]
    assert max(apart[:2]) < 0.8 * apart[2]


def test_paced_beats_are_known_as_such(reference):
    beat = expected_in(reference.signal, RATE, PLAIN, (PACED,), (PACED,)).at(70)
    assert beat.main == 2


def test_whose_beat_is_blocked_already_is_not_fitted():
    blocked = seen(5, LEFT).signal
    own = Condition(LEFT, sex="female", age=60)
    assert expected_in(blocked, RATE, own, (PACED,), (PACED,)) is None


def test_requests_say_whether_their_beats_are_expected_ones(model, reference):
    asked = Condition(f"sinus rhythm|{LEFT}", sex="female", age=60, heart_rate=70)
    (changed,) = model.requests(reference, asked, [0], reference_condition=PLAIN)
    (same,) = model.requests(reference, PLAIN, [0], reference_condition=PLAIN)
    (kept,) = model.requests(reference, asked, [0], reference_condition=asked)
    assert changed.expected and not same.expected and not kept.expected
    assert width(changed.heartbeat) > width(same.heartbeat) + 30
    before, after = model.change(reference, asked, 0, reference_condition=PLAIN)
    assert width(after.heartbeat) > width(before.heartbeat) + 30


def test_a_heart_that_leaves_fibrillation_gets_a_p_wave_and_keeps_its_complex():
    sinus, fibrillating = ("sinus rhythm", "normal ECG"), ("atrial fibrillation",)
    assert state_of(sinus, sinus, fibrillating) is STATES["sinus rhythm"]
    assert state_of(sinus, sinus, ("sinus bradycardia",)) is None
    assert state_of(fibrillating, fibrillating, ("sinus rhythm",)) is None
    signal = seen(6, "atrial fibrillation").signal
    own = take(signal, RATE)[1]
    there = expected_in(signal, RATE, Condition(fibrillating, "female", 60), sinus, sinus).at(70)

    def before_qrs(beat):
        shape = beat.shapes[beat.main][1]  # lead II
        r = round(beat.before * FINE)
        return np.ptp(shape[r - round(0.22 * FINE) : r - round(0.08 * FINE)])

    assert before_qrs(there) > 0.05 > before_qrs(own)
    r = [round(beat.before * FINE) for beat in (there, own)]
    qrs = [b.shapes[b.main][:, k - 25 : k + 25].ravel() for b, k in zip((there, own), r, strict=True)]
    assert np.corrcoef(*qrs)[0, 1] > 0.95
