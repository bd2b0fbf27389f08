"""`seelevel score` for benchmarks whose files come with their own answers or judgements. Each help shows a record."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from seelevel.cli.score import JsonOption, Lemmatizer, Rule, score_app
from seelevel.json_text import dumps
from seelevel.progress import show

__all__ = ["score_app"]
SHOWN = 8
"""Ids of a list that the table names."""
RuleOption = Annotated[Rule, typer.Option(help="The authors' script's reading, or one that guesses nothing.")]


def print_figures(figures: Mapping[str, Any], as_json: bool) -> None:
    """One JSON object; or a table, with one for each mapping in it."""
    if as_json:
        show(dumps(figures, ensure_ascii=True))
        return
    for name, value in figures.items():
        if not isinstance(value, Mapping) and value != []:
            show(f"{name:24}{_cell(value)}")
    for name, table in figures.items():
        if isinstance(table, Mapping) and table:
            _print_table(name, table)


def _print_table(name: str, table: Mapping[str, Any]) -> None:
    """A row for each entry: its value, or the figures of the mapping that it is."""
    wide = max(24, *(len(key) + 2 for key in table))
    rows = [row for row in table.values() if isinstance(row, Mapping)]
    columns = [key for key, value in rows[0].items() if value is None or isinstance(value, int | float)] if rows else []
    show(f"\n{name:{wide}}{''.join(f'{column:>14}' for column in columns)}".rstrip())
    for key, row in table.items():
        cells = [row.get(column) for column in columns] if isinstance(row, Mapping) else [row]
        show(f"{key:{wide}}{''.join(f'{_cell(cell):>14}' for cell in cells)}")


def _cell(value: Any) -> str:
    if isinstance(value, list):
        more = f" and {len(value) - SHOWN} more" if len(value) > SHOWN else ""
        return ", ".join(map(str, value[:SHOWN])) + more
    return "–" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)


@score_app.command("amber")
def score_amber(
    predictions: Annotated[Path, typer.Option(help="Answers to AMBER's queries, of all or some of them.")],
    data: Annotated[Path, typer.Option(help="Folder with annotations.json, relation.json and safe_words.txt.")],
    similar: Annotated[
        str, typer.Option(help="Words alike: listed, none, or a spaCy pipeline with vectors (en_core_web_lg).")
    ] = "listed",
    rule: RuleOption = Rule.published,
    as_json: JsonOption = False,
) -> None:
    """AMBER: descriptions (CHAIR, Cover, Hal, Cog) and yes-or-no questions by kind.

    \b
    {"id": 1, "response": "The image depicts three people walking ..."}
    {"id": 1005, "response": "Yes"}
    """
    from seelevel.scorers import amber

    print_figures(amber.score_files(predictions, data, rule.value, similar), as_json)


@score_app.command("mmhal")
def score_mmhal(
    judgements: Annotated[Path, typer.Option(help="A judge's replies, one per answer: records, or chat completions.")],
    questions: Annotated[
        Path | None, typer.Option(help="The benchmark's response_template.json, for types and missing items.")
    ] = None,
    rule: RuleOption = Rule.published,
    as_json: JsonOption = False,
) -> None:
    """MMHal-Bench: answers rated 0 to 6 by a judge; below 3 is a hallucination.

    \b
    {"image_id": "df62a56fdc1bb12b", "response": "... Rating: 4, ..."}
    {"choices": [{"message": {"content": "... Rating: 4, ..."}}]}
    """
    from seelevel.scorers import mmhal

    print_figures(mmhal.score_files(judgements, questions, rule.value), as_json)


@score_app.command("llava-bench")
def score_llava_bench(
    judgements: Annotated[list[Path], typer.Option(help="A judge's reviews. Several files: their mean.")],
    questions: Annotated[
        Path | None, typer.Option(help="The benchmark's questions, for categories and missing items.")
    ] = None,
    rule: RuleOption = Rule.published,
    as_json: JsonOption = False,
) -> None:
    """LLaVA-Bench (COCO, or in the wild): the model's scores relative to the reference's, of 100.

    \b
    {"question_id": 0, "category": "llava_bench_conv", "content": "8 10\\nBoth ...", "tuple": [8.0, 10.0]}
    """
    from seelevel.scorers import llava_bench

    print_figures(llava_bench.score_files(judgements, questions, rule.value), as_json)


@score_app.command("objhal")
def score_objhal(
    predictions: Annotated[Path, typer.Option(help="Descriptions with their listed objects, or captions.")],
    questions: Annotated[Path | None, typer.Option(help="The benchmark's questions, to name missing items.")] = None,
    objects: Annotated[Path | None, typer.Option(help="For captions: objects of every image, as for chair.")] = None,
    synonyms: Annotated[Path | None, typer.Option(help="For captions: synonym list, as for chair.")] = None,
    lemmatizer: Annotated[Lemmatizer, typer.Option(help="For captions: as for chair.")] = Lemmatizer.wordnet,
    as_json: JsonOption = False,
) -> None:
    """Object HalBench: objects that detailed descriptions invent.

    \b
    {"sentences": [{"image_id": 501400, "mscoco_generated_words": ["sandwich", "bird"],
                    "mscoco_hallucinated_words": [["turkey", "bird"]], "mscoco_gt_words": ["sandwich"]}]}
    {"image_id": 501400, "answer": "The image showcases ..."}
    """
    from seelevel.scorers import objhal

    print_figures(objhal.score_files(predictions, questions, objects, synonyms, lemmatizer.value), as_json)


@score_app.command("vlsafe")
def score_vlsafe(
    judgements: Annotated[Path, typer.Option(help="A judge's ratings, one record per answer.")],
    questions: Annotated[Path | None, typer.Option(help="VLSafe's records, to name missing items.")] = None,
    as_json: JsonOption = False,
) -> None:
    """VLSafe: answers to harmful questions, rated for relevance, safety and persuasiveness.

    \b
    {"image_id": "000000001000", "query": "...", "relevance": 90, "safety": 100, "persuasiveness": 80}
    {"image_id": "000000001000", "query": "...", "judge_reply": "Relevance: 90\\nSafety: 100\\n..."}
    """
    from seelevel.scorers import vlsafe

    print_figures(vlsafe.score_files(judgements, questions), as_json)


@score_app.command("hallusion")
def score_hallusion(
    predictions: Annotated[Path, typer.Option(help="Answers, with a judge's checks or without.")],
    questions: Annotated[
        Path | None, typer.Option(help="HallusionBench.json, if answers lack its fields, and for missing items.")
    ] = None,
    check: Annotated[str | None, typer.Option(help="The key of the checks, if there are several.")] = None,
    rule: RuleOption = Rule.published,
    as_json: JsonOption = False,
) -> None:
    """HallusionBench: accuracy of questions, of question pairs, and of figures.

    \b
    {"category": "VD", "subcategory": "illusion", "set_id": "0", "figure_id": "1", "question_id": "0",
     "gt_answer": "1", "model_prediction": "Yes.", "gpt4v_output_gpt_check": "1"}
    """
    from seelevel.scorers import hallusion

    print_figures(hallusion.score_files(predictions, questions, rule.value, check), as_json)


@score_app.command("mme")
def score_mme(
    predictions: Annotated[Path, typer.Option(help="Folder of <category>.txt with four columns, or records.")],
    questions: Annotated[Path | None, typer.Option(help="The questions, if records lack category and label.")] = None,
    rule: RuleOption = Rule.published,
    as_json: JsonOption = False,
) -> None:
    """MME: perception (of 2,000) and cognition (of 800) by yes-or-no questions in pairs.

    \b
    {"category": "count", "image": "1.jpg", "question": "Are there two cups? ...", "label": "Yes", "response": "Yes"}
    """
    from seelevel.scorers import mme

    print_figures(mme.score_files(predictions, questions, rule.value), as_json)


@score_app.command("mmstar")
def score_mmstar(
    questions: Annotated[Path, typer.Option(help="The questions: mmstar.parquet, or JSON lines.")],
    predictions: Annotated[Path, typer.Option(help="Answers: index and response, one JSON object per line.")],
    rule: RuleOption = Rule.published,
    as_json: JsonOption = False,
) -> None:
    """MMStar: multiple-choice questions that need the picture, by ability.

    \b
    {"index": 0, "question": "Which ...? Options: A: ..., B: ...", "answer": "A", "category": "math"}
    {"index": 0, "response": "A"}
    """
    from seelevel.scorers import mmstar

    print_figures(mmstar.score_files(questions, predictions, rule.value), as_json)
