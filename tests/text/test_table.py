import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgtwin.text.statements import SCP
from ecgtwin.text.table import StatementTable, whiten

WIDTH = 96


class Words:
    """A bag of words, each a fixed random vector, on top of what all share: alike where words are, as real encoders."""

    name, width, fingerprint = "words", WIDTH, "f" * 64

    def encode(self, statements):
        def word(text):
            return np.random.default_rng(list(text.encode())).normal(size=WIDTH)

        return np.array([word("ecg") + sum(map(word, s.split())) / len(s.split()) for s in statements], np.float32)


@pytest.fixture(scope="module")
def table() -> StatementTable:
    return StatementTable.build(tuple(SCP.values()), Words())


def cosine(table, a, b, raw=False):
    rows = [table.statements.index(SCP[code]) for code in (a, b)]
    u, v = (table.raw if raw else table.vectors)[rows].astype(np.float64)
    return u @ v / np.linalg.norm(u) / np.linalg.norm(v)


def test_opposites_part_and_neighbours_stay_nearer_than_strangers(table):
    before, after = cosine(table, "CLBBB", "CRBBB", raw=True), cosine(table, "CLBBB", "CRBBB")
    assert before > 0.9 and after < 0.8
    assert after > 0.3 > abs(cosine(table, "CLBBB", "AFIB"))
    assert cosine(table, "CLBBB", "AFIB", raw=True) > 0.5


def test_vectors_have_unit_coordinates(table):
    np.testing.assert_allclose((table.vectors**2).mean(1), 1.0, rtol=1e-5)
    assert table.vectors.dtype == np.float32


def test_whitening_is_the_formula():
    raw = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32) * [1, 2, 3, 4, 5, 6] + 7
    centre, matrix = whiten(raw, 0.2)
    np.testing.assert_allclose(centre, raw.mean(0), rtol=1e-6)
    covariance = np.cov(raw, rowvar=False, bias=True)
    shrunk = 0.8 * covariance + 0.2 * np.trace(covariance) / 6 * np.eye(6)
    np.testing.assert_allclose(matrix @ shrunk @ matrix, np.eye(6), atol=1e-5)
    np.testing.assert_allclose(matrix, matrix.T)


def test_full_shrinkage_only_centres():
    table = StatementTable.build(tuple(SCP.values()), Words(), shrinkage=1.0)
    centred = table.raw.astype(np.float64) - table.raw.mean(0, dtype=np.float64)
    centred *= np.sqrt(WIDTH) / np.linalg.norm(centred, axis=1, keepdims=True)
    np.testing.assert_allclose(table.vectors, centred, atol=1e-4)


def test_lookup(table):
    vectors = table.lookup(["AF", "complete left bundle branch block", "atrial fibrillation"])
    assert vectors.shape == (3, WIDTH) and vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors[0], vectors[2])
    np.testing.assert_array_equal(vectors[1], table.vectors[table.statements.index(SCP["CLBBB"])])
    assert table.lookup([]).shape == (0, WIDTH)
    with pytest.raises(ValueError, match="nearest known: atrial fibrillation"):
        table.lookup(["atrial fibrilation"])
    with pytest.raises(TypeError, match="sequence"):
        table.lookup("AF")


def test_lookup_hands_out_copies(table):
    vectors = table.lookup(["AF"])
    vectors += 1
    assert not np.array_equal(vectors, table.lookup(["AF"]))
    with pytest.raises(ValueError, match="read-only"):
        table.vectors[0] = 0


def test_statements_outside_the_table_are_transformed_alike(table):
    np.testing.assert_array_equal(table.transform(table.raw[:3]), table.vectors[:3])
    outside = table.transform(Words().encode(["entirely new words"]))
    np.testing.assert_allclose((outside**2).mean(), 1.0, rtol=1e-5)


def test_save_and_load_are_inverse(table, tmp_path):
    table.save(tmp_path / "statements")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["statements.json", "statements.safetensors"]
    for name in ("statements", "statements.json", "statements.safetensors"):
        again = StatementTable.load(tmp_path / name)
        assert again.description() == table.description()
        for field, array in table.arrays().items():
            np.testing.assert_array_equal(again.arrays()[field], array)
        np.testing.assert_array_equal(again.vectors, table.vectors)


def test_arrays_and_description_are_the_whole_table(table):
    again = StatementTable.restore(table.arrays(), json.loads(json.dumps(table.description())))
    np.testing.assert_array_equal(again.lookup(table.statements), table.vectors)


def test_damaged_tables_are_refused(table, tmp_path):
    arrays, description = table.arrays(), table.description()
    with pytest.raises(ValueError, match="lacks whitening"):
        StatementTable.restore({k: v for k, v in arrays.items() if k != "whitening"}, description)
    with pytest.raises(ValueError, match="format 2"):
        StatementTable.restore(arrays, description | {"format": 2})
    with pytest.raises(ValueError, match="raw .*expected finite numbers of shape"):
        StatementTable.restore(arrays, description | {"statements": description["statements"][:-1]})
    with pytest.raises(ValueError, match="finite"):
        StatementTable.restore(arrays | {"raw": arrays["raw"] * np.nan}, description)
    with pytest.raises(FileNotFoundError, match="statement table is"):
        StatementTable.load(tmp_path / "nowhere")


def test_another_encoder_is_refused(table):
    other = Words()
    table.check(other)
    other.fingerprint = "0" * 64
    with pytest.raises(ValueError, match="not the one of this model"):
        table.check(other)


@pytest.mark.parametrize("shrinkage", [0.0, -0.1, 1.1])
def test_bad_shrinkage(shrinkage):
    with pytest.raises(ValueError, match="shrinkage"):
        StatementTable.build(tuple(SCP.values()), Words(), shrinkage=shrinkage)


def test_too_few_or_equal_statements():
    with pytest.raises(ValueError, match="two or more"):
        StatementTable.build(("sinus rhythm",), Words())
    with pytest.raises(ValueError, match="same vector"):
        StatementTable.build(("a b", "b a"), Words())


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 40), st.floats(0.01, 1), st.integers(0, 99))
def test_any_vocabulary_gives_finite_vectors(n, shrinkage, seed):
    names = tuple(f"statement {seed} {i}" for i in range(n))
    table = StatementTable.build(names, Words(), shrinkage=shrinkage)
    np.testing.assert_allclose((table.vectors.astype(float) ** 2).mean(1), 1.0, rtol=1e-4)
