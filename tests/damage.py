"""How files are damaged in tests: odd values in every place of a JSON tree, files cut and bytes changed."""

from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([10**9, 2**70, -1, 0.5, float("nan"), float("inf"), 1e300]),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=3),
    st.just({"x": 1}),
    st.just("y" * 5000),
    st.just(list(range(3000))),
)


def places(tree, path=()):
    """Paths to every value of a JSON tree."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree[:2]) if isinstance(tree, list) else ()
    return [path, *(found for key, value in inner for found in places(value, (*path, key)))]


def changed(tree, path, value):
    if not path:
        return value
    tree = list(tree) if isinstance(tree, list) else dict(tree)
    tree[path[0]] = changed(tree[path[0]], path[1:], value)
    return tree


def refused_or_read(load: Callable[[Path], object], folder: Path) -> bool:
    """Whether a folder loads; what is raised is one kind of error, and short."""
    try:
        load(folder)
    except (ValueError, FileNotFoundError) as error:
        assert len(str(error)) < 600 + len(str(folder)) * 2, str(error)[:1000]
        return False
    return True


def cut_or_changed(data: st.DataObject, path: Path) -> bool:
    """Cut a file of tensors short, or change three of its bytes, of its header mostly; whether it was cut."""
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
        return True
    for _ in range(3):
        content[data.draw(st.integers(0, min(2000, len(content) - 1)))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    return False
