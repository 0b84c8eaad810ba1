"""Train the stage that takes ECGs from 102.4 to 500 Hz, on recordings at 500 Hz.

python scripts/train_cascade.py --store STORE500 --vae default --output runs/cascade [--records FILE] [--resume]

STORE500: `ecgtwin data prepare ptbxl ptb-xl STORE500 --rate 500 --frequency 500`. OUTPUT/upsampler is the finished
stage, a folder for `Upsampler.from_pretrained`.
"""

from pathlib import Path

import typer

from ecgtwin.cli import train as o
from ecgtwin.cli.errors import refusing
from ecgtwin.ecg.store.recordings import Recordings
from ecgtwin.ecg.store.store import Store
from ecgtwin.train.device import accelerator_of
from ecgtwin.train.dry_run import dry_run
from ecgtwin.train.loop import Training, fit
from ecgtwin.train.run import Run
from ecgtwin.training.cascade import calibrated, read_settings, stage_of
from ecgtwin.training.weights import load_vae
from ecgtwin.twin.upsampling import Upsampler, build

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    store: o.Stores,
    vae: o.Vae,
    output: o.Output,
    config: o.Configuration = Path("configs/cascade.yaml"),
    records: o.Records = None,
    set_: o.Overrides = [],  # noqa: B006 typer reads it
    resume: o.Resume = False,
    dry: o.DryRun = False,
    cpu: o.Cpu = False,
    as_json: o.Json = False,
) -> None:
    with refusing():
        settings = read_settings(config, set_)
        run, accelerator = Run(output, resume or dry), accelerator_of(cpu)
        recordings = Recordings.of([o.at_rate(Store.open(folder), settings.cascade.rate) for folder in store])
        recordings = o.only(recordings, records)
        codec, key = load_vae(vae)
        stage = stage_of(settings, recordings, codec.to(accelerator.device), key)
        training = Training(stage.network, stage.plan, blocks=stage.blocks, accelerator=accelerator)
        if dry:
            return o.needed(dry_run(training, stage), as_json)
        with run.of(training, stage):
            for step in fit(training, stage):
                run.log(step)
                if stage.plan.due(step.number):
                    run.keep(run.validate())
                if stage.plan.saves(step.number) or step.stopping:
                    run.save()
        network = build(settings.cascade)
        network.load_state_dict({k: v.cpu() for k, v in training.ema.shadow.items()})
        calibrated(Upsampler(settings.cascade, network), recordings).save_pretrained(output / "upsampler", half=True)
        o.told(run.kept, as_json)


if __name__ == "__main__":
    app()
