"""Typed, strict configuration from YAML: an unknown key is an error that names the nearest valid one.

YAML reads `1e-4` as text; strict types catch it, and the message says what to write instead.
"""

import difflib
import json
from pathlib import Path
from reprlib import repr as brief
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

DEEPEST, MOST_VALUES, MOST_MISTAKES = 20, 100_000, 10
"""Sections inside sections, values and told mistakes of one configuration, at most."""

M = TypeVar("M", bound=BaseModel)


class Strict(BaseModel):
    """A frozen group of settings that refuses unknown keys and converts no types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def read_yaml(path: str | Path, overrides: list[str] | None = None) -> dict[str, Any]:
    """A YAML file as a tree, with `section.key=value` overrides applied (values are YAML)."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no configuration at {path}")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not text in UTF-8") from None
    tree = from_yaml(text, str(path)) or {}
    if not isinstance(tree, dict):
        raise ValueError(f"{path} holds a {type(tree).__name__}: expected sections with keys")
    return overridden(tree, overrides)


def overridden(tree: dict[str, Any], overrides: list[str] | None) -> dict[str, Any]:
    """A tree with `section.key=value` overrides applied, in place."""
    for item in overrides or []:
        key, sign, value = item.partition("=")
        if not sign:
            raise ValueError(f"override '{shortened(item)}': expected section.key=value, for instance data.zoom=1.25")
        *sections, name = key.strip().split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise ValueError(f"override '{shortened(item)}': {section} is a value, not a section")
        place[name] = from_yaml(value, f"override '{shortened(item)}'")
    return tree


def from_yaml(text: str, where: str) -> Any:
    """The values of a YAML text; ValueError for what is none, or what no configuration holds."""
    try:
        tree = yaml.safe_load(text)
    except RecursionError:
        raise ValueError(f"{where} is nested too deeply: expected sections with keys") from None
    except (
        yaml.YAMLError,
        ValueError,
        TypeError,
        OverflowError,
    ) as error:  # YAML also makes dates, which may not exist
        raise ValueError(f"{where} is not YAML: {shortened(str(error))}") from None
    plain(tree, where)
    return tree


def plain(tree: Any, where: str) -> None:
    """ValueError unless a tree is of texts, numbers, truth values, lists and sections with texts as
    keys, and of bearable size."""
    layer, seen = [tree], 0
    for _ in range(DEEPEST):
        seen += len(layer)
        if seen > MOST_VALUES:
            raise ValueError(f"{where} holds more than {MOST_VALUES} values: expected a configuration")
        below = []
        for value in layer:
            if isinstance(value, dict):
                odd = [key for key in value if not isinstance(key, str)]
                if odd:
                    raise ValueError(
                        f"{where}: key {brief(odd[0])}, a {type(odd[0]).__name__}: expected a name; put it in quotes"
                    )
                below += value.values()
            elif isinstance(value, list | tuple):
                below += value
            elif not isinstance(value, str | bool | int | float | None):
                raise ValueError(
                    f"{where}: {brief(value)}, a {type(value).__name__}: expected a number or a text; put a "
                    "text in quotes"
                )
            elif isinstance(value, int) and abs(value) >= 2**63:
                raise ValueError(f"{where}: a number of more than 63 bits")
        layer = below
        if not layer:
            return
    raise ValueError(f"{where} is nested more than {DEEPEST} deep: expected sections with keys")


def shortened(text: str) -> str:
    """On one line of at most 300 characters: an input may be megabytes."""
    text = " ".join(text.split())
    return text if len(text) <= 300 else text[:298] + " …"


def parse(kind: type[M], tree: dict[str, Any], where: str) -> M:
    """Validate, with messages that say what to write instead. where: the file, for the messages."""
    try:
        # JSON mode lets lists stand for tuples, which YAML cannot write, and stays strict about everything else.
        plain(tree, where)
        return kind.model_validate_json(json.dumps(tree))
    except ValidationError as error:
        lines = [f"{where}: {error.error_count()} mistakes" if error.error_count() > 1 else f"{where}:"]
        for mistake in error.errors()[:MOST_MISTAKES]:
            place = mistake["loc"]
            line = f"  {'.'.join(map(str, place))}: {mistake['msg']}, got {brief(mistake['input'])}"
            if mistake["type"] == "extra_forbidden":
                near = difflib.get_close_matches(str(place[-1]), names_at(kind, place[:-1]), n=1)
                line = f"  {'.'.join(map(str, place))}: unknown key" + (f"; did you mean '{near[0]}'?" if near else "")
            elif isinstance(mistake["input"], str) and "number" in mistake["msg"]:
                line += " (YAML reads 1e-4 as text: write 1.0e-4)"
            lines.append(line if len(line) <= 300 else line[:298] + " …")
        lines += ["  …"] * (error.error_count() > MOST_MISTAKES)
        raise ValueError("\n".join(lines)) from None


def names_at(kind: type[BaseModel], place: tuple) -> list[str]:
    """Valid keys at a place in a tree of models; where a section has several forms, its tag is part of the place."""
    forms = [kind]
    for part in map(str, place):
        fields = [form.model_fields[part] for form in forms if part in form.model_fields]
        if fields:
            found = [inner for field in fields for inner in (field.annotation, *get_args(field.annotation))]
            forms = [f for f in found if isinstance(f, type) and issubclass(f, BaseModel)]
        else:
            forms = [f for f in forms if any(part in get_args(field.annotation) for field in f.model_fields.values())]
    return [name for form in forms for name in form.model_fields]
