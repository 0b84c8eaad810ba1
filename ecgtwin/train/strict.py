"""Typed, strict configuration from YAML: an unknown key is an error that names the nearest valid one.

YAML reads `1e-4` as text; strict types catch it, and the message says what to write instead.
"""

import difflib
import json
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

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
        tree = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from None
    if not isinstance(tree, dict):
        raise ValueError(f"{path} holds a {type(tree).__name__}: expected sections with keys")
    for item in overrides or []:
        key, sign, value = item.partition("=")
        if not sign:
            raise ValueError(f"override '{item}': expected section.key=value, for instance data.zoom=1.25")
        *sections, name = key.strip().split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise ValueError(f"override '{item}': {section} is a value, not a section")
        place[name] = yaml.safe_load(value)
    return tree


def parse(kind: type[M], tree: dict[str, Any], where: str) -> M:
    """Validate, with messages that say what to write instead. where: the file, for the messages."""
    try:
        # JSON mode lets lists stand for tuples, which YAML cannot write, and stays strict about everything else.
        return kind.model_validate_json(json.dumps(tree))
    except ValidationError as error:
        lines = [f"{where}: {error.error_count()} mistakes" if error.error_count() > 1 else f"{where}:"]
        for mistake in error.errors():
            place = mistake["loc"]
            line = f"  {'.'.join(map(str, place))}: {mistake['msg']}, got {mistake['input']!r}"
            if mistake["type"] == "extra_forbidden":
                near = difflib.get_close_matches(str(place[-1]), names_at(kind, place[:-1]), n=1)
                line = f"  {'.'.join(map(str, place))}: unknown key" + (f"; did you mean '{near[0]}'?" if near else "")
            elif isinstance(mistake["input"], str) and "number" in mistake["msg"]:
                line += " (YAML reads 1e-4 as text: write 1.0e-4)"
            lines.append(line)
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
