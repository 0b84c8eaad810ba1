"""What store.json says of a store, and whether it can be so."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..leads import INDEPENDENT
from ..quality import FLAGS
from .columns import FORMAT

COLUMNS = (
    "patient",
    "time",
    "sex",
    "age",
    "heart_rate",
    "heart_rate_given",
    "flags",
    "split",
    "fold",
    "start",
    "valid",
    "hash",
    "print",
)
KINDS = {"time": "M"} | dict.fromkeys(
    (
        "patient",
        "sex",
        "flags",
        "split",
        "fold",
        "valid",
        "hash",
        "print",
        "text_key",
        "statements",
        "statement_offsets",
    ),
    "iu",
)
"""What kind of numbers a column holds; "f" for all others."""
TEXTS = ("name", "report", "codes", "patients")
"""What every store has."""


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _counts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(n, int) for n in value.values())


FACTS: dict[str, Callable[[Any], bool]] = {
    "ecgs": lambda v: type(v) is int and 0 <= v < 2**31,
    "samples": lambda v: type(v) is int and 0 < v < 2**31,
    "rate": lambda v: type(v) in (int, float) and 0 < v < 1e6,
    "seconds": lambda v: type(v) in (int, float) and 0 < v < 1e9,
    "leads": lambda v: v == list(INDEPENDENT),
    "source": lambda v: isinstance(v, str),
    "digest": lambda v: isinstance(v, str),
    "plan": lambda v: isinstance(v, str),
    "split_digest": lambda v: isinstance(v, str),
    "statements": _texts,
    "columns": _texts,
    "texts": _texts,
    "flags": lambda v: _counts(v) and set(v) <= set(FLAGS),
    "problems": _counts,
    "unmapped": _counts,
    "unreadable": lambda v: isinstance(v, dict) and _texts(list(v.values())),
}
"""What store.json must say, and whether a value can be that."""


def read_facts(folder: Path) -> dict[str, Any]:
    """The content of store.json.

    FileNotFoundError where there is no finished store, ValueError where it is damaged or of another format, or where
    the signals are shorter than it says.
    """
    path = folder / "store.json"
    if not path.is_file():
        begun = folder.with_name(folder.name + ".part").is_dir()
        advice = "its preparation was not finished: run the same `ecgtwin data prepare` again" if begun else (
            "a store is made by `ecgtwin data prepare`"
        )  # fmt: skip
        raise FileNotFoundError(f"no store at {folder}: {advice}")
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if facts["format"] != FORMAT:
            raise ValueError(
                f"{path} has format {facts['format']!r:.40}: this version reads format {FORMAT}; prepare it again"
            )
        wrong = [name for name, fits in FACTS.items() if not fits(facts[name])]
        missing = [name for name in COLUMNS if name not in facts["columns"]] + [
            n for n in TEXTS if n not in facts["texts"]
        ]
    except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        why = f"{type(error).__name__}: {error}"[:120]
        raise ValueError(f"{path} is damaged ({why}): prepare the store again") from None
    if wrong or missing:
        raise ValueError(f"{path} is damaged ({', '.join(wrong + missing)} wrong or missing): prepare the store again")
    expected = facts["ecgs"] * len(facts["leads"]) * facts["samples"] * 2
    signals = folder / "signals.npy"
    size = signals.stat().st_size if signals.is_file() else -1
    if size < expected:
        raise ValueError(f"{signals} has {size} bytes, {expected} and a header are expected: copy or prepare it again")
    return facts
