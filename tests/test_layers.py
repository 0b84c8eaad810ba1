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


def layer(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "ecgtwin" and parts[1] in ALLOWED else None


def files():
    return [p for name in ALLOWED for p in sorted((PACKAGE / name).rglob("*.py"))]


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_stay_inside_the_layers(path):
    own = path.relative_to(PACKAGE).parts[0]
    for name, _ in imports(path):
        other = layer(name)
        assert other in (None, own) or other in ALLOWED[own], f"{own} may not import {name}"
        for banned in FORBIDDEN.get(own, ()):
            assert name != banned and not name.startswith(banned + "."), f"{own} may not import {name}"


def test_the_test_sees_a_violation(tmp_path):
    path = PACKAGE / "diffusion" / "schedule.py"
    assert ("torch.Tensor", True) in imports(path)
    assert layer("ecgtwin.twin.condition.Condition") == "twin"
