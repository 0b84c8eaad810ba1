"""Who may import whom: read from the syntax trees, so that the core stays free of ECGs and images by construction."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "ecgtwin"
ALLOWED = {
    "diffusion": set(),
    "nets": set(),
    "ecg": set(),
    "text": set(),
    "train": set(),
    "metrics": {"ecg"},
    "twin": {"diffusion", "nets", "ecg", "text", "train"},
    "training": {"twin", "diffusion", "nets", "ecg", "text", "train", "metrics"},
    "evaluation": {"twin", "diffusion", "nets", "ecg", "text", "train", "metrics"},
    "image": {"diffusion", "nets", "metrics", "train", "text"},
    "cli": {"diffusion", "nets", "ecg", "text", "train", "metrics", "twin", "training", "evaluation", "image"},
}
"""Rooms and which others they may import, beside `atomic`. Nothing imports `cli` but scripts."""
FORBIDDEN = {"diffusion": {"torch.nn"}, "ecg": {"torch"}, "nets": set()}


def imports(path: Path) -> list[tuple[str, bool]]:
    """Absolute names of everything that a file imports, and whether at module level."""
    tree = ast.parse(path.read_text())
    package = ["ecgtwin", *path.relative_to(PACKAGE).parent.parts]
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node in tree.body) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            prefix = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*prefix, *([node.module] if node.module else [])])
            found += [(f"{base}.{alias.name}", node in tree.body) for alias in node.names]
    return found


FREE = {"atomic"}
"""Modules at the top that every room may import."""


def layer(name: str) -> str | None:
    """The room of an absolute name, None where it is not ours or free for all. A name straight from
    `ecgtwin` is a room of its own."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "ecgtwin" and parts[1] not in FREE else None


def files():
    return [p for name in ALLOWED for p in sorted((PACKAGE / name).rglob("*.py"))]


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_stay_inside_the_layers(path):
    own = path.relative_to(PACKAGE).parts[0]
    for name, _ in imports(path):
        other = layer(name)
        if (own, name) == ("cli", "ecgtwin.__version__"):
            continue
        assert other in (None, own) or other in ALLOWED[own], f"{own} may not import {name}"
        for banned in FORBIDDEN.get(own, ()):
            assert name != banned and not name.startswith(banned + "."), f"{own} may not import {name}"


def test_every_room_is_listed():
    rooms = {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    assert rooms == set(ALLOWED) and not any("cli" in others for others in ALLOWED.values())
    assert {p.stem for p in PACKAGE.glob("*.py")} == {"__init__", "__main__", *FREE}


def test_no_import_goes_in_a_circle():
    modules = {
        ".".join(("ecgtwin", *p.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): p
        for p in files()
    }

    def module(name: str) -> str | None:
        parts = name.split(".")
        found = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
        return next((one for one in found if one in modules), None)

    edges = {
        name: {m for n, top in imports(path) if top and (m := module(n)) not in (None, name)}
        for name, path in modules.items()
    }
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way[way.index(name) :], name))
        if name not in done:
            for other in edges[name]:
                visit(other, (*way, name))
            done.add(name)

    for name in modules:
        visit(name, ())


def test_the_test_sees_a_violation(tmp_path):
    path = PACKAGE / "diffusion" / "schedule.py"
    assert ("torch.Tensor", True) in imports(path)
    assert layer("ecgtwin.twin.condition.Condition") == "twin" and layer("ecgtwin.ECG") == "ECG"
    assert layer("ecgtwin.atomic.write_text") is None
