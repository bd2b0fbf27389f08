"""The benchmark of the check: texts of the length it says, and the form of its JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import check
from tests.language.tiny_clip import save_tiny_clip


def test_texts_are_different_whole_sentences_of_about_a_hundred_words() -> None:
    captions = [("a", "A dog sits on a bed. It is red."), ("b", "Two cats\nlook at a small bird in the garden.")]
    texts = check.make_texts(captions, 5)
    assert len(set(texts)) == 5
    assert all(check.WORDS <= len(text.split()) < check.WORDS + 12 for text in texts)
    sentences = {"A dog sits on a bed", "It is red", "Two cats look at a small bird in the garden"}
    assert {sentence.strip() for text in texts for sentence in text.split(".") if sentence.strip()} == sentences


def test_the_last_line_is_one_json_object_of_settings_results_and_the_ratio(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = save_tiny_clip(tmp_path / "clip", ["a", "dog", "red", "cup"], positions=32)
    sizes = ["--ladders", "2", "--k", "3", "--captions", "20", "--answers", "30", "--repeats", "1"]
    check.main([*sizes, "--encoder", str(encoder), "--data", str(tmp_path), "--json"])
    report = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert report["settings"]["real_captions"] is False
    found = {result["what"]: result for result in report["results"]}
    assert list(found) == ["parse", "encode", "check", "chair singularize", "chair wordnet", "pope"]
    assert all(result["seconds"] > 0 for result in found.values())
    assert found["parse"]["texts"] == 6
    assert report["ratio"] == pytest.approx(
        found["check"]["seconds"] / (found["parse"]["seconds"] + found["encode"]["seconds"])
    )
