"""The page says who ordered a ladder if it was not the auto-check: a judge, or people."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from seelevel import report
from seelevel.check.objects import Annotations, Objects
from seelevel.check.settings import CheckSettings
from seelevel.facts import CheckFacts, GenerateFacts
from seelevel.formats.parquet import read_ladders, write_shard
from seelevel.language.mentions import Mentions
from seelevel.report.settings import ReportSettings
from seelevel.store import StageFolder

from .make_run import EVIL, RECIPE, make_run
from .test_page import Page

pytestmark = pytest.mark.unit


def page_of(root: Path) -> str:
    return Page(report.run(root, ReportSettings(ladders=6)).read_text("utf-8")).text


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", 6, ("data", "generate", "check"))


def with_check(root: Path, facts: CheckFacts, **settings: object) -> None:
    """The run's check with these settings and counts."""
    (root / "recipe.yaml").write_text(yaml.safe_dump({**RECIPE, "check": settings}, sort_keys=False))
    words = CheckSettings.model_validate(settings).words
    StageFolder(root / "check", "0" * 16).finish(**facts.written(), words=words)


def test_a_judges_order_and_contradictions_are_shown(run: Path) -> None:
    facts = CheckFacts(judged=5, triples=400, circles=9, contradiction_rate=9 / 400)
    with_check(run, facts, checker="judge", judge="http://host/v1#big", judge_mode="pairwise")
    text = page_of(run)
    assert "order of the judge http://host/v1#big, pairwise" in text
    assert "5 ladders have the order of the judge http://host/v1#big." in text
    assert "contradicted itself in 9 of 400" in text and "(2.25%)" in text


def test_a_share_of_judged_ladders_is_shown_beside_the_check(run: Path) -> None:
    with_check(
        run, CheckFacts(judged=2), checker="autocheck", encoder="clip", parser="builtin",
        judge="oracle", judge_share=0.25, judge_mode="listwise",
    )  # fmt: skip
    assert "parser builtin; 25% of the ladders in the order of the judge oracle, listwise" in page_of(run)


def test_texts_that_the_encoder_read_in_pieces_are_counted(run: Path) -> None:
    with_check(run, CheckFacts(split_texts=1200), checker="autocheck", encoder="clip", parser="builtin")
    assert "1,200 texts were too long for the encoder" in page_of(run)


def test_a_ladder_shows_who_set_a_level_and_why(run: Path) -> None:
    ladders = read_ladders(run / "check", run)
    changed = [ladders[0].overridden(2, 0, EVIL, why="the bus is there"), *ladders[1:]]
    write_shard(StageFolder(run / "check", "0" * 16).shard(0), changed, run)
    StageFolder(run / "check", "0" * 16).finish(ladders=6, overridden=1)
    text = page_of(run)
    assert "In 1 ladders people have set levels by hand." in text
    assert f": level 2 set to 0 by {' '.join(EVIL.split())}, the bus is there" in text
    assert text.count("the measure") == 6  # even if a person put another response above it


def test_written_prompts_that_were_set_aside_are_counted_by_reason(run: Path) -> None:
    facts = GenerateFacts(ladders=6, set_aside=3, set_aside_reasons={"too few questions": 3}, dropped={"empty": 2})
    StageFolder(run / "generate", "0" * 16).finish(**facts.written())
    text = page_of(run)
    assert "3 written prompts were set aside: too few questions." in text
    assert "2 responses were left out: empty." in text


def test_objects_are_marked_in_the_texts_and_counted(run: Path) -> None:
    annotated = [
        replace(x, annotations={"objects": ["cup", "dog", "cat"]}) for x in read_ladders(run / "generate", run)
    ]
    checker = Objects(Annotations(None, Mentions([[name] for name in ("cup", "dog", "bus", "cat")])))
    write_shard(StageFolder(run / "check", "0" * 16).shard(0), list(checker(annotated)), run)
    with_check(run, CheckFacts(ladders=6), checker="objects", annotations="facts", rule="f1")
    html = report.run(run, ReportSettings(ladders=6)).read_text("utf-8")
    text = Page(html).text
    assert "objects by f1 against facts, words of the annotations' names" in text
    assert text.count("names 1 of 3 objects, invents bus") == 6  # 'A red cup and a green bus.'
    assert text.count("leaves out: cat; dog") == 6
    assert "object that is not annotated in the picture" in text and "matched chunk" not in text
    assert re.search(r'<mark class="miss"[^>]*>bus', html) and re.search(r'<mark class="hit"[^>]*>cup', html)
    assert "F1 0.40" in text  # precision 1/2, recall 1/3
