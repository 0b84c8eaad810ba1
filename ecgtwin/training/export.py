"""From the weights of three stages to one model folder."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..ecg.store.recordings import Recordings
from ..text.table import StatementTable
from ..twin import model as models
from .equaliser import measure
from .weights import Weights, fingerprint, load_base, load_vae, read


def export(
    recordings: Recordings,
    table: StatementTable,
    vae: Path,
    base: Path,
    denoiser: Path,
    output: Path,
    *,
    least: int = 5,
    half: bool = False,
) -> models.Parts:
    """Put the three stages together into a folder that `ECGTwin.from_pretrained` loads.

    vae, base: of their stages, or of a model. Statements that such a model knew stay known where the denoiser began
    from its own. The decoder's equaliser is measured on the training ECGs. least: training ECGs that a statement needs
    to count as known. half: store float16.
    """
    found = {name: read(path, name) for name, path in (("vae", vae), ("base", base), ("denoiser", denoiser))}
    places = recordings.places("train")
    counts = Counter(s for k in places.tolist() for s in recordings.statements(k))
    began = start_of(base, found["denoiser"]) if found["base"].facts else {}
    counts.update(began.get("statement_counts", {}))
    known = [s for s in table.statements if counts[s] >= least]
    if len(known) < 2:
        raise ValueError(
            f"{len(known)} statement(s) have {least} or more training ECGs: lower --least, or use a table of "
            "the store's statements"
        )
    trained = [began["trained_on"]] if "trained_on" in began else []
    own = recordings.where(places)
    trained += [described(own.where(own.which == k), store.source) for k, store in enumerate(recordings.stores)]
    facts = {
        "trained_on": "; ".join(trained),
        "data_digest": recordings.digest,
        "validation": {name: weights.figures for name, weights in found.items()},
        "statement_counts": {s: counts[s] for s in known},
    }
    codec, key = load_vae(vae)
    rows = [table.statements.index(s) for s in known]
    config = found["denoiser"].config.model_copy(update={"equaliser": None})
    if len(places):
        plain = models.build_codec(config)
        plain.load_state_dict(codec.state_dict())
        config = config.model_copy(update={"equaliser": measure(plain.eval(), own, band=config.sampling.noise_floor)})
    parts = models.build(config, replace(table, statements=tuple(known), raw=table.raw[rows]), facts)
    parts.vae.load_state_dict(codec.state_dict())
    parts.base.load_state_dict(load_base(base, table, key)[0].state_dict())
    parts.denoiser.load_state_dict(found["denoiser"].tensors)
    models.save(parts, output, half=half)
    return parts


def described(recordings: Recordings, source: str) -> str:
    """How many ECGs of how many people; those of unknown patients are counted apart."""
    known = recordings.patient[recordings.patient >= 0]
    unknown = len(recordings) - len(known)
    return f"{source}: {len(recordings)} ECGs of {len(set(known.tolist()))} patients" + (
        f", {unknown} of unknown ones" if unknown else ""
    )


def start_of(model: Path, denoiser: Weights) -> dict[str, Any]:
    """Facts of the model from whose denoiser another was fine-tuned, or nothing."""
    began = read(model, "denoiser")
    return began.facts if fingerprint(began.tensors) == denoiser.inputs.get("start") else {}
