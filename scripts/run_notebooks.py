"""Run the notebooks of the documentation and keep what they show: python scripts/run_notebooks.py [--json]

Those of docs/notebooks, or the ones named. They need the extra `docs`, and no recording: their people are simulated.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from ecgtwin.atomic import write_text
from ecgtwin.cli.options import Json

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "notebooks"
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    notebooks: Annotated[list[Path] | None, typer.Argument(help="all of docs/notebooks if left out")] = None,
    timeout: Annotated[int, typer.Option(help="seconds for a cell")] = 1200,
    as_json: Json = False,
) -> None:
    import nbformat
    from nbclient import NotebookClient

    sizes = {}
    for path in notebooks or sorted(FOLDER.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        NotebookClient(notebook, timeout=timeout, resources={"metadata": {"path": str(path.parent)}}).execute()
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)  # when it ran is of no use to a reader, and differs each time
        write_text(path, nbformat.writes(notebook) + "\n")
        sizes[path.name] = path.stat().st_size
    typer.echo(json.dumps(sizes) if as_json else "\n".join(f"{k}: {v / 1024:.0f} KiB" for k, v in sizes.items()))


if __name__ == "__main__":
    app()
