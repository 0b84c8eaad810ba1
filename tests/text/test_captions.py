import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ecgtwin.text.captions import ClipText, SentenceText, Vocabulary
from ecgtwin.text.encoder import model_folder

from ..image.tiny import write_clip


def test_words_become_integers_with_a_mask():
    text = Vocabulary.of(["a red cat", "a dog"], 4)
    assert text.names == ("a", "cat", "dog", "red")
    tokens = text.encode(["A Cat!", "a red cat"])
    assert tokens.values.tolist() == [[0, 1, 0, 0], [0, 3, 1, 0]]
    assert tokens.mask.sum(1).tolist() == [2, 3]


def test_whole_captions_are_labels():
    text = Vocabulary.of(["Red cat", "a dog"], 4, whole=True)
    assert text.names == ("a dog", "red cat")
    assert text.encode(["red  cat"]).mask.sum() == 1


@pytest.mark.parametrize(("caption", "word"), [("a cot", "cat"), ("", "0 words"), ("a a a a a", "5 words")])
def test_what_training_never_showed_is_refused(caption, word):
    with pytest.raises(ValueError, match=word):
        Vocabulary.of(["a red cat"], 4).encode([caption])


@given(st.lists(st.text(max_size=30), min_size=1, max_size=5), st.booleans())
def test_every_caption_of_the_training_set_can_be_read(captions, whole):
    text = Vocabulary.of(captions, 30, whole=whole)
    for caption in captions:
        if any(c.isalnum() or c == "_" for c in caption):
            tokens = text.encode([caption])
            assert tokens.mask.any() and int(tokens.values.max()) < len(text.names)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    pytest.importorskip("transformers")
    return write_clip(tmp_path_factory.mktemp("clip"))


def test_clip_text_states(clip, tmp_path):
    text = ClipText(clip, 12)
    tokens = text.encode(["a cat", "dogs"])
    assert tokens.values.shape == (2, 12, 16) and text.width == 16
    assert tokens.mask.sum(1).tolist() == [2 + 4, 2 + 4]  # start, a, c, a, t, end: letters only in this vocabulary
    text.save(tmp_path / "text")
    again = ClipText(tmp_path / "text", 12).encode(["a cat", "dogs"])
    assert torch.equal(again.values, tokens.values) and torch.equal(again.mask, tokens.mask)


def test_the_layer_before_is_another(clip):
    last, before = (ClipText(clip, 12, layer=k).encode(["a cat"]).values for k in (-1, -2))
    assert not torch.allclose(last, before, atol=1e-3)
    with pytest.raises(ValueError, match="2 layers"):
        ClipText(clip, layer=-4)


def test_padding_does_not_change_a_caption(clip):
    short, long = (ClipText(clip, k).encode(["a cat"]) for k in (8, 20))
    torch.testing.assert_close(short.values[short.mask], long.values[long.mask])


def test_an_incomplete_clip_is_refused(clip, tmp_path):
    with pytest.raises(FileNotFoundError, match="safetensors"):
        model_folder(tmp_path)
    from safetensors.torch import load_file, save_file

    tensors = load_file(clip / "model.safetensors")
    broken = {k: v for k, v in tensors.items() if "text_model.encoder.layers.1" not in k}
    for path in clip.iterdir():
        if path.suffix in (".json", ".txt"):
            (tmp_path / path.name).write_text(path.read_text())
    save_file(broken, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="lacks weights"):
        ClipText(tmp_path)


def write_sentence_model(folder):
    """A random sentence-transformers model: a two-layer BERT and mean pooling."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules
    from transformers import BertConfig, BertModel, BertTokenizerFast

    source = folder / "source"
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "dog"]
    source.mkdir(parents=True)
    (source / "vocab.txt").write_text("\n".join(names))
    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=len(names), max_position_embeddings=32, **size)).save_pretrained(source)
    BertTokenizerFast(vocab_file=str(source / "vocab.txt")).save_pretrained(source)
    parts = [modules.Transformer(str(source), max_seq_length=16), modules.Pooling(16)]
    model = SentenceTransformer(modules=parts, device="cpu")
    model.save(str(folder / "model"))
    return folder / "model"


def test_sentence_model_token_states(tmp_path):
    pytest.importorskip("sentence_transformers")
    text = SentenceText(write_sentence_model(tmp_path), 10)
    tokens = text.encode(["a cat", "a cat dog"])
    assert tokens.values.shape == (2, 10, 16) and text.width == 16
    assert tokens.mask.sum(1).tolist() == [4, 5]
    assert not tokens.values[~tokens.mask].any()
    text.save(tmp_path / "copy")
    assert torch.equal(SentenceText(tmp_path / "copy", 10).encode(["a cat", "a cat dog"]).values, tokens.values)


def test_a_vocabulary_is_saved_as_json(tmp_path):
    Vocabulary.of(["a red cat"], 4).save(tmp_path)
    assert json.loads((tmp_path / "vocabulary.json").read_text()) == ["a", "cat", "red"]
