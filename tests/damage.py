"""How files are damaged in tests: odd values in every place of a JSON tree, files cut and bytes changed."""

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
