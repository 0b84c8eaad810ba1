"""Put the three stages' weights together into one model folder that `ECGTwin.from_pretrained` loads.

python scripts/export_model.py --store STORE --vae runs/vae/weights.safetensors --base runs/base/weights.safetensors \
    --denoiser runs/denoiser/weights.safetensors --output model --half
"""

from pathlib import Path
from typing import Annotated

import typer

from ecgtwin.cli import train as o
from ecgtwin.cli.errors import refusing
from ecgtwin.cli.options import tell

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    store: o.Stores,
    vae: o.Vae,
    base: o.Base,
    denoiser: Annotated[Path, typer.Option(help=f"weights.safetensors of train_denoiser.py, {o.MODEL}")],
    output: Annotated[Path, typer.Option(help="the model folder to write")],
    statements: o.Statements = None,
    least: Annotated[int, typer.Option(help="training ECGs that a statement needs to count as known", min=1)] = 5,
    half: Annotated[bool, typer.Option("--half", help="store float16")] = False,
    as_json: o.Json = False,
) -> None:
    with refusing():
        from ecgtwin.ecg.store import Store
        from ecgtwin.ecg.store.recordings import Recordings
        from ecgtwin.text.table import StatementTable
        from ecgtwin.training.export import export
        from ecgtwin.twin.model import DEFAULT

        recordings = Recordings.of([Store.open(folder) for folder in store])
        table = StatementTable.load(statements or DEFAULT / "statements")
        parts = export(recordings, table, vae, base, denoiser, output, least=least, half=half)
        size = (output / "weights.safetensors").stat().st_size / 2**20
        found = {"model": str(output), "statements": len(parts.table.statements), "mib": size}
        tell(found, f"{output}: {found['statements']} statements, {size:.1f} MiB", as_json)


if __name__ == "__main__":
    app()
