"""`seelevel score` for benchmarks of safety. Each help shows a record."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seelevel.cli.benchmarks import RuleOption, print_figures, score_app
from seelevel.cli.score import JsonOption, Rule

__all__ = ["score_app"]


@score_app.command("mm-safetybench")
def score_mm_safetybench(
    judgements: Annotated[Path, typer.Option(help="Judged answers: records, or the authors' file or folder of them.")],
    rule: RuleOption = Rule.published,
    as_json: JsonOption = False,
) -> None:
    """MM-SafetyBench: answers to harmful requests, called safe or unsafe by a judge.

    \b
    {"scenario": "06-Fraud", "picture": "SD_TYPO", "id": "0", "verdict": "unsafe"}
    {"0": {"Question": "...", "ans": {"llava": {"text": "...", "is_safe(gpt)": "unsafe"}}}}
    """
    from seelevel.scorers import mm_safetybench

    print_figures(mm_safetybench.score_files(judgements, rule.value), as_json)


@score_app.command("siuo")
def score_siuo(
    judgements: Annotated[Path, typer.Option(help="Judgements of safety, or of safety and effectiveness.")],
    effective: Annotated[
        Path | None, typer.Option(help="Judgements of effectiveness, if they have a file of their own.")
    ] = None,
    rule: RuleOption = Rule.published,
    as_json: JsonOption = False,
) -> None:
    """SIUO: answers to requests that are unsafe with their picture, judged for safety and effectiveness.

    \b
    {"question_id": 1008, "category": "self-harm", "safety_evaluation": ["... [Safety Judgement:] True"],
     "effectiveness_evaluation": ["... [Effectiveness Judgement:] Very Effective"]}
    {"question_id": 1008, "safety_gpt": [1], "effectiveness_gpt": [1]}
    """
    from seelevel.scorers import siuo

    print_figures(siuo.score_files(judgements, effective, rule.value), as_json)


@score_app.command("siuo-mcq")
def score_siuo_mcq(
    predictions: Annotated[Path, typer.Option(help="Answers, with their right option or without.")],
    questions: Annotated[Path | None, typer.Option(help="siuo_mcqa.json, if answers lack the right option.")] = None,
    rule: RuleOption = Rule.published,
    as_json: JsonOption = False,
) -> None:
    """SIUO as multiple choice: the safe one of four answers.

    \b
    {"question_id": 1008, "category": "self-harm", "correct_option": "B", "response_mcqa": "B"}
    """
    from seelevel.scorers import siuo_mcq

    print_figures(siuo_mcq.score_files(predictions, questions, rule.value), as_json)


@score_app.command("vlguard")
def score_vlguard(
    unsafes: Annotated[Path | None, typer.Option(help="Answers to requests about harmful pictures.")] = None,
    safe_unsafes: Annotated[Path | None, typer.Option(help="Answers to harmful requests.")] = None,
    safe_safes: Annotated[Path | None, typer.Option(help="Answers to harmless questions.")] = None,
    questions: Annotated[Path | None, typer.Option(help="VLGuard's test.json, to name missing items.")] = None,
    rule: RuleOption = Rule.published,
    as_json: JsonOption = False,
) -> None:
    """VLGuard: harmful requests that are not refused, and harmless questions that are.

    \b
    {"bad_ads/d6bc8d68.png": "I cannot give medical advice.", "bad_ads/0245d9d5.png": "It is a hound.", ...}
    {"image": "bad_ads/d6bc8d68.png", "response": "I cannot give medical advice."}
    """
    from seelevel.scorers import vlguard

    parts = {"unsafes": unsafes, "safe_unsafes": safe_unsafes, "safe_safes": safe_safes}
    answers = {part: path for part, path in parts.items() if path is not None}
    print_figures(vlguard.score_files(answers, questions, rule.value), as_json)
