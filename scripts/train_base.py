"""Train stage 1, the individual base extractor, by contrast between patients.

python scripts/train_base.py --store STORE --vae runs/vae/weights.safetensors --output runs/base [--statements TABLE] [--resume]
"""

from pathlib import Path

import typer

from ecgtwin.cli import refusing
from ecgtwin.twin import options as o

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    store: o.Stores,
    vae: o.Vae,
    output: o.Output,
    statements: o.Statements = None,
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
        from ecgtwin.twin.train import Where, train_base

        settings = o.settings_of(config, set_, ("base",), seed)
        where = Where(output, resume, dry if dry_run else None, o.accelerator_of(cpu))
        found = train_base(settings, o.recordings_of(store, settings), vae, o.table_of(statements, settings), where)
        o.reported(found, dry_run, as_json)


if __name__ == "__main__":
    app()
