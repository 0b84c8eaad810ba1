"""Train stage 2, the denoiser, on a PTB-XL folder (folds 1-8; fold 9 validates).

python scripts/train_twin.py --data PTBXL --vae runs/vae/weights.safetensors --base runs/base/weights.safetensors \
    --statements TABLE --output runs/twin

Pairs: a patient's real other ECG where there is one, else another view of the same recording as the reference; the
target is a recording, or the same beats at another heart rate. Rare statements are drawn more often.
"""

from pathlib import Path

import torch
import typer

from ecgtwin.diffusion import loss as losses
from ecgtwin.nets.vae import parameters
from ecgtwin.text.table import StatementTable
from ecgtwin.train.loop import Training, fit, stream
from ecgtwin.train.run import Run, plan
from ecgtwin.twin.build import build_denoiser, build_schedule
from ecgtwin.twin.config import read_config
from ecgtwin.twin.data import read_ptbxl
from ecgtwin.twin.labels import drop, rarity
from ecgtwin.twin.stages import Partners, label, load_codec, load_extractor, numbered, views

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    data: Path = typer.Option(..., help="PTB-XL folder in its native layout"),
    vae: Path = typer.Option(..., help="weights.safetensors of train_vae.py"),
    base: Path = typer.Option(..., help="weights.safetensors of train_base.py"),
    statements: Path = typer.Option(..., help="statement table, made by embed_statements.py"),
    output: Path = typer.Option(..., help="folder for checkpoints and losses"),
    config: Path = typer.Option(Path("configs/small.yaml")),
    set_: list[str] = typer.Option([], "--set", help="override, section.key=value"),
    resume: bool = typer.Option(False, help="go on from the last checkpoint in OUTPUT"),
) -> None:
    settings = read_config(config, set_)
    stage, model = settings.train.twin, settings.model
    codec, _ = load_codec(vae)
    table = StatementTable.load(statements)
    recordings = read_ptbxl(data)
    targets, seen = views(recordings, codec, model.signal.rate, vae.parent / "bank.safetensors")
    labels = label(recordings, targets, table.statements, table.vectors)
    own = label(recordings, seen, table.statements, table.vectors)
    extractor = load_extractor(base)
    train = torch.from_numpy((recordings.table["split"] == "train").to_numpy())
    held = torch.nonzero(torch.from_numpy((recordings.table["split"] == "validation").to_numpy())).flatten()
    partners = Partners(numbered(recordings))
    weight = train.float() * rarity(labels, train)
    variants, kinds = targets.latents.shape[1], seen.latents.shape[1]

    torch.manual_seed(stage.seed)
    schedule = build_schedule(model)
    network = build_denoiser(model)
    training, run = Training(network, plan(stage)), Run(output, resume)
    run.start(training, {"parameters": parameters(network), "train": int(train.sum()), "held": len(held)})

    def draw(rows, generator):
        """Target latents with their conditions and the base of a reference, for the ECGs `rows`."""
        n = len(rows)

        def chance(share):
            return torch.rand(n, generator=generator) < share

        kind = torch.randint(variants, (n,), generator=generator) * (~chance(0.3))
        other = torch.tensor([partners.draw(int(r), generator) for r in rows])
        reference = torch.where(chance(0.5), other, rows)
        view = torch.randint(kinds, (n,), generator=generator)
        was = own.conditions(reference, view)
        with torch.no_grad():
            vector = extractor(seen.latents[reference, view].float(), was._replace(keep_condition=~chance(0.3)))
        return targets.latents[rows, kind].float(), labels.conditions(rows, kind, vector.float())

    def loss(network, rows, generator):
        z, c = draw(rows, generator)
        c = drop(c, generator, condition=stage.drop_condition, base=stage.drop_base)
        i = torch.randint(schedule.length, (len(rows),), generator=generator)
        eps = torch.randn(z.shape, generator=generator)
        value = losses.simple(network, c, z, i, eps, schedule, model.diffusion.prediction)
        return value.mean(), {}

    @torch.no_grad()
    def validate(network) -> dict[str, float]:
        """The loss on held-out patients at fixed levels and noise: with everything, and without condition or base."""
        generator = stream(1, 2, 3)
        rows = held[torch.randint(len(held), (256,), generator=generator)]
        z, c = draw(rows, generator)
        i = torch.linspace(0, schedule.length - 1, len(rows)).long()
        eps = torch.randn(z.shape, generator=generator)
        none = torch.zeros(len(rows), dtype=torch.bool)

        def at(c):
            return float(losses.simple(network, c, z, i, eps, schedule, model.diffusion.prediction).mean())

        return {
            "held": at(c),
            "held_no_condition": at(c._replace(keep_condition=none)),
            "held_no_base": at(c._replace(keep_base=none)),
        }

    def batches(generator):
        return torch.multinomial(weight, stage.batch, replacement=True, generator=generator)

    for step in fit(training, batches, loss):
        if step.number % stage.validate_every == 0 or step.number == stage.steps:
            with run.averaged(training) as average:
                figures = validate(average)
            run.save(training, settings.model_dump(), figures)
            run.keep(training, settings.model_dump(), figures)
            step.figures.update(figures)
        run.log(step)
    run.close()


if __name__ == "__main__":
    app()
