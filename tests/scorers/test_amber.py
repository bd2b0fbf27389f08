"""AMBER on hand-made files, and on the real descriptions whose figures were published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seelevel.errors import InputError
from seelevel.language.vectors import similar_by
from seelevel.scorers.amber import Annotation, Data, description_item, question_totals, read_data, score, score_files
from seelevel.scorers.files import Entry

AMBER = Path(__file__).parents[2].parent / "shared" / "data" / "amber"
real = pytest.mark.skipif(not AMBER.is_dir(), reason="../shared/data/amber is not there")
pytest.importorskip("spacy_lookups_data", reason="the extra wordnet is not installed")
ANNOTATIONS = [
    {"id": 1, "type": "generative", "truth": ["dog", "road", "sofa"], "hallu": ["cat", "tree"]},
    {"id": 2, "type": "generative", "truth": ["tree"], "hallu": ["dog"]},
    {"id": 3, "type": "discriminative-hallucination", "truth": "no"},
    {"id": 4, "type": "discriminative-attribute-state", "truth": "yes"},
    {"id": 5, "type": "relation", "truth": "no"},
]
RELATIONS = {"dog": ["puppy"], "road": ["street"], "sofa": [], "cat": [], "tree": ["bush"], "couch": [], "camera": []}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "amber"
    folder.mkdir()
    (folder / "annotations.json").write_text(json.dumps(ANNOTATIONS))
    (folder / "relation.json").write_text(json.dumps(RELATIONS))
    (folder / "safe_words.txt").write_text("camera\n")
    return folder


def entries(*answers: tuple[int, Any]) -> list[Entry]:
    return [Entry({"id": n, "response": text}, f"answers, record {i}") for i, (n, text) in enumerate(answers, 1)]


@real
def test_the_published_figures_of_llava_come_out() -> None:
    # AMBER_results_llava7b_166.txt of the data: what the authors' script printed
    found = score_files(AMBER / "llava-v1.5-7b_generative_166.json", AMBER)
    assert [f"{100 * found[key]:.1f}" for key in ("chair", "cover", "hal", "cog")] == ["7.5", "50.9", "37.3", "3.2"]
    assert (found["n"], found["missing"], found["missing_ids"][0]) == (166, 1004 - 166, "167")


@real
def test_answers_that_are_the_truth_are_all_right() -> None:
    truth = [(a["id"], a["truth"].title()) for a in json.loads((AMBER / "annotations.json").read_text())[1004:]]
    found = score(entries(*truth), read_data(AMBER))
    assert found["kinds"]["discriminative"]["n"] == found["n"] == 14216
    assert {kind: f["accuracy"] for kind, f in found["kinds"].items()} == dict.fromkeys(found["kinds"], 1.0)
    assert [found["kinds"][k]["n"] for k in ("existence", "attribute", "relation")] == [4924, 7628, 1664]


@pytest.mark.unit
def test_two_descriptions_worked_out_by_hand(data: Path) -> None:
    # puppy, street, couch, camera, trees | dog. The couch is a sofa by similarity, the camera is safe. The tree and the
    # second description's dog are tempting and not there. Covered: dog, road, sofa of 3; none of 1.
    found = score(
        entries((1, "A puppy on the street sees a couch, a camera and trees."), (2, "There is a dog.")), read_data(data)
    )
    assert (found["mentions"], found["hallucinated_mentions"], found["descriptions"]) == (6, 2, 2)
    assert found["chair"] == 2 / 6
    assert found["cover"] == 3 / 4
    assert found["hal"] == 2 / 2
    assert found["cog"] == 2 / 3


@pytest.mark.unit
def test_a_tempting_word_similar_to_an_object_counts_as_both() -> None:
    annotation = Annotation("generative", objects=("dog",), tempting=("cat",))
    data = Data({}, {"dog": (), "cat": ()}, frozenset())
    alike = description_item(["cat"], annotation, data, similar_by(["cat dog"]))
    assert (alike["hallucinated"], alike["covered"], alike["tempted"]) == ([], 1, 1)
    near = description_item(["cat"], Annotation("generative", tempting=("dog",)), data, similar_by(["cat dog"]))
    assert (near["hallucinated"], near["tempted"]) == (["cat"], 1)
    alone = description_item(["cat"], annotation, data, similar_by(["cat dog"], "none"))
    assert (alone["hallucinated"], alone["covered"], alone["tempted"]) == (["cat"], 0, 1)


@pytest.mark.unit
def test_vectors_of_a_pipeline_decide_what_is_similar(tmp_path: Path) -> None:
    import spacy

    nlp = spacy.blank("en")
    for word, vector in (("dog", [1.0, 0.1]), ("hound", [1.0, 0.2]), ("tree", [0.0, 1.0])):
        nlp.vocab.set_vector(word, np.array(vector, dtype=np.float32))
    nlp.to_disk(tmp_path / "vectors")
    similar = similar_by([], str(tmp_path / "vectors"))
    assert similar("dog", "hound")
    assert not similar("dog", "tree")
    spacy.blank("en").to_disk(tmp_path / "none")
    with pytest.raises(InputError, match="has no word vectors"):
        similar_by([], str(tmp_path / "none"))


@pytest.mark.unit
def test_no_is_the_positive_class(data: Path) -> None:
    found = score(entries((3, "No"), (4, "No"), (5, "Yes")), read_data(data))["kinds"]
    assert found["discriminative"]["accuracy"] == 1 / 3
    assert found["discriminative"]["precision"] == found["discriminative"]["recall"] == 1 / 2
    assert list(found) == ["discriminative", "existence", "attribute", "state", "relation"]
    assert found["relation"]["recall"] == 0.0


@pytest.mark.unit
def test_the_published_f1_is_that_of_rounded_figures() -> None:
    # 2 of 3 and 2 of 3: 66.7 and 66.7 percent, and the constant of the authors' script
    pairs = [("no", "no"), ("no", "no"), ("no", "yes"), ("yes", "no")]
    assert question_totals(pairs, "published")["f1"] == 2 * 0.667 * 0.667 / (0.667 + 0.667 + 0.0001)
    assert question_totals(pairs, "published", "existence")["f1"] == 2 * 0.667 * 0.667 / (0.667 + 0.667 + 0.001)
    assert question_totals(pairs, "strict")["f1"] == 2 / 3


@pytest.mark.unit
@pytest.mark.parametrize("answer", ["No.", "no, there is not", "There is no cat", "NO", "<think>Yes?</think>No"])
def test_the_strict_rule_reads_answers_that_the_published_rule_counts_wrong(data: Path, answer: str) -> None:
    published = score(entries((3, answer)), read_data(data))
    assert (published["unparsable_ids"], published["kinds"]["existence"]["accuracy"]) == (["3"], 0.0)
    strict = score(entries((3, answer)), read_data(data), "strict")
    assert (strict["unparsable"], strict["kinds"]["existence"]["accuracy"]) == (0, 1.0)


@pytest.mark.unit
def test_missing_doubled_and_null_items_are_named(data: Path) -> None:
    answers = entries((1, None), (3, "No"), (3, "Yes"))
    published, strict = (score(answers, read_data(data), rule) for rule in ("published", "strict"))
    for found in (published, strict):
        assert (found["missing_ids"], found["repeated_ids"], found["unparsable_ids"]) == (["2"], ["3"], ["1"])
    assert published["kinds"]["existence"]["n"] == 2
    assert strict["kinds"]["existence"]["n"] == 1


@pytest.mark.unit
@pytest.mark.parametrize(
    "text",
    [
        '\ufeff[{"id": 3, "response": "No"}, {"id": 4, "response": "Yes"}]',
        '{"question_id": 3, "prompt": "Is there a cat?", "text": "No"}\r\n{"question_id": "4", "text": "Yes"}\r\n',
        '{"3": "No", "4": "Yes"}',
    ],
)
def test_lines_lists_and_mappings_are_read(data: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "answers.json").write_text(text, newline="")
    assert score_files(tmp_path / "answers.json", data)["kinds"]["discriminative"]["accuracy"] == 1.0


@pytest.mark.unit
def test_an_unknown_id_is_named_with_its_place(data: Path) -> None:
    with pytest.raises(InputError, match="answers, record 2: id '99' is not in AMBER"):
        score(entries((3, "No"), (99, "No")), read_data(data))


@pytest.mark.unit
def test_broken_data_files_are_named(data: Path) -> None:
    (data / "relation.json").write_text('{"dog": "puppy"}')
    with pytest.raises(InputError, match=r"relation\.json: one JSON object of lists"):
        read_data(data)
    (data / "annotations.json").write_text('[{"id": 1, "type": "other", "truth": "no"}]')
    with pytest.raises(InputError, match=r"annotations\.json, record 1: type 'other'"):
        read_data(data)
