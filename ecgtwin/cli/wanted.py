"""What is asked for on the command line, in a model's own terms, and the twins that answer it."""

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..ecg.record import ECG
from ..ecg.simulate import Person, simulate
from ..evaluation.reliability import Reliability
from ..text.statements import Assumption, from_snomed
from ..twin.condition import Condition
from ..twin.contradictions import Contradiction
from ..twin.twin import ECGTwin
from .attending import Attending, rewritten
from .walk import Walk
from .wishes import meant, with_rhythm


@dataclass(frozen=True)
class Wish:
    """What the user asked for; what is left out comes from the reference's header."""

    reports: tuple[str, ...]
    sex: str | None
    age: float | None
    heart_rate: float | None
    reference_reports: tuple[str, ...]
    start: float | None
    encoder: Path | None = None
    accept_nearest: bool = False


@dataclass(frozen=True)
class Options:
    n: int
    seed: int
    steps: int | None
    guidance: float | None
    base_guidance: float | None
    format: str
    rescale: float = 0.0
    keep: bool = False
    strength: float = 1.0
    candidates: int | None = None
    html: bool = False
    walk: Walk = Walk()
    negative: tuple[str, ...] = ()
    measure: tuple[str, ...] = ()
    attending: Attending = Attending()
    fast: bool = False
    variety: float | None = None
    rate: float | None = None
    """Hz of the ECGs that are written; None: the model's own."""
    noise_floor: bool = True
    """Whether the noise of the reference's recording is put back."""

    def spreading(self) -> "Options":
        """The same with beats that vary as learned where the spread of several twins is reported: that of the most
        typical beats would say too little about what is not known."""
        reported = (self.html or self.measure or self.candidates) and max(self.n, self.candidates or 1) > 1
        drawn = not self.keep and not self.attending.edits and self.variety is None
        return replace(self, variety=1.0) if reported and drawn else self


def example() -> ECG:
    """A simulated person in sinus rhythm: made by code, nobody's recording."""
    return simulate(Person.draw(7), "sinus rhythm", 66.0, seed=7)


def known_reports(model: ECGTwin, reports: tuple[str, ...]) -> tuple[tuple[str, ...], list[str]]:
    """Those of a header's statements that the model knows, and those that it does not."""
    known, unknown = [], []
    for text in reports:
        if text.startswith("snomed:"):
            found = [s for s in from_snomed([text.removeprefix("snomed:")]) if s in model.statements]
            known += found
            unknown += [] if found else [text]
            continue
        try:
            known.append(model.vocabulary.normalise(text))
        except ValueError:
            unknown.append(text)
    return tuple(known), unknown


def conditions(model: ECGTwin, reference: ECG, wish: Wish) -> tuple[Condition, Condition, list[str]]:
    """The wanted condition, the own one of a reference (the window that is used), and notes on what was assumed."""
    notes = []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", Assumption)
        if wish.reference_reports:
            reports = meant(model, wish.reference_reports, wish.encoder, wish.accept_nearest, notes)
        else:
            reports, unknown = known_reports(model, reference.reports)
            if unknown:
                notes.append(f"header statements that the model does not know, left out: {', '.join(unknown)}")
            if not reports:
                notes.append(
                    "no known report statement of the reference: its own state counts as unknown (--reference-report)"
                )
        wanted = meant(model, wish.reports, wish.encoder, wish.accept_nearest, notes)
        wanted = with_rhythm(model, wanted, reports, wish.heart_rate, notes, reference)
    notes += dict.fromkeys(str(one.message) for one in told if issubclass(one.category, Assumption))
    notes += Reliability.of(model).doubts(wanted)
    # The numbers alone would not be the reference's state: without a statement the condition-free token is used.
    rate = reference.heart_rate()
    if rate is not None and not 20 <= rate <= 300:
        raise ValueError(
            f"at {reference.rate:g} Hz this ECG has {rate:.0f} beats/min: expected 20-300; give its sampling rate by "
            "--input-rate (the beats/min of twins are --heart-rate)"
        )
    was = Condition(reports, reference.sex, reference.age, rate) if reports else Condition()
    return Condition(wanted, wish.sex, wish.age, wish.heart_rate), was, notes


def drawn(model: ECGTwin, used: ECG, now: Condition, was: Condition, options: Options) -> tuple[list[ECG], Condition]:
    """The twins, and what they were asked to be, with what is taken over from the reference."""
    own = None if was.empty else was
    scales = {"guidance": options.guidance, "base_guidance": options.base_guidance, "rescale": options.rescale}
    if options.steps is not None:
        scales["steps"] = options.steps
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Contradiction)  # told by `run`
        if options.attending.edits:
            return rewritten(model, used, now, own, options), model.wanted(used, now, own)[0]
        if not options.keep:
            n = options.candidates or options.n
            twins = model.generate(
                used,
                now,
                reference_condition=own,
                n=n,
                seed=options.seed,
                progress=True,
                **scales,
                **walked(model, options),
            )
            return twins, model.wanted(used, now, own)[0]
        before, after = model.change(used, now, options.seed, reference_condition=own)
        if options.n > 1 and (after.beats is before.beats or not model.config.denoiser.draft):
            raise ValueError(
                f"n {options.n} with --keep: nothing of this counterfactual is left to chance, so all are "
                "alike; leave -n out"
            )
        keep = {"reference_condition": own, "strength": options.strength, "progress": True, **scales}
        keep["noise_floor"] = options.noise_floor
        return [
            model.counterfactual(used, now, seed=options.seed + k, **keep) for k in range(options.n)
        ], after.condition


def taken_scales(model: ECGTwin, used: ECG, now: Condition, was: Condition, options: Options) -> dict[str, Any]:
    """Guidance and steps as they act, for the sidecar: what was not given is the model's own for these statements.
    Edits choose their own: None."""
    if options.keep or options.attending.edits:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Contradiction)
        (request,) = model.requests(used, now, [options.seed], reference_condition=None if was.empty else was)
    guidance, base_guidance = model.scales(request, options.guidance, options.base_guidance)
    steps = model.config.sampling.steps if options.steps is None else options.steps
    variety = model.config.sampling.variety if options.variety is None else options.variety
    return {"guidance": guidance, "base_guidance": base_guidance, "steps": steps, "variety": variety}


def walked(model: ECGTwin, options: Options) -> dict[str, Any]:
    """How to go from noise to ECG, as `ECGTwin.generate` and `ECGTwin.sample` take it."""
    away = Condition(model.normalise(options.negative)) if options.negative else None
    walk = options.walk
    return {
        "solver": walk.solver_on(model.schedule),
        "levels": walk.spacing(),
        "interval": walk.interval,
        "negative": away,
        "fast": options.fast,
        "variety": options.variety,
        "noise_floor": options.noise_floor,
        "classifier": walk.guided_by(model),
    }
