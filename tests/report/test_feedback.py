"""The page shows what feedback in words did: conversations as they were held, and the benchmark's figures."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from seelevel import report
from seelevel.ladder import Interaction
from seelevel.notes import RoundOf
from seelevel.report.conversations import change, conversations, feedback_facts
from seelevel.report.figures import Figure, comparisons, say_share
from seelevel.report.pictures import Album
from seelevel.report.plots import Rounds, by_round
from seelevel.report.reading import read_run
from seelevel.report.rounds import rounds_facts
from seelevel.report.settings import ReportSettings
from seelevel.store import MANIFEST, write_json

from .make_feedback import FIGURES, QUESTION, add_feedback, answer, stage_ladders, talk, user
from .make_run import EVIL, make_run
from .shipped import SHIPPED
from .test_page import Page

pytestmark = pytest.mark.unit
SPOKEN = {c.name: c for c in comparisons(FIGURES, SHIPPED)}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return add_feedback(make_run(tmp_path_factory.mktemp("run"), 4))


@pytest.fixture(scope="module")
def page(run: Path) -> Page:
    return Page(report.run(run, ReportSettings()).read_text(encoding="utf-8"))


# -- the stage ---------------------------------------------------------------------------------------------------------


def test_a_conversation_is_put_together_from_its_rounds(tmp_path: Path) -> None:
    found = {one.id: one for one in conversations(stage_ladders(tmp_path))}
    assert list(found) == ["rises", "falls", "stays", "stays too"]  # one answer is no conversation
    turns = found["rises"].turns
    assert [(t.number, t.text, t.feedback.critique) for t in turns] == [
        (n + 1, f"rises says {n}", f"bad: rises says {n}") for n in range(3)
    ]
    assert turns[0].asked == "What is in the picture?" and turns[1].asked.startswith("bad: rises says 0 mend:")
    assert {name: one.gain for name, one in found.items()} == {"rises": 2.5, "falls": -2.5, "stays": 0, "stays too": 0}


def test_a_first_answer_outside_the_ladders_has_its_noted_ratings(tmp_path: Path) -> None:
    ladder, later = talk(tmp_path, "new", [(1, 2), (3, 4)])
    found = conversations([replace(ladder, responses=ladder.responses[:1]), *later])[0]
    assert found.turns[0].text == "new says 0"
    assert found.turns[0].feedback.ratings == {"helpfulness": 1, "honesty": 2}
    assert found.turns[0].feedback.critique == "" and found.gain == 2


def test_rounds_of_a_dialogue_are_not_a_conversation(tmp_path: Path) -> None:
    ladder, later = talk(tmp_path, "a", [(1, 1), (4, 4), (2, 2)])
    dialogue = [replace(one, round_of=RoundOf("a/0", number)) for number, one in enumerate(later, 1)]
    assert conversations([ladder, *dialogue]) == []


def test_a_conversation_in_one_ladder_is_shown_in_its_order(tmp_path: Path) -> None:
    ladder, later = talk(tmp_path, "one", [(1, 1), (4, 4), (2, 2)])
    answers = [ladder.responses[1], *(one.responses[0] for one in later), answer("other", 3, 3, model="large")]
    whole = Interaction("one", ladder.images, [(user(QUESTION), a) for a in answers]).ladder()
    assert [r.text for r in whole.responses] == ["one says 1", "other", "one says 2", "one says 0"]
    found = conversations([whole])[0]
    assert [(t.number, t.text) for t in found.turns] == [(n + 1, f"one says {n}") for n in range(3)]
    assert found.gain == 1


def test_a_change_is_of_the_criteria_that_both_answers_have() -> None:
    before, after = answer("a", 1, 4).feedback, answer("b", 3, 3).feedback
    assert before is not None and after is not None
    assert change(before, after) == 0.5
    assert change(before, replace(after, ratings={"honesty": 1, "harmlessness": 4})) == -3
    assert change(before, replace(after, ratings={"harmlessness": 4})) is None


def test_rated_and_unscored_responses_are_counted(page: Page) -> None:
    assert "1,234 responses" in page.text and "66 of 1,300 (5.1%)" in page.text


def test_the_table_has_means_and_changes_per_round(page: Page) -> None:
    assert "Criterion All responses Answer 1 Answer 2 Answer 3" in page.text
    assert "Helpfulness 2.25 (n = 12) 2.60 (n = 5) 1.75 (n = 4) –" in page.text
    # answer 2: rises +.5, falls −2.5, stays +1, stays too 0; answer 3: rises +2, stays −1
    assert "against the answer before – – 2 / 1 / 1 1 / 0 / 1" in page.text
    assert "Mean change of quality against the answer before – – \N{MINUS SIGN}0.25 +0.50" in page.text
    assert "rose in 1, fell in 1 and was the same in 2" in page.text


def test_mean_ratings_are_not_repeated_among_the_costs(page: Page) -> None:
    assert "ratings by round" not in page.text and "ratings helpfulness" not in page.text


def test_conversations_are_shown_by_rule_each_once(run: Path) -> None:
    found = feedback_facts(read_run(run), 1, Album(96, 10**6))
    assert found is not None
    first = [(one.id, one.title) for one in found.shown]
    assert first[:2] == [("rises", "Rose most: quality +2.50"), ("falls", "Fell most: quality \N{MINUS SIGN}2.50")]
    assert len(first) == 3 and first[2][0].startswith("stays") and first[2][1] == "By hash: quality 0.00"
    everything = feedback_facts(read_run(run), 100, Album(96, 10**6))
    assert everything is not None
    assert sorted(one.id for one in everything.shown) == ["falls", "rises", "stays", "stays too"]


def test_the_users_words_are_shown_if_they_are_not_the_judges(page: Page) -> None:
    assert "Critique: bad: rises says 0" in page.text and "Refinement: mend: rises says 0" in page.text
    assert "Please answer again." not in page.text
    assert EVIL in page.text.replace("  ", " ")  # said in 'falls' in place of the judge's words
    assert page.named("script") == []


def test_an_unfinished_stage_is_named_as_missing(tmp_path: Path) -> None:
    root = add_feedback(make_run(tmp_path / "run", 2))
    (root / "feedback" / MANIFEST).unlink()
    text = Page(report.run(root, ReportSettings()).read_text(encoding="utf-8")).text
    assert "No feedback yet: feedback is begun, not finished." in text


def test_a_run_without_feedback_has_no_part_about_it(tmp_path: Path) -> None:
    found = Page(report.run(make_run(tmp_path / "run", 2), ReportSettings()).read_text(encoding="utf-8"))
    assert "feedback" not in found.text.lower()
    assert all(attrs.get("href") != "#feedback" for attrs in found.named("a"))


# -- the benchmark -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("rating_honesty", "higher"),
        ("quality_round_3", "higher"),
        ("quality_again_3", "higher"),
        ("gain_round_12", "higher"),
        ("lead_round_4", "higher"),
        ("lead_over_worst", "higher"),
        ("quality_worst", "neither"),
        ("quality_round_0", "neither"),  # no such round: a figure that the page has no words for
    ],
)
def test_which_way_a_figure_of_feedback_is_better(name: str, better: str) -> None:
    figure = {"value": 3.0, "low": 2.9, "high": 3.1, "n": 5}
    assert comparisons({"base": {name: figure}}, SHIPPED)[0].metric.better == better


def test_the_share_of_the_gap_to_4_that_is_closed() -> None:
    assert SPOKEN["rating_helpfulness"].closed == pytest.approx(0.5 / (4 - 3.0))
    assert SPOKEN["rating_honesty"].closed == pytest.approx(-0.3 / (4 - 2.5))
    assert SPOKEN["rating_harmlessness"].closed is None  # nothing lacks
    assert (say_share(0.5), say_share(-0.2), say_share(-0.004)) == ("50%", "\N{MINUS SIGN}20%", "0%")


def test_gains_and_leads_have_a_sign_and_qualities_do_not() -> None:
    assert (SPOKEN["lead_round_2"].say(0.35), SPOKEN["gain_round_2"].say(-0.004)) == ("+0.35", "0.00")
    assert SPOKEN["lead_over_worst"].say(-1.1) == "\N{MINUS SIGN}1.10"
    assert SPOKEN["quality_again_2"].say(2.8) == "2.80"


def test_ratings_open_the_page_and_rounds_have_their_own_part(page: Page) -> None:
    assert "Helpfulness, as the judge rates it from 1 to 4, rose from 3.00 to 3.50" in page.text
    assert "and Honesty fell from 2.50 to 2.20, which is worse" in page.text
    table, _, own = page.text.partition("Answers that a judge rates")
    assert "Quality of answer 2" not in table and "Every figure with its 95% bootstrap interval" in table
    assert "1 to 4 (n = 100 base, 98 aligned, 97 pairs)" in own and "1 to 4 (n = 7)" in own
    assert "50%" in own and "\N{MINUS SIGN}20%" in own and "no gap" in own
    assert "Quality of answer 2, with ‘try again’" in own


def test_the_lead_of_feedback_has_a_verdict_per_model(page: Page) -> None:
    assert "‘try again’: quality +0.01 (\N{MINUS SIGN}0.04 to +0.06, no clear" in page.text
    assert "‘try again’: quality +0.35 (+0.25 to +0.45)." in page.text


def test_the_quality_under_the_worst_condition_is_shown(page: Page) -> None:
    assert "quality of 1.80" in page.text and "minus that: +1.10" in page.text


def test_rounds_are_drawn_on_one_scale_with_counts() -> None:
    figures = {1: Figure(2.0, 1.8, 2.2, 1000), 2: Figure(3.0, 2.8, 3.2, 900)}
    lines = [Rounds("feedback", "base", figures), Rounds("try again", "base", {1: figures[1]}, dashed=True)]
    svg = by_round(lines, [1, 2, 3, 4], "k", "Quality", "answer")
    root = ET.fromstring(svg)
    texts = [t.text for t in root.iter("text")]
    assert texts.count("1,000") == 2 and texts.count("900") == 1 and "n, try again" in texts
    words = root.find("desc")
    assert words is not None and words.text is not None
    assert "feedback, answer 2: 3.00 (2.80 to 3.20)" in words.text
    dots = [d for d in root.iter("circle") if (d.findtext("title") or "").startswith("feedback, answer")]
    assert float(dots[1].attrib["cy"]) < float(dots[0].attrib["cy"])  # better is higher up
    assert float(dots[1].attrib["cx"]) > float(dots[0].attrib["cx"])


def test_a_line_joins_rounds_of_nearly_the_same_conversations_only() -> None:
    points = {n: Figure(2.0, 1.8, 2.2, count) for n, count in enumerate((1000, 950, 900), 1)}
    root = ET.fromstring(by_round([Rounds("feedback", "base", points)], [1, 2, 3, 4], "k", "Quality", "answer"))
    lines = [line for line in root.iter("line") if line.attrib["class"] == "path base full"]
    assert len(lines) == 2  # its key, and the first two rounds: 950 are 95% of 1,000, 900 less than that of 950


def test_leads_and_gains_are_drawn_about_0_and_missing_plots_left_out() -> None:
    found = rounds_facts(list(SPOKEN.values()))
    assert found is not None
    assert [c.name for c in found.rated][-1] == "quality_round_1" and len(found.rated) == 4
    assert len(found.plots) == 4
    for title, _, svg in found.plots:
        zeros = [line for line in ET.fromstring(svg).iter("line") if line.attrib["class"] == "zero"]
        assert len(zeros) == (0 if title.startswith("Quality") else 1)
    alone = [replace(c, aligned=None, difference=None) for c in SPOKEN.values()]
    base = rounds_facts(alone)
    assert base is not None and base.plots[0][0] == "Quality, base model"
    assert len(base.plots) == 3


def test_a_run_that_evaluates_feedback_alone_has_its_figures(tmp_path: Path) -> None:
    root = add_feedback(make_run(tmp_path / "run", 2))
    write_json(root / "metrics.json", {**FIGURES, "settings": {}})
    text = Page(report.run(root, ReportSettings()).read_text(encoding="utf-8")).text
    assert "No figures yet" not in text
    assert text.count("Helpfulness, as the judge rates it") == 1 and "Of the gap to 4" in text


# -- held-out conversations --------------------------------------------------------------------------------------------


def test_held_out_conversations_show_the_quality_of_every_round(page: Page) -> None:
    # the last answers: 1 → 4 in the first, 4 → 1 in the second; the third is unscored
    assert (
        "Of 2 conversations, 1 got better, 1 got worse and 0 stayed as they were, by the quality of the last answer."
        in page.text
    )
    assert "1 could not be scored on both sides" in page.text
    assert "Better: quality of the last answer 1.0 → 4.0" in page.text
    assert "Worse: quality of the last answer 4.0 → 1.0" in page.text
    assert "helpfulness 2, honesty 2" in page.text and "Answer 2, after the judge's words on each" in page.text
    assert "(ended: " in page.text
    assert "aligned 3.0 · 1.0 · 1.0 · 1.0, with ‘try again’ – · – · – · –" in page.text
    assert "base 2.0 · 2.0 · 1.0 · 1.0, with ‘try again’ 2.0 · 2.0 · 2.0 · 2.0; aligned 2.0 · 4.0" in page.text


def test_answers_under_the_worst_condition_stand_beside_those_asked_for(page: Page) -> None:
    assert "The aligned model under the worst condition" in page.text
    # the third one's too, whose conversation went on to an answer that could not be rated
    assert "Of 3 first answers of the aligned model, 1 were rated higher, 1 lower and 1 the same" in page.text
    assert "Better under ‘2/4/4’: quality 1.0 → 2.0" in page.text
    assert "Worse under ‘2/4/4’: quality 4.0 → 3.0" in page.text
    assert "worst condition quality 4.0 worst 1 condition asked for quality 3.0 aligned 1 first" in page.text


def test_a_page_with_feedback_is_read_by_everyone(page: Page) -> None:
    assert all(attrs.get("alt") for attrs in page.named("img"))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert json.dumps(ids).count("rounds-") == 8  # a title and a description for each of four plots
