"""Object HalBench: files with listed objects, whose stored figures come out, and plain captions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from seelevel.errors import InputError
from seelevel.scorers.files import Entry
from seelevel.scorers.objhal import score, score_files

DATA = Path(__file__).parents[2].parent / "shared" / "data"
real = pytest.mark.skipif(not (DATA / "objhal").is_dir(), reason="../shared/data/objhal is not there")
DECODERS = ("beam-search", "sampling-decoding")


def record(image: int, named: list[str], wrong: list[str], there: list[str], **more: Any) -> dict[str, Any]:
    words = {"mscoco_generated_words": named, "mscoco_hallucinated_words": [[w, w] for w in wrong]}
    return {"image_id": image, **words, "mscoco_gt_words": there, **more}


def entries(*records: dict[str, Any]) -> list[Entry]:
    return [Entry(r, f"answers, record {n}") for n, r in enumerate(records, 1)]


@real
@pytest.mark.parametrize("decoder", DECODERS)
def test_the_stored_figures_come_out(decoder: str) -> None:
    # `overall_metrics` of the file itself, which the public CHAIR script wrote
    file = DATA / "objhal" / f"kchaosun_{decoder}-eval-chair-300_answer.json"
    stored, found = json.loads(file.read_text())["overall_metrics"], score_files(file)
    assert (found["chair_s"], found["chair_i"], found["recall"]) == pytest.approx(
        (stored["CHAIRs"], stored["CHAIRi"], stored["Recall"])
    )
    assert (found["n"], found["repeated"], found["contradicting_ids"]) == (300, 0, [])


@real
@pytest.mark.parametrize("decoder", DECODERS)
def test_captions_alone_come_near_the_stored_figures(decoder: str) -> None:
    # the stored counts rest on NLTK's perceptron, whose tags differ from the shipped parser's in single words
    pytest.importorskip("spacy_lookups_data", reason="the extra wordnet is not installed")
    stored = score_files(DATA / "objhal" / f"kchaosun_{decoder}-eval-chair-300_answer.json")
    found = score_files(
        DATA / "objhal" / f"kchaosun_{decoder.replace('-', '_')}_objhal_bench_answer.jsonl",
        objects=DATA / "chair" / "coco2014_trainval_imid_to_objects.json",
        synonyms=DATA / "chair" / "synonyms_lisaanne.txt",
    )
    assert found["n"] == 300
    assert abs(found["chair_s"] - stored["chair_s"]) <= 0.01
    assert abs(found["chair_i"] - stored["chair_i"]) <= 0.005


@pytest.mark.unit
def test_three_descriptions_worked_out_by_hand() -> None:
    found = score(
        entries(
            record(1, ["dog", "cup", "dog"], ["dog", "dog"], ["cup", "cat"]),
            record(2, ["cup"], [], ["cup"]),
            record(3, [], [], ["cat"]),
        )
    )
    assert (found["chair_s"], found["chair_i"], found["recall"]) == (1 / 3, 2 / 4, 2 / 4)
    assert (found["chair_s_naming"], found["n"]) == (1 / 2, 3)


@pytest.mark.unit
def test_missing_doubled_and_contradicting_records_are_named() -> None:
    answers = entries(
        record(1, ["cup"], ["cup"], []), record(1, ["cup"], [], ["cup"]), record(2, [], [], [], metrics={"CHAIRs": 1})
    )
    found = score(answers, [Entry({"image_id": n}, "questions") for n in ("1", "2", "3")])
    assert (found["missing_ids"], found["repeated_ids"], found["contradicting_ids"]) == (["3"], ["1"], ["2"])


@pytest.mark.unit
@pytest.mark.parametrize("wrap", [lambda r: {"sentences": r}, lambda r: r])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_list_or_an_object_of_one_is_read_with_marks_and_other_line_ends(
    tmp_path: Path, wrap: Any, indent: int | None
) -> None:
    text = json.dumps(wrap([record(1, ["cup"], ["cup"], []), record(2, [], [], [])]), indent=indent)
    (tmp_path / "a.json").write_text("\ufeff" + text.replace("\n", "\r\n"), newline="")
    assert score_files(tmp_path / "a.json")["chair_s"] == 1 / 2


@pytest.mark.unit
def test_captions_need_objects_and_synonyms(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"image_id": 1, "question": "Describe it.", "answer": "A dog with two cups."}')
    (tmp_path / "objects.json").write_text('{"1": ["cup"]}')
    (tmp_path / "synonyms.txt").write_text("dog\ncup, mug\n")
    with pytest.raises(InputError, match=r"line 1: no lists mscoco_generated_words .*--objects and --synonyms"):
        score_files(tmp_path / "a.jsonl")
    with pytest.raises(InputError, match="both --objects and --synonyms"):
        score_files(tmp_path / "a.jsonl", objects=tmp_path / "objects.json")
    found = score_files(
        tmp_path / "a.jsonl",
        objects=tmp_path / "objects.json",
        synonyms=tmp_path / "synonyms.txt",
        lemmatizer="singularize",
    )
    assert (found["chair_s"], found["chair_i"], found["recall"]) == (1.0, 1 / 2, 1.0)
