"""Train stage 0, the auto-encoder, on the training patients of one or more stores.

python scripts/train_vae.py --store STORE --output runs/vae [--config configs/base.yaml] [--set train.vae.steps=100] [--resume]
"""

from pathlib import Path

import typer

from ecgtwin.cli import refusing
from ecgtwin.twin import options as o

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    store: o.Stores,
    output: o.Output,
    config: o.Configuration = Path("configs/small.yaml"),
    set_: o.Overrides = [],  # noqa: B006 typer reads it
    resume: o.Resume = False,
    dry_run: o.DryRun = False,
    seed: o.Seed = None,
    cpu: o.Cpu = False,
    as_json: o.Json = False,
) -> None:
    with refusing():
        from ecgtwin.train.dry import dry
        from ecgtwin.twin.train import Where, train_vae

        settings = o.settings_of(config, set_, ("vae",), seed)
        where = Where(output, resume, dry if dry_run else None, o.accelerator_of(cpu))
        o.reported(train_vae(settings, o.recordings_of(store, settings), where), dry_run, as_json)


if __name__ == "__main__":
    app()
