"""Run the notebooks of the documentation and keep what they show: python scripts/run_notebooks.py

Those of docs/notebooks, or the ones named. They need the extra `docs`, and no recording: their people are simulated.
"""

from pathlib import Path
from typing import Annotated

import nbformat
import typer
from nbclient import NotebookClient

from ecgtwin.atomic import write_text

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "notebooks"


def main(
    notebooks: Annotated[list[Path] | None, typer.Argument(help="all of docs/notebooks if left out")] = None,
    timeout: Annotated[int, typer.Option(help="seconds for a cell")] = 1200,
) -> None:
    for path in notebooks or sorted(FOLDER.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        NotebookClient(notebook, timeout=timeout, resources={"metadata": {"path": str(path.parent)}}).execute()
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)  # when it ran is of no use to a reader, and differs each time
        write_text(path, nbformat.writes(notebook) + "\n")
        typer.echo(f"{path.name}: {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    typer.run(main)
