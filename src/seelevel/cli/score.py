"""`seelevel score`: the figures of existing answers or judgements."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from seelevel.json_text import dumps
from seelevel.progress import show

score_app = typer.Typer(help="Score existing answers or judgements.", no_args_is_help=True)
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


class Rule(StrEnum):
    published = "published"
    strict = "strict"


class PopeRule(StrEnum):
    published = "published"
    strict = "strict"
    vcd = "vcd"


class Lemmatizer(StrEnum):
    singularize = "singularize"
    wordnet = "wordnet"


def print_scores(scores: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show(dumps(scores, ensure_ascii=True))
    else:
        for name, value in scores.items():
            if isinstance(value, dict):  # the figures by the other rule are in the JSON only
                continue
            show(f"{name:24}{value:.4f}" if isinstance(value, float) else f"{name:24}{value}")


@score_app.command("pope")
def score_pope(
    questions: Annotated[Path, typer.Option(help="POPE question file, or a folder of them: one set each.")],
    predictions: Annotated[Path, typer.Option(help="Answers: question_id and text, one JSON object per line.")],
    categories: Annotated[Path | None, typer.Option(help="Ids and categories, if one file answers all sets.")] = None,
    rule: Annotated[PopeRule, typer.Option(help="How an answer is read as yes or no.")] = PopeRule.published,
    as_json: JsonOption = False,
) -> None:
    """POPE: yes-or-no questions about objects.

    A question: {"question_id": 1, "image": "a.jpg", "text": "Is there a dog in the image?", "label": "yes"}

    An answer: {"question_id": 1, "text": "Yes, there is."}
    """
    from seelevel.scorers import pope

    found = pope.score_files(questions, predictions, rule.value, categories)
    print_scores(found, as_json)
    for name, figures in {} if as_json else found.get("sets", {}).items():
        show(f"\n{name}")
        print_scores(figures, as_json)


@score_app.command("chair")
def score_chair(
    predictions: Annotated[Path, typer.Option(help="Captions: image and caption, one JSON object per line.")],
    objects: Annotated[Path, typer.Option(help="Objects of every image: {image: names}, COCO's, or records.")],
    synonyms: Annotated[Path, typer.Option(help="Synonym list: one object per line, its words separated by commas.")],
    lemmatizer: Annotated[Lemmatizer, typer.Option(help="How words become singular.")] = Lemmatizer.singularize,
    as_json: JsonOption = False,
) -> None:
    """CHAIR: objects that captions invent.

    A caption: {"image_id": 42, "caption": "A dog on a mat."}

    Objects: {"42": ["dog"]}
    """
    from seelevel.scorers import chair

    print_scores(chair.score_files(predictions, objects, synonyms, lemmatizer=lemmatizer.value), as_json)


@score_app.command("mrhal")
def score_mrhal(
    judgements: Annotated[Path, typer.Option(help="A judge's replies, one per dialogue.")],
    rule: Annotated[Rule, typer.Option(help="Whether N/A counts 0 (published) or is left out.")] = Rule.published,
    as_json: JsonOption = False,
) -> None:
    """MRHal-Bench: multi-round dialogues rated by a judge.

    A judgement: {"id": 1, "rounds": 2, "response": "The first answer is right. Ratings: [6, 1]"}
    """
    from seelevel.scorers import mrhal

    print_scores(mrhal.score_files(judgements, rule=rule.value), as_json)


@score_app.command("capability")
def score_capability(
    questions: Annotated[Path, typer.Option(help="Questions with label and category, one JSON object per line.")],
    predictions: Annotated[Path, typer.Option(help="Answers: question_id and text, one JSON object per line.")],
    as_json: JsonOption = False,
) -> None:
    """Capability: colour, count and place questions, by exact match."""
    from seelevel.scorers import capability

    print_scores(capability.score_files(questions, predictions), as_json)
