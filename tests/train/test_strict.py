"""Whatever stands in a YAML file, it becomes settings or one short ValueError."""

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecgtwin.train.strict import Strict, parse, read_yaml

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SCALARS = st.sampled_from([
    "1", "1e-4", "1.0e-4", ".nan", ".inf", "2026-11-21", "2026-99-99", "2026-11-21 10:00:00", "~", "yes", "0x1F",
    "!!binary aGk=", "!!set {a, b}", "!!python/object:os.system x", "'text'", "[1, 2]", "{a: 1}", "9" * 400, "&a [*a]",
    "*b", "- x", "\t", "é" * 400,
])  # fmt: skip
KEYS = st.sampled_from(
    ["steps", "inner", "lr", "1", "2026-01-01", "~", "[1, 2]", "? {a: b}\n", "'steps '", "yes", "x" * 500]
)


LAUGHS = "a: &a [1, 1]\n" + "\n".join(f"{c}: &{c} [{', '.join([f'*{b}'] * 9)}]" for b, c in pairwise("abcdefghi"))
"""Each line is nine times the one before: small in the file, without end once spelt out."""


class Inner(Strict):
    lr: float = 1.0


class Outer(Strict):
    steps: int = 1
    inner: Inner = Inner()


def read(path):
    """None where it is refused, with a message of bearable length."""
    try:
        return parse(Outer, read_yaml(path), "settings")
    except ValueError as error:
        assert 0 < len(str(error)) < 4000 and all(len(line) < 500 + len(str(path)) for line in str(error).splitlines())
        return None


@QUICK
@given(st.lists(st.tuples(KEYS, SCALARS), min_size=1, max_size=4))
def test_odd_keys_and_values(tmp_path, rows):
    path = tmp_path / "odd.yaml"
    path.write_text("\n".join(f"{key}: {value}" for key, value in rows), encoding="utf-8")
    read(path)


@QUICK
@given(st.binary(max_size=200))
def test_any_bytes(tmp_path, content):
    path = tmp_path / "bytes.yaml"
    path.write_bytes(content)
    read(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 5_000 + "]" * 5_000, "deep"),
        ("inner: " + "{a: " * 50 + "1" + "}" * 50, "deep"),
        ("steps: 2026-11-21", "a date"),
        ("1: 2", "key 1, a int"),
        ("steps: 2026-99-99", "not YAML"),
        (LAUGHS, "more than"),
        ("\n".join(f"key{k}: 1" for k in range(5000)), "mistakes"),
        ("steps: " + "x" * 5000, "steps"),
    ],
)  # fmt: skip
def test_what_no_configuration_is(tmp_path, text, words):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=words) as error:
        parse(Outer, read_yaml(path), "settings")
    assert len(str(error.value)) < 1500 + len(str(path))


def test_overrides_are_read_as_carefully(tmp_path):
    path = tmp_path / "good.yaml"
    path.write_text("steps: 2\n")
    assert parse(Outer, read_yaml(path, ["inner.lr=2.0"]), "settings").inner.lr == 2.0
    for wrong in ("inner.lr={a: [", "inner.lr=2026-01-01", "nonsense", "inner.lr=" + "[" * 3000):
        with pytest.raises(ValueError, match="override"):
            read_yaml(path, [wrong])
