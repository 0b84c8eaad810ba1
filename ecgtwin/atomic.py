"""The one way to write a file: beside its place, to the disk, then renamed. Readers see the old file or the
whole new one, never half."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_file(path: str | Path, write: Callable[[Path], Any]) -> Path:
    """Call `write(temporary path)`, which ends like `path`, then put the file in its place;
    a failure leaves the old one.

    Folders on the way are made. Returns `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(6)}.part{path.suffix}")
    try:
        write(temporary)
        to_disk(temporary)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # safetensors writes for its owner alone
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def write_text(path: str | Path, text: str) -> Path:
    """Write UTF-8 text, as `write_file` does."""
    return write_file(path, lambda p: p.write_text(text, encoding="utf-8"))


def write_files(folder: str | Path, write: Callable[[Path], Any]) -> list[Path]:
    """Call `write(temporary folder)`, then move the files that it made there to `folder`, in the order of their names.

    A failure while writing leaves `folder` as it was.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".part-", dir=folder))
    try:
        write(temporary)
        made = sorted(temporary.iterdir())
        for path in made:
            to_disk(path)
        return [path.replace(folder / path.name) for path in made]
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def to_disk(path: Path) -> None:
    """Wait until a file's bytes are on the disk, so that a loss of power cannot leave a renamed but empty file."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
