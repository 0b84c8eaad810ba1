"""Train stage 1, the individual base extractor, by contrast on a PTB-XL folder (folds 1-8; fold 9 validates).

python scripts/train_base.py --data PTBXL --vae runs/vae/weights.safetensors --statements TABLE --output runs/base
"""

from pathlib import Path

import torch
import typer
from torch import nn

from ecgtwin.metrics.identity import identity
from ecgtwin.nets.vae import parameters
from ecgtwin.text.table import StatementTable
from ecgtwin.train.loop import Training, fit
from ecgtwin.train.run import Run, plan
from ecgtwin.twin.base import Contrast
from ecgtwin.twin.build import build_base
from ecgtwin.twin.config import read_config
from ecgtwin.twin.data import read_ptbxl
from ecgtwin.twin.labels import drop
from ecgtwin.twin.stages import Partners, label, load_codec, numbered, views

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Stage(nn.Module):
    """Extractor and contrast together: the temperature is trained too."""

    def __init__(self, extractor):
        super().__init__()
        self.extractor, self.contrast = extractor, Contrast()


@torch.no_grad()
def validate(extractor, targets, labels, patients, rows) -> dict[str, float]:
    """Rank-1 and equal error rate among the recordings as they are, under their own condition and condition-free."""
    zero = torch.zeros(len(rows), dtype=torch.long)
    figures = {}
    for suffix, told in (("", True), ("_free", False)):
        base = []
        for r, z in zip(rows.split(128), zero.split(128), strict=True):
            c = labels.conditions(r, z)
            base.append(extractor(targets.latents[r, 0].float(), c._replace(keep_condition=c.keep_condition & told)))
        found = identity(torch.cat(base).float().numpy(), patients[rows].numpy())
        figures |= {f"rank1{suffix}": found.rank1, f"eer{suffix}": found.eer}
    return figures


@app.command()
def main(
    data: Path = typer.Option(..., help="PTB-XL folder in its native layout"),
    vae: Path = typer.Option(..., help="weights.safetensors of train_vae.py"),
    statements: Path = typer.Option(..., help="statement table, made by embed_statements.py"),
    output: Path = typer.Option(..., help="folder for checkpoints and losses"),
    config: Path = typer.Option(Path("configs/small.yaml")),
    set_: list[str] = typer.Option([], "--set", help="override, section.key=value"),
    resume: bool = typer.Option(False, help="go on from the last checkpoint in OUTPUT"),
) -> None:
    settings = read_config(config, set_)
    stage = settings.train.base
    codec, _ = load_codec(vae)
    table = StatementTable.load(statements)
    recordings = read_ptbxl(data)
    targets, seen = views(recordings, codec, settings.model.signal.rate, vae.parent / "bank.safetensors")
    labels = label(recordings, seen, table.statements, table.vectors)
    own = label(recordings, targets, table.statements, table.vectors)
    patients = numbered(recordings)
    train = torch.from_numpy((recordings.table["split"] == "train").to_numpy())
    held = torch.nonzero(torch.from_numpy((recordings.table["split"] == "validation").to_numpy())).flatten()
    partners = Partners(patients)
    # Patients with several ECGs show what really stays the same: they are drawn more often.
    weight = train.float() * (1 + 4 * partners.several.float())
    third = seen.latents.shape[1] // 3

    torch.manual_seed(stage.seed)
    network = Stage(build_base(settings.model))
    training, run = Training(network, plan(stage)), Run(output, resume)
    run.start(training, {"parameters": parameters(network.extractor), "train": int(train.sum()), "held": len(held)})

    def batches(generator):
        rows = torch.multinomial(weight, stage.batch, generator=generator)
        other = torch.tensor([partners.draw(int(r), generator) for r in rows])
        kinds = torch.randint(third, (2, stage.batch), generator=generator)
        kinds[1] += third
        # Different recordings share nothing anyway: all of their beats may be used.
        whole = 2 * third + torch.randint(third, (2, stage.batch), generator=generator)
        return rows, other, torch.where(other == rows, kinds, whole)

    def loss(network, batch, generator):
        rows, other, kinds = batch
        both, kinds = torch.cat([rows, other]), kinds.flatten()
        c = drop(labels.conditions(both, kinds), generator, condition=stage.drop_condition)
        c = c._replace(keep_condition=c.keep_condition & one_sided(rows == other, generator))
        a, b = network.extractor(seen.latents[both, kinds].float(), c).chunk(2)
        value = network.contrast(a, b, patients[rows])
        return value, {"temperature": (-network.contrast.scale).exp()}

    def one_sided(self_pair, generator):
        """Two views of one recording share their condition. Were both told it, the condition itself would identify the
        patient and the base would learn to carry it; so only one of the two is told."""
        first = torch.rand(len(self_pair), generator=generator) < 0.5
        return torch.cat([first | ~self_pair, ~first | ~self_pair])

    best = -float("inf")
    for step in fit(training, batches, loss):
        if step.number % stage.validate_every == 0 or step.number == stage.steps:
            with run.averaged(training) as average:
                figures = validate(average.extractor, targets, own, patients, held)
            run.save(training, settings.model_dump(), figures)
            step.figures.update(figures)
            score = sum(figures[f"rank1{s}"] - figures[f"eer{s}"] for s in ("", "_free"))
            if score > best:
                best = score
                run.keep(training, settings.model_dump(), figures)
        run.log(step)
    run.close()


if __name__ == "__main__":
    app()
