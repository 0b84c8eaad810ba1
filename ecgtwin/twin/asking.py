"""What is asked of a model: whose ECG, in which state, when its beats come. Each function is a method of `ECGTwin`."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from reprlib import repr as brief
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from ..ecg.beats import Beats, Heartbeat, take
from ..ecg.record import ECG
from ..text.statements import KIND, Assumption
from .condition import Condition, expect_condition
from .contradictions import Contradiction, allows, contradictions
from .expected import expected_in, unchanged_in
from .request import Request, expect_ecg, fingerprint, paced_by, seed_of
from .rhythm import atria_stay, kind_of, plan, same_rhythm, shown

if TYPE_CHECKING:
    from .twin import ECGTwin

NORMAL = "normal ECG"
SINUS = ("sinus rhythm", "sinus bradycardia", "sinus tachycardia", "sinus arrhythmia")


def wanted(
    model: "ECGTwin", reference: ECG, condition: Condition, own: Condition | None
) -> tuple[Condition, Condition]:
    """The wanted and the reference's own condition, with sex and age from where they are
    known; own None stays unknown."""
    expect_ecg(reference)
    expect_condition(condition)
    if own is None:
        return condition.or_of(reference), Condition()
    expect_condition(own, "reference_condition")
    return condition.or_of(own, reference), own if own.empty else own.or_of(reference)


def requests(
    model: "ECGTwin",
    reference: ECG,
    condition: Condition,
    seeds: Sequence[int],
    *,
    reference_condition: Condition | None = None,
    beats: Beats | ECG | None = None,
) -> list[Request]:
    """What `generate` asks for, one request for each seed: whose base and beats, in which
    state, and when they come."""
    condition, own = model.wanted(reference, condition, reference_condition)
    reports = model.normalise(condition.reports)
    for line in contradictions(reports, condition.heart_rate):
        warnings.warn(line, Contradiction, stacklevel=3)
    if reports and not any(name == NORMAL or KIND.get(name) == "rhythm" for name in reports):
        said = f"no rhythm is asked for beside {', '.join(reports)}: name one, such as 'sinus rhythm'"
        warnings.warn(f"{said}; of ECGs without a rhythm the model has seen next to none", Assumption, stacklevel=3)
    seeds = [seed_of(seed, fingerprint(reference)) for seed in seeds]
    own = None if reference_condition is None else own
    return model.requests_of(model.signals([reference])[0], condition, seeds, own, model.given(beats))


def requests_of(
    model: "ECGTwin",
    signal: Tensor | np.ndarray,
    condition: Condition,
    seeds: Sequence[int],
    reference_condition: Condition | None = None,
    beats: Beats | None = None,
) -> list[Request]:
    """As `requests`, of a reference's signal (8, L) in mV as `signals` makes it; the seeds are
    those of the noise itself."""
    signal = torch.as_tensor(signal)
    base = model.base_of(signal[None], [reference_condition or Condition()])[0]
    return with_base(model, base, signal, condition, seeds, reference_condition, beats)


def with_base(
    model: "ECGTwin",
    base: Tensor,
    signal: Tensor,
    condition: Condition,
    seeds: Sequence[int],
    reference_condition: Condition | None,
    beats: Beats | None = None,
) -> list[Request]:
    """`requests_of`, where the base vector is known."""
    was = model.normalise(reference_condition.reports) if reference_condition is not None else ()
    wanted = model.normalise(condition.reports)
    leaves = NORMAL in wanted and bool(set(was) - {NORMAL, *SINUS})
    new = tuple(name for name in wanted if name not in was)
    recording = signal if model.config.sampling.noise_floor is not None else None
    atria = atria_stay(was, wanted)
    if not model.config.denoiser.draft:
        return [
            Request(base, condition, seed, leaves=leaves, new=new, recording=recording, atria=atria) for seed in seeds
        ]
    own, heartbeat = model.taken(signal, reference_condition)
    heartbeat = shown(heartbeat, wanted, was)
    said = replace(condition if reference_condition is None else reference_condition, reports=was)
    x, rate = signal.cpu().numpy(), model.config.signal.rate
    there = expected_in(x, rate, said, new, wanted)
    begins, same = model.config.sampling.expected_depth < 1 and not leaves, None  # what is left has to go, too
    if begins and there is None and keeps_beats(condition, reference_condition, wanted, new):
        same = unchanged_in(x, rate, said)
    found = []
    for seed in seeds:
        planned = beats if beats is not None else model.planned(condition, seed, own, reference_condition)
        changed = None if there is None else there.at(planned.heart_rate, seed)
        beat, drawn_from = changed or heartbeat, same if changed is None else there
        start = drawn_from.recording(beat, planned, x.shape[-1], seed) if begins and drawn_from is not None else None
        asked = Request(base, paced_by(condition, planned), seed, planned, beat, leaves, new)
        found.append(asked._replace(expected=changed is not None, start=start, recording=recording, atria=atria))
    return found


def keeps_beats(condition: Condition, own: Condition | None, reports: Sequence[str], new: Sequence[str]) -> bool:
    """Whether under `reports`, of which some are new, nothing but rate and regularity is asked to change."""
    if own is None or set(new) - {NORMAL, *SINUS} or kind_of(reports) != "sinus":
        return False
    return all(getattr(condition, name) in (None, getattr(own, name)) for name in ("sex", "age"))


def requests_for(
    model: "ECGTwin",
    signals: Tensor | np.ndarray,
    conditions: Sequence[Condition],
    seed: int = 0,
    reference_conditions: Sequence[Condition] | None = None,
) -> list[Request]:
    """One request for each of many references' signals (B, 8, L) in mV, with seeds `seed`, `seed + 1`, ...

    Their bases are found in full batches: they differ from those of `requests_of` in rounding (1e-6) alone.
    """
    own = [None] * len(conditions) if reference_conditions is None else list(reference_conditions)
    x, told = torch.as_tensor(signals), [c or Condition() for c in own]
    size = model.full
    bases = [model.base_of(x[k : k + size], told[k : k + size]) for k in range(0, len(x), size)]
    rows = zip(torch.cat(bases), x, conditions, own, strict=True)
    return [with_base(model, *row[:3], [seed + k], row[3])[0] for k, row in enumerate(rows)]


def given(model: "ECGTwin", beats: Beats | ECG | None) -> Beats | None:
    """The beats that a user gives."""
    if beats is None:
        return None
    if not isinstance(beats, Beats | ECG):
        raise TypeError(
            f"beats {brief(beats)}: expected Beats(times in s, kinds), or an ECG whose rhythm is taken over"
        )
    if not model.config.denoiser.draft:
        raise ValueError(
            "beats were given, but this model decides itself when they come: ask for a heart_rate, or "
            "take another model"
        )
    return beats if isinstance(beats, Beats) else model.taken(model.signals([beats])[0])[0]


def taken(model: "ECGTwin", signal: Tensor, condition: Condition | None = None) -> tuple[Beats, Heartbeat]:
    """Beats and median beats of a signal (8, L) in mV."""
    paced = condition is not None and "paced rhythm" in model.normalise(condition.reports)
    return take(signal.cpu().numpy(), model.config.signal.rate, paced=paced)


def planned(
    model: "ECGTwin", condition: Condition, seed: int, own: Beats | None = None, was: Condition | None = None
) -> Beats:
    """When the beats of a twin come; the same for the same seed."""
    c = model.config.signal
    rng = np.random.default_rng([seed, crc32(b"beats")])
    own_reports = model.normalise(was.reports) if was is not None else None
    return plan(model.normalise(condition.reports), condition.heart_rate, c.samples / c.rate, rng, own, own_reports)


def change(
    model: "ECGTwin",
    reference: ECG,
    condition: Condition,
    seed: int,
    *,
    reference_condition: Condition | None = None,
    beats: Beats | ECG | None = None,
) -> tuple[Request, Request]:
    """What `counterfactual` goes up under and comes down under: the reference's own state and the wanted one."""
    now, was = model.wanted(reference, condition, reference_condition)
    if condition.empty:
        now = was
    now = replace(now, reports=now.reports or was.reports)
    reports = model.normalise(now.reports)
    if now.heart_rate is None and allows(reports, was.heart_rate):
        now = replace(now, heart_rate=was.heart_rate)
    for line in contradictions(reports, now.heart_rate):
        warnings.warn(line, Contradiction, stacklevel=4)
    signal = model.signals([reference])
    base, beats = model.base_of(signal, [was])[0], model.given(beats)
    if not model.config.denoiser.draft and reference.heart_rate() is None:
        return Request(base, was, seed), Request(base, now, seed)
    own, heartbeat = model.taken(signal[0], was)
    if not model.config.denoiser.draft:
        return Request(base, was, seed, own), Request(
            base, now, seed, own if model.keeps_rhythm(now, was, own) else None
        )
    if beats is None and model.keeps_rhythm(now, was, own):
        beats = own
    elif beats is None:
        beats = model.planned(now, seed_of(seed, fingerprint(reference)), own, reference_condition and was)
    old = model.normalise(was.reports)
    new = tuple(name for name in reports if name not in old)
    said = replace(was, reports=old)
    there = expected_in(signal[0].cpu().numpy(), model.config.signal.rate, said, new, reports)
    then = (there and there.at(beats.heart_rate, seed)) or shown(heartbeat, reports, old)
    states = (was, own, heartbeat), (now, beats, then)
    before, after = (Request(base, paced_by(state, when), seed, when, beat) for state, when, beat in states)
    return before, after


def keeps_rhythm(model: "ECGTwin", now: Condition, was: Condition, own: Beats) -> bool:
    """Whether a wanted state can have the reference's own beats."""
    reports, told = model.normalise(now.reports), now.heart_rate
    measured, most = own.heart_rate, model.config.sampling.keeps_beats
    if told is not None and told != was.heart_rate and (measured is None or abs(told - measured) > most * measured):
        return False
    if set(reports) == set(model.normalise(was.reports)):
        return True
    if was.reports:
        return kind_of(reports) == kind_of(model.normalise(was.reports)) and allows(reports, measured)
    return same_rhythm(kind_of(reports), own, None) and allows(reports, measured)
