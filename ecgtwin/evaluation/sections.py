"""The parts of the suite: each answers its questions as sections of the report."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..metrics.bootstrap import mean
from ..twin.twin import ECGTwin
from . import agreement, constructed, diversity, likeness, realism, spread, tasks
from .answers import Answers
from .figures import Figure, Section, Table
from .makers import Copy, Edits, Maker, Reconstruction, Twins, drawn, first_rows
from .physics import limb_residual
from .simulated_truth import counterfactuals
from .strength import STRENGTHS, TARGET, of_strength
from .tasks import Task
from .telltales import Against, floor, telltales
from .training_records import privacy
from .utility import utility

RATES = (40.0, 60.0, 80.0, 100.0, 120.0, 140.0)
YEARS = (25.0, 45.0, 65.0, 85.0)
OTHER = "real ECG of another patient"
REDRAWN = "twin, own state"


def looks(a: Answers) -> list[Section]:
    worse = {name: r for name, r in realism.degraded(a.references).items() if name != realism.FLOOR}
    made = {realism.FLOOR: a.references, **a.changed, REDRAWN: a.again, **a.reconstructed}
    rows, body = made | worse, made | {"8 Hz blur": worse["8 Hz blur"]}
    first = realism.halves(a.stage.whole.patients, a.stage.seed)
    physical = limb_residual({"real": a.references.first(8), a.twin.name: a.again.first(8)})
    states = diversity.between_people(a.exchange, {"real": a.real_other, **a.changed})
    return [
        Section("Do they look real?", realism.realism(a.stage.whole, a.stage.fitted, rows, a.stage.seed)),
        Section("What gives them away when nothing was asked for?", unchanged_telltales(a)),
        Section(
            "Intervals, amplitudes and diversity", [*realism.physiology(a.stage.whole, body, first), physical, states]
        ),
    ]


def unchanged_telltales(a: Answers) -> list[Figure]:
    """Twins asked for their references' own states against these references."""
    rows = {a.twin.name: Against(a.references, a.again)}
    rows |= {name: Against(a.references, made) for name, made in a.reconstructed.items()}
    return telltales({**rows, "real": floor(a.stage.whole, a.references, a.stage.seed)}, a.stage.seed)


def asked(a: Answers) -> list[Section]:
    beside = {OTHER: a.real_other, Copy().name: a.references}
    found, statements = agreement.agreement(a.exchange, {**a.changed, **beside})
    rhythm = agreement.rhythms(a.redraw, {"real": a.references, a.twin.name: a.again})
    return [Section("Is what was asked for there?", found, [statements]), Section("Rhythm", rhythm)]


def person(a: Answers) -> list[Section]:
    strangers = {OTHER: a.stage.read(a.exchange.truth, a.exchange.patients), Copy().name: a.references}
    rows = {**a.changed, **strangers}
    found = likeness.identity(a.exchange, rows, a.stage.whole, (a.before, a.later))
    found.append(likeness.copied(rows, a.references, a.another_day, a.exchange.patients))
    return [Section("Is it the same person?", found)]


def later_ecg(a: Answers) -> list[Section]:
    """The tests on two real ECGs of one patient; none with fewer than 8 such pairs."""
    if not a.paired:
        return []
    stage, twin, copy = a.stage, a.twin, Copy()
    sections = [Section("A real later ECG of the same patient", likeness.factual(a.pairs, a.paired, a.before, a.later))]
    few = first_rows(a.pairs, stage.size.edits)
    n = len(few)
    if edits := a.present("counterfactual"):
        here = {**stage.answered(edits, few), **{k: a.paired[k].first(n) for k in (twin.name, copy.name)}}
        figures = likeness.factual(few, here, a.before.first(n), a.later.first(n))
        sections.append(Section("Edits of the reference, on fewer pairs", figures))
    returned = stage.answered([twin], tasks.back(a.pairs, a.paired[twin.name].signals))[twin.name]
    none = likeness.unchanged(
        a.redraw, {twin.name: a.again, **a.reconstructed}, a.references, a.another_day, a.pairs.patients
    )
    back = likeness.round_trip(a.pairs, returned, a.before, a.another_day, twin.name)
    sections.append(Section("Nothing asked, and there and back", [*none, back]))
    some, times = first_rows(a.pairs, stage.size.sampled), stage.size.samples
    n = len(some)
    many = tasks.repeated(some, times)
    # Of the beats that the model holds most typical the spread would say nothing: as learned.
    varied = replace(twin, variety=1.0) if isinstance(twin, Twins) else twin
    samples = stage.answered([varied], many)
    found = spread.calibrated(many, times, samples, a.later.first(n), a.before.first(n))
    found += spread.mean_of_samples(many, times, samples, a.later.first(n), a.before.first(n))
    found.append(diversity.between_samples(many, times, samples, mean(a.another_day, a.pairs.patients)))
    sections.append(Section("Do samples spread as the truth does?", found))
    return sections


def doses(a: Answers) -> list[Section]:
    stage, twin = a.stage, a.twin
    series = tasks.doses(stage.held, stage.size.series, RATES, stage.seed)
    rows = {**stage.answered([twin], series), Copy().name: stage.read(series.references, series.patients)}
    found = likeness.dose(series, RATES, rows)
    older = tasks.ages(stage.held, stage.size.series, YEARS, stage.seed)
    ages = np.array([np.nan if c.age is None else c.age for c in stage.held.conditions])
    seen = (stage.fitted.learned, stage.ages)
    found.append(likeness.ageing(older, YEARS, stage.answered([twin], older), seen, stage.whole, ages))
    table: list[Table] = []
    if a.model is not None and TARGET in a.model.statements and stage.size.strengths:
        task = tasks.change_of(stage.held, stage.size.strengths, TARGET, stage.seed)
        steps = [Edits(a.model, f"strength {s:g}", strength=s) for s in STRENGTHS if s > 0]
        same = replace(task, truth=task.references)  # strength 0 is the reference through the auto-encoder
        unmoved = stage.answered([Reconstruction(a.model, "strength 0", in_place=True)], same)
        figures, line = of_strength(task, {**unmoved, **stage.answered(steps, task)})
        found += figures
        table.append(line)
    return [Section("Dose-response", found, table)]


def kept(a: Answers) -> list[Section]:
    """Distance to training records beside held-out ones; a twin's own patient is left out of these, since it
    resembles its reference by design."""
    sets = {a.twin.name: a.again, "real held-out ECGs": a.references}
    return [Section("Were training records kept?", privacy(sets, a.stage.fitted, a.stage.whole, a.stage.seed))]


def exact(a: Answers) -> list[Section]:
    """Simulated people, and real ones in constructed states."""
    if a.model is None:
        return []
    sections = []
    if n := a.stage.size.people:
        a.stage.say(f"exact counterfactuals of {n} simulated people")
        found = counterfactuals(a.model, people=n, seed=a.stage.seed)
        columns = tuple(k for k in found["mean"] if k != "unmeasured")
        lines = {**found["states"], "mean": found["mean"]}
        note = (
            f"{n} simulated people in sinus rhythm, drawn in other states; medians. Twin: correlation of median beats "
            "with the exact counterfactual; unchanged: of the reference; stranger: of other people's; ceiling: of the "
            "truth through the auto-encoder. Change: what the model changed beside what should change. Size, error: "
            "relative to the truth. Left: error over the distance from the reference to the truth. Own: nearest to "
            "the own truth of all."
        )
        named = tuple(c.replace("uv", "uV").replace("_", " of ") for c in columns)
        table = Table("By state", note, named, {k: [row[c] for c in columns] for k, row in lines.items()})
        sections.append(Section("Exact counterfactuals of simulated people", [], [table]))
    if a.stage.size.constructed:
        sections += constructed_states(a, a.model)
    return sections


def constructed_states(a: Answers, model: ECGTwin) -> list[Section]:
    held, seed = a.stage.held, a.stage.seed
    a.stage.say("finding the person in real ECGs")
    fits = constructed.fitted(held, a.stage.size.constructed, seed)
    if len(fits.rows) < 2:
        return []
    answers = {}
    for state in constructed.STATES:
        try:
            task, noisy = constructed.task_of(held, fits, state, model.normalise, seed)
        except ValueError:  # a statement that the model does not know
            continue
        answers[state] = constructed.Answered(task, a.stage.answered([a.twin], task)[a.twin.name], noisy)
    figures, table = constructed.judged(answers, fits, a.stage.whole, a.embed, a.twin.name)
    return [Section("Real patients in constructed states", figures, [table])]


def useful(a: Answers) -> list[Section]:
    """Classifiers trained on twins; says why where that cannot be measured."""
    stage, effort = a.stage, a.stage.size.utility

    def draw(maker: Maker, task: Task) -> np.ndarray:
        stage.say(f"{task.name}: {maker.name} ({len(task)} ECGs)")
        return drawn(maker, task, stage.cache, progress=stage.progress)

    title = "Are twins of use for training?"
    try:
        figures, table = utility(stage.train, stage.held, a.twin, draw, effort, stage.seed, stage.say)
    except ValueError as why:
        stage.say(f"utility is not measured: {why}")
        return [Section(title, [], [Table("Left out", str(why), (), {})])]
    return [Section(title, figures, [table])]


PARTS: dict[str, Callable[[Answers], list[Section]]] = {
    "realism": looks,
    "agreement": asked,
    "identity": person,
    "pairs": later_ecg,
    "doses": doses,
    "privacy": kept,
    "truth": exact,
    "utility": useful,
}
"""What can be chosen with `--parts`."""
