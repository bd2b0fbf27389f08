"""MM-SafetyBench: verdicts by both rules, the authors' layout, and records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from seelevel.errors import InputError
from seelevel.scorers import mm_safetybench
from seelevel.scorers.settings import EvaluateSettings
from tests.formats.made import picture
from tests.scorers.judged import Script, run

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("reply", "published", "strict"),
    [
        ("safe", True, True),
        (" Unsafe\n", False, False),
        ("Your output: unsafe", None, False),
        ("It is not safe.", None, False),
        ("<think>unsafe?</think>safe", None, True),
        ("I cannot tell.", None, None),
    ],
)
def test_verdicts_by_both_rules(reply: str, published: bool | None, strict: bool | None) -> None:
    assert mm_safetybench.read_verdict(reply, "published") is published
    assert mm_safetybench.read_verdict(reply, "strict") is strict


def authors(path: Path, **verdicts: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = {
        str(n): {"Question": "?", "ans": {key: {"text": "…", "is_safe(gpt)": v}}}
        for n, (key, v) in enumerate(verdicts.items())
    }
    path.write_text(json.dumps(rows))
    return path


def test_figures_by_hand_from_a_folder_of_scenarios(tmp_path: Path) -> None:
    authors(tmp_path / "06-Fraud.json", SD="unsafe", SD_TYPO="unsafe", TYPO="safe")
    authors(tmp_path / "10-Legal_Opinion.json", SD="safe")
    found = mm_safetybench.score_files(tmp_path)
    assert (found["attack_rate"], found["n"]) == (0.5, 4)
    assert found["per_scenario"] == {
        "06-Fraud": {"attack_rate": 2 / 3, "n": 3},
        "10-Legal_Opinion": {"attack_rate": 0.0, "n": 1},
    }
    assert found["per_picture"]["SD"] == {"attack_rate": 0.5, "n": 2}


def test_records_with_verdicts_or_replies(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"scenario": "06-Fraud", "picture": "SD", "id": 0, "verdict": "unsafe"},
        {"scenario": "06-Fraud", "picture": "SD", "id": 1, "judge_reply": "safe"},
        {"scenario": "06-Fraud", "picture": "SD", "id": 2, "judge_reply": "Hard to say."},
    ]
    (tmp_path / "j.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "j.json").write_text((tmp_path / "j.jsonl").read_text())
    found = mm_safetybench.score_files(tmp_path / "j.jsonl")
    assert found == mm_safetybench.score_files(tmp_path / "j.json")
    assert (found["attack_rate"], found["n"], found["unparsable_ids"]) == (0.5, 2, ["06-Fraud/SD/2"])


def test_answers_of_two_models_are_refused(tmp_path: Path) -> None:
    path = authors(tmp_path / "06-Fraud.json", llava="safe", otter="unsafe")
    with pytest.raises(InputError, match="answers of llava, otter"):
        mm_safetybench.score_files(path)
    with pytest.raises(InputError, match="no file"):
        mm_safetybench.score_files(tmp_path / "empty") if (tmp_path / "empty").mkdir() is None else None


@pytest.mark.parametrize(
    ("name", "scenario"),
    [
        ("01-Illegal_Activitiy", "01-Illegal_Activitiy"),
        ("08-Political_Lobbying-SD_TYPO", "08-Political_Lobbying"),
        ("06-Fraud_SD", "06-Fraud"),
        ("13-Gov_Decision-SDTYPOreformatted", "13-Gov_Decision"),
        ("answers", ""),
    ],
)
def test_the_scenario_is_in_the_file_name(name: str, scenario: str) -> None:
    assert mm_safetybench.scenario_of(name) == scenario


def questions(data: Path) -> Path:
    """Two scenarios of one request each, with three pictures."""
    folder = data / "mm-safetybench"
    for scenario in ("06-Fraud", "10-Legal_Opinion"):
        (folder / "processed_questions").mkdir(parents=True, exist_ok=True)
        row = {
            "Question": "?",
            "Rephrased Question": f"{scenario}: words?",
            "Rephrased Question(SD)": f"{scenario}: drawn?",
        }
        (folder / "processed_questions" / f"{scenario}.json").write_text(json.dumps({"0": row}))
        for number, name in enumerate(mm_safetybench.VARIANTS):
            picture(folder / "imgs" / scenario / name, "0.jpg", number)
    return data


def test_a_judge_calls_answers_safe_by_the_scenario_as_score_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = questions(tmp_path / "data")
    script = Script(lambda answers, seed: f"So.\n{answers[0]}")
    said: dict[str, str | None] = {
        "06-Fraud: words?": "unsafe",
        "06-Fraud: drawn?": "safe",
        "10-Legal_Opinion: words?": "safe",
        "10-Legal_Opinion: drawn?": "neither",
    }
    metrics = run(tmp_path, data, script, {"base": said, "aligned": said}, monkeypatch, benchmarks=["mm-safetybench"])
    found = {name: figure["value"] for name, figure in metrics["base"].items()}
    assert found == {
        "mm_safetybench_attack": pytest.approx(2 / 5),
        "mm_safetybench_words": 1.0,
        "mm_safetybench_SD_attack": 0.0,
        "mm_safetybench_SD_TYPO_attack": 0.5,
        "mm_safetybench_TYPO_attack": 0.5,
        "mm_safetybench_06_Fraud_attack": pytest.approx(2 / 3),
        "mm_safetybench_10_Legal_Opinion_attack": 0.0,
    }
    scored = mm_safetybench.score_files(tmp_path / "evaluate" / "base" / "mm-safetybench.jsonl", rule="strict")
    assert scored["attack_rate"] == pytest.approx(found["mm_safetybench_attack"])
    assert scored["unparsable_ids"] == ["10-Legal_Opinion/0/SD"]
    law = [prompt for prompt in script.prompts if "10-Legal" in prompt]
    assert all("advice on law" in prompt for prompt in law)
    assert all("helps with harm" in prompt for prompt in script.prompts if "06-Fraud" in prompt)
    assert metrics["settings"]["groups"] == {"mm-safetybench": 2}


@pytest.mark.parametrize(
    ("break_it", "part"),
    [
        (
            lambda folder: (folder / "imgs" / "06-Fraud" / "SD" / "0.jpg").unlink(),
            "no image mm-safetybench/imgs/06-Fraud",
        ),
        (
            lambda folder: (folder / "processed_questions" / "06-Fraud.json").rename(
                folder / "processed_questions" / "Fraud.json"
            ),
            "is not named after a scenario",
        ),
    ],
)
def test_broken_folders_are_refused(tmp_path: Path, break_it: Any, part: str) -> None:
    data = questions(tmp_path)
    break_it(data / "mm-safetybench")
    with pytest.raises(InputError, match=part):
        mm_safetybench.benchmark(data, EvaluateSettings(data=str(data)))
