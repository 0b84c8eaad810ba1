"""Put the three stages' weights together into one model folder that `ECGTwin.from_pretrained` loads.

python scripts/export_model.py --vae runs/vae/weights.safetensors --base runs/base/weights.safetensors \
    --twin runs/twin/weights.safetensors --statements TABLE --data PTBXL --output model --half
"""

from dataclasses import replace
from pathlib import Path

import typer

from ecgtwin.text.statements import from_scp
from ecgtwin.text.table import StatementTable
from ecgtwin.train.checkpoint import load_tensors
from ecgtwin.twin import files
from ecgtwin.twin.config import ModelConfig, parse
from ecgtwin.twin.data import read_ptbxl
from ecgtwin.twin.stages import load_codec, load_extractor

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    vae: Path = typer.Option(..., help="weights.safetensors of train_vae.py"),
    base: Path = typer.Option(..., help="weights.safetensors of train_base.py"),
    twin: Path = typer.Option(..., help="weights.safetensors of train_twin.py"),
    statements: Path = typer.Option(..., help="the statement table of the training"),
    data: Path = typer.Option(..., help="the PTB-XL folder of the training: its statements are those the model knows"),
    output: Path = typer.Option(..., help="the model folder to write"),
    least: int = typer.Option(5, help="training ECGs that a statement needs to count as known"),
    half: bool = typer.Option(False, help="store float16"),
) -> None:
    tensors, meta = load_tensors(twin)
    config = parse(ModelConfig, meta["config"]["model"], str(twin))
    train = read_ptbxl(data, rate=config.signal.rate, samples=config.signal.samples).split("train")
    found = [s for codes in train.table["codes"] for s in from_scp(codes)]
    table = StatementTable.load(statements)
    counts = {s: found.count(s) for s in table.statements}
    known = [s for s in table.statements if counts[s] >= least]
    facts = {
        "trained_on": f"PTB-XL 1.0.3, folds 1-8, {len(train)} ECGs of {train.table['patient'].nunique()} patients",
        "data_digest": train.digest,
        "validation": {name: load_tensors(path)[1]["figures"] for name, path in (("vae", vae), ("base", base), ("twin", twin))},
        "statement_counts": {s: counts[s] for s in known},
        "licence": "weights CC BY 4.0; PTB-XL: Wagner et al. 2022, doi:10.13026/kfzx-aw45, CC BY 4.0",
    }
    parts = files.build(config, replace(table, statements=tuple(known), raw=table.raw[[table.statements.index(s) for s in known]]), facts)
    parts.codec.load_state_dict(load_codec(vae)[0].state_dict())
    parts.extractor.load_state_dict(load_extractor(base).state_dict())
    parts.network.load_state_dict(tensors)
    files.save(parts, output, half=half)
    typer.echo(f"{output}: {len(known)} statements, {(output / 'weights.safetensors').stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    app()
