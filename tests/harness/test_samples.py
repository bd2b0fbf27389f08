"""Samples of lmms-eval: compared by their metrics, scored as a run's answers, and the way back to `from_log`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from seelevel.compare.figures import Comparisons, compare
from seelevel.compare.sides import open_run
from seelevel.compare.table import table
from seelevel.errors import InputError
from seelevel.evaluate import chosen_benchmarks, score_model
from seelevel.export.answers import export_answers
from seelevel.harness.matching import match
from seelevel.harness.samples import read_samples
from seelevel.models.base import Completion, ModelRef, Prompt, Sampling
from seelevel.scorers.files import read_entries
from seelevel.scorers.settings import EvaluateSettings
from seelevel.store import StageFolder, write_json
from seelevel.world.texts.datasets import write_evaluation
from tests.harness.made import sample, write, yes_no

pytestmark = pytest.mark.unit
QUESTIONS = [f"Is there a {kind} in the image?" for kind in ("cup", "dog", "bus", "cat")]
TARGETS = ("yes", "no", "yes", "no")


def pope_file(folder: Path, *answers: str, task: str = "pope", **more: Any) -> Path:
    rows = zip(QUESTIONS, answers, TARGETS, strict=True)
    return write(folder, task, [yes_no(n, q, answer, target, **more) for n, (q, answer, target) in enumerate(rows)])


def values(found: Comparisons, benchmark: str, figure: str) -> list[float | None]:
    """A figure of A and B, and the difference."""
    part = found.record()["benchmarks"][benchmark]
    return [*(part["figures"][figure][label]["value"] for label in "AB"), part["differences"][figure]["B"]["value"]]


def test_yes_and_no_are_counted_as_the_harness_counts_them(tmp_path: Path) -> None:
    one = pope_file(tmp_path / "one", "Yes", "no", "No", "There is none.")  # the last is wrong, and neither yes nor no
    two = pope_file(tmp_path / "two", "yes", "yes", "yes", "no")
    found = compare([str(one), str(two)])
    assert values(found, "pope", "accuracy") == [2 / 4, 3 / 4, 1 / 4]
    assert values(found, "pope", "precision") == [1.0, pytest.approx(2 / 3), pytest.approx(-1 / 3)]
    assert values(found, "pope", "recall") == [1 / 2, 1.0, 1 / 2]
    assert values(found, "pope", "f1")[:2] == [pytest.approx(2 / 3), pytest.approx(4 / 5)]
    assert values(found, "pope", "yes") == [1 / 4, 3 / 4, 1 / 2]
    # half of the questions are true; of A's answers 1 is yes and 2 are no, of B's 3 and 1
    assert values(found, "pope", "chance")[:2] == [(2 * 1 + 2 * 2) / 16, (2 * 3 + 2 * 1) / 16]
    assert values(found, "pope", "words") == [pytest.approx(6 / 4), 1.0, pytest.approx(-1 / 2)]
    test = found.record()["benchmarks"]["pope"]["mcnemar"]["B"]["all"]
    assert (test["right_in_first_only"], test["right_in_this_only"]) == (1, 2)
    assert "20261128_160000_samples_pope.jsonl" in table(found)


def test_an_unknown_number_is_a_mean_by_document_and_its_direction_comes_from_the_results(tmp_path: Path) -> None:
    def scored(name: str, *scores: Any) -> Path:
        rows = [sample(n, f"Question {n}?", "words", mine=s, more={"score": n}) for n, s in enumerate(scores)]
        return write(tmp_path / name, "task_of_mine", rows)

    one, two = scored("one", 1.0, 4, 2.5), scored("two", 2.0, 5, 3.5)
    found = compare([str(one), str(two)])
    assert values(found, "task_of_mine", "mine") == [2.5, 3.5, 1.0]
    assert values(found, "task_of_mine", "more") == [1.0, 1.0, 0.0]
    assert "✓" not in table(found).rpartition("\n")[0]
    for file in (one, two):
        results = {"higher_is_better": {"task_of_mine": {"mine": True}}}
        (file.parent / "20261128_160000_results.json").write_text(json.dumps(results))
    assert "+1.00 [+1.00, +1.00] ✓" in table(compare([str(one), str(two)]))


def test_chair_is_computed_from_the_objects_that_the_harness_logs(tmp_path: Path) -> None:
    def captions(name: str, *named: list[str]) -> Path:
        rows = []
        for n, pred in enumerate(named):
            logged = {"answer": ["cup", "dog"], "pred": pred, "image_id": 40 + n}
            metrics = {f"coco_cap_chair_{kind}": logged for kind in ("i", "s")}
            rows.append(sample(n, "Please describe this image in detail.", "A cup.", **metrics))
        return write(tmp_path / name, "coco_cap_chair", rows)

    found = compare([str(captions("one", ["cup", "bus"], ["dog"])), str(captions("two", ["cup", "cup", "dog"], []))])
    assert values(found, "coco_cap_chair", "chair_i") == [pytest.approx(1 / 3), 0.0, pytest.approx(-1 / 3)]
    assert values(found, "coco_cap_chair", "chair_s") == [1 / 2, 0.0, -1 / 2]
    assert values(found, "coco_cap_chair", "chair_recall") == [2 / 4, 2 / 4, 0.0]


def test_a_folder_is_all_tasks_of_a_model_and_tasks_that_one_lacks_are_named(tmp_path: Path) -> None:
    pope_file(tmp_path / "one", "yes", "no", "yes", "no")
    pope_file(tmp_path / "one", "yes", "no", "yes", "no", task="pope_adv")
    pope_file(tmp_path / "two", "yes", "yes", "yes", "no")
    found = compare([str(tmp_path / "one"), str(tmp_path / "two")])
    assert [benchmark.name for benchmark in found.benchmarks] == ["pope"]
    assert found.notes == ["pope_adv: left out; no answers in B"]


def test_documents_of_one_picture_are_resampled_together(tmp_path: Path) -> None:
    def files(name: str, *answers: str) -> Path:
        return pope_file(tmp_path / name, *answers, input_media=["a.png"])

    figure = compare([str(files("one", "yes", "no", "yes", "yes")), str(files("two", "yes", "no", "yes", "no"))])
    assert figure.record()["benchmarks"]["pope"]["figures"]["accuracy"]["A"]["low"] is None  # a single picture


def other_target(rows: list[dict[str, Any]]) -> None:
    rows[2]["target"] = "no"


def other_question(rows: list[dict[str, Any]]) -> None:
    rows[2]["input"] = "Is there a boat in the image?"


def no_document(rows: list[dict[str, Any]]) -> None:
    del rows[2]["doc_id"]


def document_twice(rows: list[dict[str, Any]]) -> None:
    rows[2]["doc_id"] = 1


def no_number(rows: list[dict[str, Any]]) -> None:
    for n, row in enumerate(rows):
        rows[n] = sample(row["doc_id"], row["input"], "yes", verdict={"said": "yes"})


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (other_target, "item '2' expects 'no'"),
        (other_question, "item '2' asks 'is there a boat in the image?'"),
        (no_document, "line 3: doc_id is None"),
        (document_twice, "line 3: doc_id 1 is in"),
        (no_number, "no metric is a number by document (verdict)"),
    ],
)
def test_samples_that_do_not_fit_are_refused_with_their_place(tmp_path: Path, spoil: Any, words: str) -> None:
    one = pope_file(tmp_path / "one", "yes", "no", "yes", "no")
    two = pope_file(tmp_path / "two", "yes", "no", "yes", "no")
    rows = [json.loads(line) for line in two.read_text().splitlines()]
    spoil(rows)
    write(two.parent, "pope", rows)
    with pytest.raises(InputError) as error:
        compare([str(one), str(two)])
    assert words in str(error.value)
    assert str(two) in str(error.value)


def test_a_file_that_is_no_samples_file_is_refused(tmp_path: Path) -> None:
    one = pope_file(tmp_path / "one", "yes", "no", "yes", "no")
    (tmp_path / "answers.jsonl").write_text("{}\n")
    with pytest.raises(InputError, match=r"answers\.jsonl: not a samples file of lmms-eval"):
        compare([str(one), str(tmp_path / "answers.jsonl")])


def test_two_files_of_one_task_in_a_folder_are_refused(tmp_path: Path) -> None:
    one = pope_file(tmp_path / "one", "yes", "no", "yes", "no")
    (one.parent / "20261129_000000_samples_pope.jsonl").write_text(one.read_text())
    with pytest.raises(InputError, match="two files of task pope"):
        compare([str(tmp_path / "one"), str(one)])


# -- beside a run -----------------------------------------------------------------------------------------------------


class Model:
    """Answers every yes-or-no question with yes, and describes a dog."""

    name = "made"

    def describe(self) -> str:
        return self.name

    def generate(self, prompts: list[Prompt], sampling: Sampling) -> list[Completion]:
        asked = [prompt.messages[-1]["content"] for prompt in prompts]
        return [Completion("Yes, there is." if "Is there" in text else "A dog.", 4, True) for text in asked]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that holds nothing but an evaluation of `Model` on six pictures of the world."""
    root = tmp_path_factory.mktemp("run")
    data = write_evaluation(root / "evaluation", "dev", 6)
    settings = EvaluateSettings(benchmarks=["chair", "pope"], data=str(data))
    stage = StageFolder(root / "evaluate", "0" * 16)
    stage.begin()
    model = ModelRef("made", f"{__name__}:Model")
    score_model(stage.path / "aligned", "aligned", model, chosen_benchmarks(settings, data), settings, None, root)
    write_json(root / "metrics.json", {"settings": {**settings.model_dump(mode="json"), "aligned": "made", "seed": 0}})
    stage.finish(questions={}, seconds=1.0, peak_bytes=0)
    return root


def asked(run: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "evaluation" / name).read_text().splitlines()]


def set_file(run: Path, folder: Path, name: str, answer: str) -> Path:
    """One set of POPE, asked by the harness with its own prompt, and answered the same everywhere."""
    questions = asked(run, f"pope/{name}.json")
    prompt = "\nAnswer the question using a single word or phrase."
    rows = [
        yes_no(n, q["text"] + prompt, answer, q["label"]) | {"pope_id": {"question_id": q["question_id"]}}
        for n, q in enumerate(questions)
    ]
    for row, question in zip(rows, questions, strict=True):
        row["pope_accuracy"]["question_id"] = str(question["question_id"])
    return write(folder, f"pope_{name}", rows)


def captions_file(run: Path, folder: Path, answer: str, **more: Any) -> Path:
    questions = asked(run, "chair/questions.jsonl")
    rows = [
        sample(n, q["text"], answer, words=2, shown={"image_id": q["image"]}) | more for n, q in enumerate(questions)
    ]
    return write(folder, "captions", rows)


def test_a_set_beside_a_run_is_scored_by_the_run_s_rule(run: Path, tmp_path: Path) -> None:
    popular = set_file(run, tmp_path, "popular", "No, there is not.")  # wrong everywhere by the harness's rule
    found = compare([str(run), str(popular)])
    part = found.record()["benchmarks"]["pope"]
    questions = len(asked(run, "pope/popular.json"))
    assert (part["items"], part["lacking"]) == (questions, {"A": 0, "B": 2 * questions})
    assert values(found, "pope", "pope_accuracy") == [0.5, 0.5, 0.0]
    assert values(found, "pope", "pope_yes") == [1.0, 0.0, -1.0]
    assert found.notes == ["chair: left out; no answers in B"]


def test_the_sets_of_a_folder_are_one_benchmark_beside_a_run(run: Path, tmp_path: Path) -> None:
    for name in ("random", "popular", "adversarial"):
        set_file(run, tmp_path / "logs", name, "No")
    captions_file(run, tmp_path / "logs", "A dog and a cup.")
    part = compare([str(run), str(tmp_path / "logs")]).record()["benchmarks"]
    assert {name: of["left_out"] for name, of in part.items()} == {"chair": 0, "pope": 0}


def test_two_tasks_that_answer_one_question_are_refused(run: Path, tmp_path: Path) -> None:
    set_file(run, tmp_path, "popular", "No")
    again = tmp_path / "20261128_160000_samples_again.jsonl"
    again.write_text((tmp_path / "20261128_160000_samples_pope_popular.jsonl").read_text())
    with pytest.raises(InputError, match="answers the same question; name one of the files"):
        compare([str(run), str(tmp_path)])


def test_evaluation_data_that_are_gone_are_named(run: Path, tmp_path: Path) -> None:
    file = set_file(run, tmp_path, "popular", "No")
    (run / "evaluation").rename(run / "away")
    try:
        with pytest.raises(InputError, match="its evaluation data"):
            compare([str(run), str(file)])
    finally:
        (run / "away").rename(run / "evaluation")


def test_captions_are_joined_by_their_pictures_and_scored_by_the_run_s_synonyms(run: Path, tmp_path: Path) -> None:
    same = captions_file(run, tmp_path, "A dog.")
    found = compare([str(run), str(same)])
    for figure in ("chair_i", "chair_s", "chair_recall", "words"):
        ours, theirs, difference = values(found, "chair", figure)
        assert (ours, difference) == (theirs, 0), figure


def test_captions_of_another_prompt_are_another_question(run: Path, tmp_path: Path) -> None:
    file = captions_file(run, tmp_path, "A dog.", input="Please describe this image in detail.")
    with pytest.raises(InputError, match=r"line 1: answers 'please describe this image in detail.' but item"):
        compare([str(run), str(file)])


def test_questions_that_are_all_alike_are_not_joined_by_their_order(tmp_path: Path) -> None:
    records = [{"id": f"a{n}", "image": f"a{n}.png", "question": "Describe the image."} for n in range(2)]
    rows = [sample(n, "Describe the image.", "A dog.", words=2) for n in range(2)]
    file = write(tmp_path, "captions", rows)
    with pytest.raises(InputError, match="line 1: all questions are alike"):
        match(records, read_samples(file))
    named = [row | {"shown": {"image": f"a{1 - n}.png"}} for n, row in enumerate(rows)]
    joined = match(records, read_samples(write(tmp_path, "captions", named)))
    assert [None if one is None else one.doc_id for one in joined] == [1, 0]


def test_samples_with_other_labels_answer_no_benchmark(run: Path, tmp_path: Path) -> None:
    file = set_file(run, tmp_path, "popular", "No")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    write(tmp_path, "pope_popular", [{**row, "target": "no"} for row in rows])
    with pytest.raises(InputError, match="target 'no', but item"):
        compare([str(run), str(file)])


def test_answers_are_written_as_the_harness_reads_them(run: Path, tmp_path: Path) -> None:
    like = [set_file(run, tmp_path, "popular", "A"), captions_file(run, tmp_path, "A")]
    side = open_run("A", str(run))
    counts = export_answers(side.run, side.side, like, tmp_path / "out")
    questions = len(asked(run, "pope/popular.json"))
    assert counts == {"pope_popular": questions, "captions": 6}
    log = json.loads((tmp_path / "out" / "pope_popular.json").read_text())
    assert log["model_configs"]["task"] == "pope_popular"
    assert log["args"]["limit"] is None
    assert [entry["doc_id"] for entry in log["logs"]] == list(range(questions))
    assert {entry["resps"][0][0] for entry in log["logs"]} == {"Yes, there is."}
    with pytest.raises(InputError, match="exists already"):
        export_answers(side.run, side.side, like, tmp_path / "out")


def test_a_document_without_an_answer_is_named(run: Path, tmp_path: Path) -> None:
    file = set_file(run, tmp_path, "popular", "A")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    stranger = yes_no(len(rows), "Is there a zebra in the image?", "A", "no")
    stranger["pope_accuracy"]["question_id"] = "9999"
    write(tmp_path, "pope_popular", [*rows, stranger])
    side = open_run("A", str(run))
    with pytest.raises(InputError, match=f"line {len(rows) + 1}"):
        export_answers(side.run, side.side, [file], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_samples_without_their_document_tell_the_picture(tmp_path: Path) -> None:
    rows = [
        sample(0, "Describe the image.", "A dog.", chair={"image_id": 42, "pred": []}),
        sample(1, "Describe the image.", "A cup.", words=2, input_media=["a/b.png"]),
    ]
    first, second = read_entries(write(tmp_path, "captions", rows))
    assert (first.record["image_id"], first.record["prompt"]) == (42, "Describe the image.")
    assert second.record["image"] == "a/b.png"
