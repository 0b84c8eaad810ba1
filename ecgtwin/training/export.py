"""From the weights of three stages to one model folder."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..ecg.store.recordings import Recordings
from ..text.table import StatementTable
from ..twin import model as models
from .weights import Left, fingerprint, load_codec, load_extractor, read


def export(
    recordings: Recordings, table: StatementTable, vae: Path, base: Path, twin: Path, output: Path, *, least: int = 5, half: bool = False
) -> models.Parts:
    """Put the three stages together into a folder that `ECGTwin.from_pretrained` loads.

    vae, base: of their stages, or of a model. Statements that such a model knew stay known where the denoiser began from its own.
    least: training ECGs that a statement needs to count as known. half: store float16.
    """
    left = {"vae": read(vae, "vae"), "base": read(base, "base"), "twin": read(twin, "twin")}
    places = recordings.places("train")
    counts = Counter(s for k in places.tolist() for s in recordings.statements(k))
    began = start_of(base, left["twin"]) if left["base"].facts else {}
    counts.update(began.get("statement_counts", {}))
    known = [s for s in table.statements if counts[s] >= least]
    if len(known) < 2:
        raise ValueError(
            f"{len(known)} statement(s) have {least} or more training ECGs: lower --least, or use a table of the store's statements"
        )
    own = recordings.where(places)
    trained = [began["trained_on"]] if "trained_on" in began else []
    for k, store in enumerate(recordings.stores):
        here = own.patient[own.which == k]
        trained.append(f"{store.source}: {len(here)} ECGs of {len(set(here.tolist()))} patients")
    facts = {
        "trained_on": "; ".join(trained),
        "data_digest": recordings.digest,
        "validation": {name: found.figures for name, found in left.items()},
        "statement_counts": {s: counts[s] for s in known},
    }
    codec, codec_key = load_codec(vae)
    extractor, _ = load_extractor(base, table, codec_key)
    rows = [table.statements.index(s) for s in known]
    parts = models.build(left["twin"].config, replace(table, statements=tuple(known), raw=table.raw[rows]), facts)
    parts.codec.load_state_dict(codec.state_dict())
    parts.extractor.load_state_dict(extractor.state_dict())
    parts.network.load_state_dict(left["twin"].tensors)
    models.save(parts, output, half=half)
    return parts


def start_of(model: Path, twin: Left) -> dict[str, Any]:
    """Facts of the model from whose denoiser another was fine-tuned, or nothing."""
    began = read(model, "twin")
    return began.facts if fingerprint(began.tensors) == twin.inputs.get("start") else {}
