"""Embed report statements once, so that generating needs no text encoder.

Writes OUTPUT/statements.safetensors and OUTPUT/statements.json, which `StatementTable.load("OUTPUT/statements")` reads.
"""

import argparse
import time
from pathlib import Path

from ecgtwin.text import CachedEncoder, NomicEncoder, SentenceTransformerEncoder, StatementTable
from ecgtwin.text.statements import SCP, STATEMENTS


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", required=True, metavar="PATH", help="folder of a sentence encoder (safetensors)")
    parser.add_argument("--output", required=True, type=Path, metavar="FOLDER", help="where the table goes")
    parser.add_argument("--kind", choices=("sentence-transformers", "nomic"), default="sentence-transformers")
    parser.add_argument("--name", help="what to call the encoder (default: its folder's name)")
    parser.add_argument("--width", type=int, help="keep only the first so many coordinates (Matryoshka models)")
    parser.add_argument("--vocabulary", choices=("scp", "all"), default="scp", help="71 of PTB-XL (default), or all")
    parser.add_argument("--statements", type=Path, metavar="FILE", help="one statement a line, not --vocabulary")
    parser.add_argument("--shrinkage", type=float, default=0.05, help="of the whitening, in (0, 1] (default 0.05)")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="keep raw vectors here for the next time")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    if given.statements:
        lines = given.statements.read_text(encoding="utf-8").splitlines()
        statements = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    else:
        statements = tuple(SCP.values()) if given.vocabulary == "scp" else tuple(s.name for s in STATEMENTS)
    if given.kind == "nomic":
        encoder = NomicEncoder(given.encoder, given.width or 768, name=given.name)
    else:
        encoder = SentenceTransformerEncoder(given.encoder, matryoshka=given.width, name=given.name)
    start = time.perf_counter()
    source = CachedEncoder(encoder, given.cache) if given.cache else encoder
    table = StatementTable.build(statements, source, shrinkage=given.shrinkage)
    given.output.mkdir(parents=True, exist_ok=True)
    table.save(given.output / "statements")
    seconds = time.perf_counter() - start
    print(f"{len(table)} statements x {table.width} by {table.encoder} ({table.fingerprint[:12]}) in {seconds:.1f} s")
    print(f"wrote {given.output / 'statements'}.safetensors and .json")


if __name__ == "__main__":
    main()
