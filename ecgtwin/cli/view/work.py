"""What the page asks for: read an upload, draw twins, make a file to keep. No HTTP here. Results live in
memory, the oldest go first."""

import base64
import io
import secrets
import tempfile
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path, PurePath
from typing import Any

from ...ecg.leads import LEADS
from ...ecg.plot import plot
from ...ecg.quality import prepare
from ...ecg.record import ECG
from ...evaluation.candidates import ranked
from ...evaluation.explain import Explanation, explain
from ...evaluation.explain_page import (
    beats_figure,
    changes_table,
    image,
    nearness_table,
    page,
    rules_table,
    svg,
    trust_table,
)
from ...evaluation.reliability import Reliability
from ...text.encoder import ReportEncoder
from ...text.nearest import nearest
from ...twin.condition import Condition
from ...twin.twin import ECGTwin
from ..wanted import known_reports
from ..wishes import RHYTHMS, with_rhythm

KEPT = 24
"""Uploads and results of all users that are kept in memory."""
LARGEST = 32
"""Samples of one request."""
KINDS = {"wfdb": "zip", "dicom": "dcm", "csv": "csv", "pdf": "pdf", "html": "html", "json": "json"}


@dataclass(frozen=True, eq=False)
class Result:
    """Twins of one request, the best first, and their explanation."""

    one: Explanation
    facts: dict[str, Any]


class Desk:
    """The model and what its users have before them. Keys are random: nobody sees another's results by chance."""

    def __init__(self, model: ECGTwin, first: ECG | None = None, encoder: ReportEncoder | None = None):
        self.encoder = encoder
        self.model, self.lock, self.busy = model, threading.Lock(), threading.Lock()
        self.records: OrderedDict[str, ECG] = OrderedDict()
        self.results: OrderedDict[str, Result] = OrderedDict()
        self.first = None if first is None else self.keep(self.records, prepared(first, model))

    @cached_property
    def reliability(self) -> Reliability:
        return Reliability.of(self.model)

    def keep(self, shelf: OrderedDict, thing: Any) -> str:
        key = secrets.token_urlsafe(12)
        with self.lock:
            shelf[key] = thing
            while len(shelf) > KEPT:
                shelf.popitem(last=False)
        return key

    def take(self, shelf: OrderedDict, key: str) -> Any:
        with self.lock:
            if key not in shelf:
                raise ValueError("this is no longer kept: choose the record again")
            return shelf[key]

    def read(self, files: Sequence[tuple[str, bytes]]) -> dict[str, Any]:
        """An upload: one file, or the two of a WFDB record. It lies in a temporary folder while it is read."""
        if not files:
            raise ValueError("no file was sent")
        with tempfile.TemporaryDirectory(prefix="ecgtwin-") as folder:
            paths = []
            for name, content in files:
                path = Path(folder) / (PurePath(name.replace("\\", "/")).name or "record")
                path.write_bytes(content)
                paths.append(path)
            header = next((p for p in paths if p.suffix.lower() == ".hea"), paths[0])
            if header.suffix.lower() in (".dat", ".mat") and len(paths) == 1:
                raise ValueError(f"{header.name}: choose its header ({header.stem}.hea) together with it")
            try:
                ecg = prepared(ECG.read(header), self.model)
            except (ValueError, OSError, ImportError) as error:
                raise ValueError(str(error).replace(f"{folder}/", "")) from None
        return self.about(self.keep(self.records, ecg))

    def about(self, key: str) -> dict[str, Any]:
        """What the page shows of a record."""
        ecg = self.take(self.records, key)
        far = None if self.reliability.distance is None else float(self.reliability.distance([ecg])[0])
        known, unknown = known_reports(self.model, ecg.reports)
        rate = ecg.heart_rate()
        return {
            "key": key,
            "name": ecg.name,
            "words": f"{ecg.seconds:.1f} s at {ecg.rate:g} Hz, {f'{rate:.0f}/min' if rate else 'rate not measurable'}",
            "sex": ecg.sex,
            "age": ecg.age,
            "reports": known,
            "notes": [*ecg.notes, *(f"the model does not know: {text}" for text in unknown)],
            "far": None if far is None or far != far else round(far, 2),
            "sheet": image(drawn(ecg, "svg").decode(), f"{ecg.name}, 12 leads on ECG paper"),
        }

    def statements(self) -> list[dict[str, Any]]:
        """What can be asked for and how far it can be trusted: the doubtful last, else the most taught first."""
        found = [one.data() for one in self.reliability.statements.values()]
        return sorted(found, key=lambda s: (s["doubt"] is not None, -(s["training_ecgs"] or 0)))

    def nearest(self, text: str) -> list[dict[str, Any]]:
        """The statements that mean most nearly what a sentence says, for the user to choose from."""
        if self.encoder is None:
            raise ValueError("free text needs the model's text encoder: ecgtwin view --encoder FOLDER")
        with self.busy:
            return [
                {"name": one.statement, "cosine": one.cosine} for one in nearest(self.model.table, self.encoder, text)
            ]

    def rhythms(self) -> list[str]:
        """What a user can say of the recording's own rhythm."""
        return [name for name in RHYTHMS if name in self.model.statements]

    def tuned(self) -> dict[str, float]:
        """Where the sliders stand at first: what the model was tuned with."""
        tuned = self.model.config.sampling
        return {"guidance": tuned.guidance, "base_guidance": tuned.base_guidance, "steps": tuned.steps}

    def draw(self, wish: dict[str, Any]) -> dict[str, Any]:
        """Twins as asked for, the best first. ValueError for what cannot be asked."""
        ecg = self.take(self.records, str(wish.get("key", "")))
        n, seed = (int(wish.get(name, default)) for name, default in (("n", 8), ("seed", 0)))
        if not 1 <= n <= LARGEST:
            raise ValueError(f"{n} samples: expected 1 to {LARGEST}")
        scales = {name: None if wish.get(name) is None else float(wish[name]) for name in ("guidance", "base_guidance")}
        steps = None if wish.get("steps") is None else int(wish["steps"])
        own = known_reports(self.model, tuple(wish.get("own", ())))[0]
        was = Condition(own, ecg.sex, ecg.age, ecg.heart_rate()) if own else None
        notes: list[str] = []
        asked = with_rhythm(
            self.model, self.model.normalise(wish.get("reports", ())), own, wish.get("heart_rate"), notes, ecg
        )
        now = Condition(asked, wish.get("sex") or ecg.sex, wish.get("age"), wish.get("heart_rate"))
        if now.empty:
            raise ValueError("nothing was asked for: pick a statement, a heart rate, an age or a sex")
        options = {"steps": steps, **scales, "seed": seed}  # None: the model's own
        with self.busy:  # one at a time: a second user waits, and gets own results
            if wish.get("keep"):
                options["strength"] = float(wish.get("strength", 1.0))
                twins = kept(self.model, ecg, now, was, n, options, notes)
            else:
                options["variety"] = 1.0 if n > 1 else None  # several are there for what their spread says
                twins = self.model.generate(ecg, now, reference_condition=was, n=n, **options)
        one = explain(ecg, twins, now, model=self.model)
        one = one.ordered([r.index for r in ranked(one)])
        facts = {"model": self.model.weights_hash, "n": len(twins), "keep": bool(wish.get("keep")), **options}
        key = self.keep(self.results, Result(one, facts))
        told = "".join(f"<li>{escape(text)}</li>" for text in one.doubts)
        return {
            "key": key,
            "n": len(twins),
            "asked": str(now),
            "nearness": nearness_table(one),
            "trust": trust_table(one),
            "warnings": f"<ul>{told}</ul>" if told else "",
            "rules": rules_table(one),
            "changes": changes_table(one, whole=True),
            "leads": changes_table(one, whole=False),
            "beats": image(svg(beats_figure(one)), "Median beats of reference and twins in twelve leads"),
            "sheet": self.sheet(key, 0),
            "notes": (*notes, *one.notes),
        }

    def twin(self, key: str, k: int) -> tuple[Result, ECG]:
        """A result and its twin k. ValueError where there is none."""
        result = self.take(self.results, key)
        if not 0 <= k < len(result.one.twins):
            raise ValueError(f"twin {k + 1}: there are {len(result.one.twins)}")
        return result, result.one.twins[k]

    def sheet(self, key: str, k: int) -> str:
        """Twin k of a result on ECG paper, the reference above it."""
        result, twin = self.twin(key, k)
        title = f"Twin {k + 1} of {len(result.one.twins)}: {result.one.condition}"
        drawing = drawn(twin, "svg", reference=result.one.reference, layout="stacked", title=title).decode()
        return image(drawing, f"The recorded ECG, and below it twin {k + 1}, 12 leads on ECG paper")

    def file(self, key: str, kind: str, k: int = 0) -> tuple[str, bytes]:
        """(name, content) of a file to keep: twin k, or the page or the figures of all."""
        if kind not in KINDS:
            raise ValueError(f"kind {kind!r}: expected one of {', '.join(KINDS)}")
        result, twin = self.twin(key, k)
        one, name = result.one, f"twin_{k + 1}.{KINDS[kind]}"
        if kind == "html":
            return "twins.html", page(one, facts=result.facts).encode()
        if kind == "json":
            return "twins.json", one.json().encode()
        if kind == "pdf":
            return name, drawn(twin, "pdf", reference=one.reference, layout="stacked", title=f"{one.condition}")
        with tempfile.TemporaryDirectory(prefix="ecgtwin-") as folder:
            path = twin.write(Path(folder) / (f"twin_{k + 1}.hea" if kind == "wfdb" else name), format=kind)
            if kind != "wfdb":
                return name, path.read_bytes()
            content = io.BytesIO()
            with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
                for file in sorted(Path(folder).iterdir()):
                    archive.write(file, file.name)
            return name, content.getvalue()


def kept(
    model: ECGTwin, ecg: ECG, now: Condition, was: Condition | None, n: int, options: dict[str, Any], notes: list[str]
) -> list[ECG]:
    """The recording itself, changed: n times where its beats are drawn anew, else once."""
    options = {name: value for name, value in options.items() if value is not None}
    seed = options.pop("seed")
    before, after = model.change(ecg, now, seed, reference_condition=was)
    if n > 1 and (after.beats is before.beats or not model.config.denoiser.draft):
        notes.append("one sample: nothing of this change is left to chance, so all samples would be alike")
        n = 1
    return [model.counterfactual(ecg, now, reference_condition=was, seed=seed + k, **options) for k in range(n)]


def prepared(ecg: ECG, model: ECGTwin) -> ECG:
    """The window that the model sees, of twelve leads."""
    c = model.config.signal
    return prepare(ecg, seconds=c.samples / c.rate, leads=LEADS)


def drawn(ecg: ECG, kind: str, **options: Any) -> bytes:
    with tempfile.TemporaryDirectory(prefix="ecgtwin-") as folder:
        return plot(ecg, Path(folder) / f"a.{kind}", **options).read_bytes()


def uploaded(files: Any) -> list[tuple[str, bytes]]:
    """The files of a request: [{"name": ..., "content": base64}]."""
    try:
        return [(str(one["name"]), base64.b64decode(one["content"], validate=True)) for one in files]
    except (TypeError, KeyError, ValueError):
        raise ValueError("the upload is damaged: choose the file again") from None
