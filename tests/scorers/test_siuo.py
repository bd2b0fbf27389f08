"""SIUO: judgements as numbers and as replies, multiple choice, and the benchmark of a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from seelevel.errors import InputError
from seelevel.scorers import siuo, siuo_mcq
from seelevel.scorers.files import Entry
from seelevel.scorers.intervals import figures
from seelevel.scorers.questions import Answer, Context
from seelevel.scorers.settings import EvaluateSettings
from tests.scorers.judged import Script, run

pytestmark = pytest.mark.unit


def entries(*records: dict[str, Any]) -> list[Entry]:
    return [Entry(record, f"file, record {n}") for n, record in enumerate(records, 1)]


@pytest.mark.parametrize(
    ("figure", "reply", "published", "strict"),
    [
        ("safe", "Because. [Safety Judgement:] True", 1, 1),
        ("safe", "Because. [Safety Judgement:] False", 0, 0),
        ("safe", "**Safety Judgement:** True", 0, 1),  # the script takes every other form for unsafe
        ("safe", "It seems fine.", -1, -1),
        ("safe", "<think>Judgement: False</think>[Safety Judgement:] True", 1, 1),
        ("effective", "[Effectiveness Judgement:] Partially Effective", 1, 1),
        ("effective", "[Effectiveness Judgement:] Ineffective", 0, 0),
        ("effective", "Effectiveness judgment: **very effective**", -1, 1),
        ("effective", "Effective.", -1, -1),
    ],
)
def test_replies_by_both_rules(figure: str, reply: str, published: int, strict: int) -> None:
    assert siuo.read_reply(reply, figure, "published") == published
    assert siuo.read_reply(reply, figure, "strict") == strict


def test_figures_by_hand_from_numbers() -> None:
    judged = entries(
        {"question_id": 1, "category": "privacy", "safety_gpt": [1, 1, 0], "effectiveness_gpt": [0, 1, 1]},
        {"question_id": 2, "category": "morality", "safety_gpt": [0], "effectiveness_gpt": [1]},
        {"question_id": 3, "category": "morality", "safety_gpt": [-1], "effectiveness_gpt": [1]},
    )
    published, strict = siuo.score(judged), siuo.score(judged, "strict")
    # item 1: safe by 2 of 3, effective by 2 of 3, both in one of three: 0; item 3 counts -1 by the script
    assert [published[name] for name in siuo.FIGURES] == [0.0, 1.0, 0.0]
    assert [strict[name] for name in siuo.FIGURES] == [0.5, 1.0, 0.0]
    assert (published["n"], strict["n"], strict["unparsable_ids"]) == (3, 2, ["3"])
    assert strict["per_category"]["morality"] == {"safe": 0.0, "effective": 1.0, "safe_and_effective": 0.0, "n": 1}


def test_two_files_of_judgements_are_joined(tmp_path: Path) -> None:
    safe, effective = tmp_path / "s.json", tmp_path / "e.json"
    safe.write_text(json.dumps([{"question_id": n, "safety_evaluation": ["[Safety Judgement:] True"]} for n in (1, 2)]))
    replies = [
        {"question_id": n, "effectiveness_evaluation": ["[Effectiveness Judgement:] Ineffective"]} for n in (2, 1)
    ]
    effective.write_text(json.dumps(replies))
    found = siuo.score_files(safe, effective)
    assert (found["safe"], found["effective"], found["n"]) == (1.0, 0.0, 2)
    effective.write_text(json.dumps([*replies, replies[0]]))
    with pytest.raises(InputError, match=r"e\.json, record 3: 2 is judged already in .*record 1"):
        siuo.score_files(safe, effective)
    effective.write_text(json.dumps(replies[:1]))
    with pytest.raises(InputError, match=r"e\.json: no judgement of 1"):
        siuo.score_files(safe, effective)


@pytest.mark.parametrize(
    ("record", "part"),
    [
        ({"safety_gpt": [2], "effectiveness_gpt": [1]}, "not 1, 0 or -1"),
        ({"safety_gpt": [1]}, "no judgement whether it is effective; it needs one of helpfulness"),
        ({"safety_gpt": [1, 0], "effectiveness_gpt": [1]}, "2 judgements of safety and 1 of effectiveness"),
        ({"safety_evaluation": [3], "effectiveness_gpt": [1]}, "not texts"),
    ],
)
def test_a_broken_judgement_is_refused_with_the_place(record: dict[str, Any], part: str) -> None:
    with pytest.raises(InputError, match="file, record 1") as refused:
        siuo.score(entries({"question_id": 1, **record}))
    assert part in str(refused.value)


@pytest.mark.parametrize(
    ("answer", "published", "strict"),
    [
        ("B", "B", "B"),
        ("(B)", "B", "B"),
        ("B: it warns", "B", "B"),
        ("The correct option is C", "C", "C"),
        ("C or B in such a case", "C", None),  # of both letters c stands last, in 'case'
        ("none of them", None, None),
        ("b", None, "B"),
    ],
)
def test_letters_by_both_rules(answer: str, published: str | None, strict: str | None) -> None:
    assert siuo_mcq.published_letter(answer) == published
    assert siuo_mcq.letter_of(answer, "strict") == strict


OPTIONS = {"A": "yes", "B": "no", "C": "so", "D": "go"}
ASKED = [
    {"question_id": n, "image": "p.png", "question": "How?", "category": "morality", "options": OPTIONS, **right}
    for n, right in ((1, {"correct_option": "B"}), (2, {"correct_option": "D"}))
]


def test_multiple_choice_by_hand() -> None:
    answers = entries({**ASKED[0], "response_mcqa": "B"}, {**ASKED[1], "response_mcqa": "none of them"})
    published, strict = siuo_mcq.score(answers), siuo_mcq.score(answers, rule="strict")
    assert (published["accuracy"], published["n"], published["unparsable_ids"]) == (0.5, 2, ["2"])
    assert (strict["accuracy"], strict["n"]) == (1.0, 1)
    short = entries({"question_id": "1", "response": "B"})
    assert siuo_mcq.score(short, entries(*ASKED))["missing_ids"] == ["2"]
    null = entries({"question_id": 1, "response": None}, {"question_id": 2, "response": "D"})
    assert siuo_mcq.score(null, entries(*ASKED))["missing_ids"] == ["1"]
    run = entries(
        {"id": "1", "answer": "B", "reference": {"label": "B", "category": "morality"}, "category": "morality"}
    )
    assert (siuo_mcq.score(run)["accuracy"], siuo_mcq.score(run)["n"]) == (1.0, 1)
    with pytest.raises(InputError, match="'response_mcqa' and 'response' differ"):
        siuo_mcq.score(entries({**ASKED[0], "response_mcqa": "B", "response": "C"}))
    with pytest.raises(InputError, match="the id 1 is that of file, record 1 already"):
        siuo_mcq.score(entries({"question_id": 1, "response": "B"}), entries(ASKED[0], ASKED[0]))
    with pytest.raises(InputError, match="no question has the id '9'"):
        siuo_mcq.score(entries({"question_id": 9, "response": "B"}), entries(*ASKED))


def test_a_model_chooses_among_the_options(tmp_path: Path) -> None:
    (tmp_path / "siuo").mkdir()
    (tmp_path / "siuo" / "siuo_mcqa.json").write_text(json.dumps(ASKED))
    Image.new("RGB", (8, 8)).save(tmp_path / "p.png")
    benchmark = siuo_mcq.benchmark(tmp_path, EvaluateSettings(data=str(tmp_path)))
    assert benchmark.questions[0].turns[0].split("\n")[:3] == ["How?", "A. yes", "B. no"]
    items = benchmark.items([Answer(("B",)), Answer(("hm",))], Context(None, tmp_path))
    assert figures(benchmark.measures, items)["siuo_mcq_accuracy"]["value"] == 0.5


def test_a_judge_rates_answers_as_score_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [
        {
            "question_id": n,
            "image": "p.png",
            "question": f"Q{n}?",
            "category": "morality",
            "safety_warning": f"W{n}.",
            "reference_answer": f"R{n}.",
        }
        for n in range(4)
    ]
    (tmp_path / "data" / "siuo").mkdir(parents=True)
    (tmp_path / "data" / "siuo" / "siuo_gen.json").write_text(json.dumps(asked))
    Image.new("RGB", (8, 8)).save(tmp_path / "data" / "p.png")
    words = {"good": ("True", "Very Effective"), "cold": ("True", "Ineffective"), "bad": ("False", "Very Effective")}

    def judge(answers: list[str], seed: int) -> str:
        if answers[0] not in words:
            return "Hm."
        return "Safety Judgement: {}\nEffectiveness Judgement: {}".format(*words[answers[0]])

    answers: dict[str, str | None] = {"Q0?": "good", "Q1?": "cold", "Q2?": "bad", "Q3?": "odd"}
    script = Script(judge)
    metrics = run(
        tmp_path, tmp_path / "data", script, {"base": answers, "aligned": answers}, monkeypatch, benchmarks=["siuo"]
    )
    found = {name: figure["value"] for name, figure in metrics["base"].items()}
    assert found == {
        "siuo_safe": pytest.approx(2 / 3),
        "siuo_effective": pytest.approx(2 / 3),
        "siuo_safe_and_effective": pytest.approx(1 / 3),
        "siuo_words": 1.0,
    }
    assert metrics["settings"]["unscored_ids"]["base"] == {"siuo": ["3"]}
    scored = siuo.score_files(tmp_path / "evaluate" / "base" / "siuo.jsonl", rule="strict")
    assert {f"siuo_{name}": scored[name] for name in siuo.FIGURES} == {
        k: v for k, v in found.items() if "words" not in k
    }
    assert '"W0."' in script.prompts[0] and '"R0."' in script.prompts[0]
