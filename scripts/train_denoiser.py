"""Train stage 2, the denoiser, on real pairs, views of one recording, and pairs of simulated people,
in the configured fractions.

python scripts/train_denoiser.py --store STORE --vae runs/vae/weights.safetensors --base runs/base/weights.safetensors
    \\ --output runs/denoiser [--statements TABLE] [--resume]
"""

from pathlib import Path

import typer

from ecgtwin.cli import train as o
from ecgtwin.cli.errors import refusing
from ecgtwin.train.device import accelerator_of
from ecgtwin.train.dry_run import dry_run
from ecgtwin.train.loop import Training, fit
from ecgtwin.train.run import Run
from ecgtwin.training.denoiser import DenoiserStage

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    store: o.Stores,
    vae: o.Vae,
    base: o.Base,
    output: o.Output,
    statements: o.Statements = None,
    config: o.Configuration = Path("configs/small.yaml"),
    start: o.Start = None,
    adapter: o.Adapter = False,
    records: o.Records = None,
    others: o.Others = None,
    set_: o.Overrides = [],  # noqa: B006 typer reads it
    resume: o.Resume = False,
    dry: o.DryRun = False,
    seed: o.Seed = None,
    cpu: o.Cpu = False,
    as_json: o.Json = False,
) -> None:
    with refusing():
        settings = o.settings_of(config, set_, ("denoiser",), seed, adapter=adapter)
        run, accelerator = Run(output, resume or dry), accelerator_of(cpu)
        table, (recordings, own) = o.table_of(statements, settings), o.with_others(store, settings, records, others)
        stage = DenoiserStage.of(settings, recordings, vae, base, table, output, accelerator, start, own)
        training = Training(stage.network, stage.plan, blocks=stage.blocks, accelerator=accelerator)
        if dry:
            return o.needed(dry_run(training, stage), as_json)
        with run.of(training, stage):
            for step in fit(training, stage):
                run.finish(step)  # its figures are logged; where due, it is validated, kept and saved
        o.told(run.kept, as_json)


if __name__ == "__main__":
    app()
