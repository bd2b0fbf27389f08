"""Auto-check on numbers worked out by hand: a parser that tags six words, and an encoder that is a table."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc

from seelevel.check import autocheck
from seelevel.check.autocheck import AutoCheck
from seelevel.check.curve import rechecked
from seelevel.check.rules import Rule
from seelevel.check.settings import CheckSettings
from seelevel.ladder import UNORDERED, Image, Ladder, Message, Response
from seelevel.notes import Checked, CheckNote, Coverage, Match

# Unit vectors: cos(mug, cup) = .8, cos(mug, dog) = .6; the sentence 'mug.' is .6 from 'cup dog.' and .8 from 'lamp.'.
VECTORS = {
    "cup": (1, 0, 0),
    "dog": (0, 1, 0),
    "lamp": (0, 0, 1),
    "mug": (0.8, 0.6, 0),
    "cup dog.": (1, 0, 0),
    "lamp.": (0, 0, 1),
    "mug.": (0.6, 0, 0.8),
}


class Table:
    """An encoder that looks vectors up and counts how often it is asked for each text."""

    threshold = None

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.split: set[str] = {"lamp.", "mug"}

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        return np.array([VECTORS[text] for text in texts], dtype=np.float32)


@Language.component("tag_nouns")
def tag_nouns(doc: Doc) -> Doc:
    for token in doc:
        token.tag_ = "NN" if token.text in {"cup", "dog", "lamp", "mug"} else "."
        token.dep_, token.head = ("ROOT", token)
    return doc


@pytest.fixture(scope="module")
def words() -> Language:
    """Every noun is a chunk of its own: 'cup dog.' holds two."""
    nlp = spacy.blank("en")
    nlp.add_pipe("tag_nouns")
    nlp.add_pipe("sentencizer")
    return nlp


def ladder(*texts: str) -> Ladder:
    return Ladder(
        "one",
        [Image("a.png")],
        [Message(role="user", content="<image>\nWhat is there?")],
        [Response([Message(role="assistant", content=text)], n, {"n": n}) for n, text in enumerate(texts)],
    )


def check(words: Language, *texts: str, threshold: float = 0.75) -> Ladder:
    (checked,) = AutoCheck(Table(), threshold, words)([ladder(*texts)])
    return checked


def coverages(checked: Ladder) -> list[Coverage]:
    return [r.check.coverage for r in checked.responses if r.check is not None and r.check.coverage is not None]


def unchecked(checked: Ladder) -> str | None:
    return None if checked.check is None else checked.check.unchecked


def texts_of(checked: Ladder) -> list[str]:
    return [response.text for response in checked.responses]


@pytest.mark.unit
def test_acc_and_score_are_means_of_local_and_global(words: Language) -> None:
    # Local: s = (.8, .6, 0), Acc 1/3, score 1.4/3. Global: s = (.6, .8), Acc 1/2, score .7.
    coverage = coverages(check(words, "cup dog. lamp.", "mug."))[1]
    assert coverage.acc_local == pytest.approx(1 / 3, abs=1e-5)
    assert coverage.score_local == pytest.approx(1.4 / 3, abs=1e-5)
    assert coverage.acc_global == pytest.approx(0.5)
    assert coverage.score_global == pytest.approx(0.7)
    assert coverage.acc == pytest.approx((1 / 3 + 1 / 2) / 2, abs=1e-5)
    assert coverage.score == pytest.approx((1.4 / 3 + 0.7) / 2, abs=1e-5)


@pytest.mark.unit
def test_higher_acc_is_better_and_the_score_breaks_ties(words: Language) -> None:
    # 'lamp.': local s = (0, 0, 1), global s = (0, 1): Acc (1/3 + 1/2)/2 as 'mug.' has, score (1/3 + 1/2)/2 < .58333.
    # 'cup dog.': local s = (1, 1, 0), global s = (1, 0): Acc (2/3 + 1/2)/2.
    checked = check(words, "cup dog. lamp.", "lamp.", "mug.", "cup dog.")
    assert texts_of(checked) == ["cup dog. lamp.", "cup dog.", "mug.", "lamp."]
    assert checked.levels == [0, 1, 2, 3]
    assert [r.check.place_before for r in checked.responses if r.check is not None] == [0, 3, 2, 1]
    assert checked.check == CheckNote("autocheck", (0, 1, 2, 3), threshold=0.75, split=3)
    assert checked.reordered
    assert checked.responses[1].scores == pytest.approx({"acc": 7 / 12, "score": 7 / 12}, abs=1e-5)
    assert checked.responses[1].origin == {"n": 3}


@pytest.mark.unit
def test_other_rules_count_what_an_answer_adds(words: Language) -> None:
    # Of 'lamp.', 'cup dog. lamp.' covers all; it is covered by 1 of 3 chunks and 1 of 2 sentences: P = 5/12, R = 1.
    # 'mug.': the chunk is 0 from 'lamp', the sentence .8: P = R = 1/2.
    given = ladder("lamp.", "cup dog. lamp.", "mug.")
    rules: tuple[Rule, ...] = ("recall", "precision", "f1", "f2")
    results = {rule: next(AutoCheck(Table(), 0.75, words, rule)([given])) for rule in rules}
    assert {rule: texts_of(result)[1] for rule, result in results.items()} == {
        "recall": "cup dog. lamp.",
        "precision": "mug.",
        "f1": "cup dog. lamp.",
        "f2": "cup dog. lamp.",
    }
    assert results["f1"].responses[1].scores == pytest.approx({"acc": 1, "score": 1, "f1": 10 / 17}, abs=1e-5)
    assert results["precision"].responses[1].scores["precision"] == 0.5
    assert [r.rule for r in (x.check for x in results.values()) if r is not None] == ["", "precision", "f1", "f2"]
    assert coverages(results["recall"]) == coverages(results["f1"])


@pytest.mark.unit
@pytest.mark.parametrize("rule", ["recall", "precision", "f1"])
def test_an_answer_without_chunks_is_worth_nothing_by_any_rule(words: Language, rule: Rule) -> None:
    (result,) = AutoCheck(Table(), 0.75, words, rule)([ladder("lamp.", "yes", "mug.")])
    assert texts_of(result) == ["lamp.", "mug.", "yes"]


@pytest.mark.unit
def test_the_rule_of_a_recipe_is_the_papers_unless_it_has_another() -> None:
    assert CheckSettings(encoder="e").ranked_by == "recall"
    assert CheckSettings(checker="objects", annotations="facts").ranked_by == "f1"
    assert "autocheck by f1 with encoder e" in CheckSettings(encoder="e", rule="f1").words
    with pytest.raises(ValueError, match=r"check\.rule: checker judge does not .*; set checker: objects or autocheck"):
        CheckSettings(checker="judge", judge="world:oracle", rule="f1")


@pytest.mark.unit
def test_equal_acc_and_score_make_one_level_and_no_pair(words: Language) -> None:
    checked = check(words, "cup dog. lamp.", "lamp.", "mug.", "lamp.")
    assert checked.levels == [0, 1, 2, 2]
    assert checked.pairs() == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3)]


@pytest.mark.unit
def test_the_standard_response_stays_best_even_beside_its_equal(words: Language) -> None:
    assert check(words, "cup dog.", "cup dog.").levels == [0, 1]


@pytest.mark.unit
def test_a_chunk_matches_above_the_threshold_not_at_it(words: Language) -> None:
    coverage = coverages(check(words, "cup dog. lamp.", "mug.", threshold=0.8))[1]
    assert (coverage.acc_local, coverage.acc_global) == (0, 0)


@pytest.mark.unit
def test_a_response_without_chunks_has_acc_and_score_zero(words: Language) -> None:
    checked = check(words, "cup dog. lamp.", "Nothing there.", "lamp.")
    assert texts_of(checked) == ["cup dog. lamp.", "lamp.", "Nothing there."]
    assert checked.responses[2].scores == {"acc": 0, "score": 0}


@pytest.mark.unit
def test_a_standard_response_without_chunks_leaves_the_ladder_unchecked(words: Language) -> None:
    checked = check(words, "Yes.", "lamp.", "mug.")
    assert texts_of(checked) == ["Yes.", "lamp.", "mug."]
    assert checked.levels == [0, 1, 2]
    assert unchecked(checked) == "the standard response has no noun chunk"
    assert [r.check for r in checked.responses] == [Checked(n) for n in range(3)]


@pytest.mark.unit
def test_a_ladder_with_a_displaced_standard_is_unchecked(words: Language) -> None:
    given = ladder("lamp.", "cup dog.", "mug.")
    named = [replace(r, origin={"kind": "standard" if n == 0 else "expert"}) for n, r in enumerate(given.responses)]
    moved = replace(given, responses=named).overridden(0, level=3, who="Ada")
    (checked,) = AutoCheck(Table(), 0.75, words)([moved])
    assert texts_of(checked) == ["cup dog.", "mug.", "lamp."]
    assert unchecked(checked) == "the standard response is not first"


@pytest.mark.unit
def test_a_ladder_with_one_response_passes_unchecked(words: Language) -> None:
    assert unchecked(check(words, "lamp.")) == "fewer than 2 responses"


@pytest.mark.unit
def test_reasons_say_where_each_chunk_stands_and_what_it_matched(words: Language) -> None:
    coverage = coverages(check(words, "cup dog. lamp.", "mug."))[1]
    assert coverage.chunks == (Match("mug", "cup", 0.8, True, 0, 3),)
    assert [(c.text, c.start, c.best, c.matched) for c in coverage.standard_chunks] == [
        ("cup", 0, "mug", True),
        ("dog", 4, "mug", False),
        ("lamp", 9, "mug", False),
    ]
    assert [(s.text, s.best, s.matched) for s in coverage.standard_sentences] == [
        ("cup dog.", "mug.", False),
        ("lamp.", "mug.", True),
    ]


@pytest.mark.unit
def test_a_multi_round_response_is_checked_whole(words: Language) -> None:
    def rounds(*answers: str) -> list[Message]:
        turns: list[Message] = [Message(role="assistant", content=answers[0])]
        for answer in answers[1:]:
            turns += [Message(role="user", content="And?"), Message(role="assistant", content=answer)]
        return turns

    responses = [Response(rounds("cup dog.", "lamp."), 0), Response(rounds("lamp.", "cup dog."), 1)]
    prompt = [Message(role="user", content="<image>\nWhat is there?")]
    (checked,) = AutoCheck(Table(), 0.75, words)([Ladder("two", [Image("a.png")], prompt, responses)])
    assert checked.responses[1].scores == {"acc": 1, "score": 1}


@pytest.mark.unit
def test_each_distinct_text_is_encoded_once(words: Language) -> None:
    encoder = Table()
    list(AutoCheck(encoder, 0.75, words)([ladder("cup dog. lamp.", "lamp.", "lamp."), ladder("lamp.", "mug.")]))
    assert sorted(encoder.asked) == ["cup", "cup dog.", "dog", "lamp", "lamp.", "mug", "mug."]


@pytest.mark.unit
def test_vectors_are_cached_across_calls_until_memory_is_full(words: Language, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Table()
    check = AutoCheck(encoder, 0.75, words)
    first = list(check([ladder("cup dog.", "lamp.")]))
    encoder.asked.clear()
    assert list(check([ladder("cup dog.", "lamp.")])) == first
    list(check([ladder("cup dog.", "mug.")]))
    assert sorted(encoder.asked) == ["mug", "mug."]
    monkeypatch.setattr(autocheck, "MEMORY", 3 * 4 * 2)  # two vectors of three numbers: the two that came last
    list(check([ladder("cup dog.", "lamp.")]))
    encoder.asked.clear()
    assert list(check([ladder("cup dog.", "lamp.")])) == first
    assert sorted(encoder.asked) == ["cup", "cup dog.", "dog", "lamp", "lamp."]


@pytest.mark.unit
def test_texts_too_long_for_the_encoder_are_counted(words: Language) -> None:
    # The table calls 'lamp.' and 'mug' split; the standard response has the one, the other response the other.
    noted = [check(words, *texts).check for texts in (("cup dog. lamp.", "mug."), ("cup dog.", "cup dog."))]
    assert [note and note.split for note in noted] == [2, 0]


@pytest.mark.unit
def test_the_recipes_threshold_wins_over_the_encoders_own() -> None:
    encoder = Table()
    assert AutoCheck(encoder).threshold == 0.85
    encoder.threshold = 0.9
    assert AutoCheck(encoder).threshold == 0.9
    assert AutoCheck(encoder, 0.5).threshold == 0.5


@pytest.mark.unit
def test_samples_are_measured_by_a_standard_outside_the_ladder(words: Language) -> None:
    given = ladder("mug.", "cup dog.", "lamp.")
    given = replace(
        given, responses=[replace(r, level=0) for r in given.responses], notes={"reference": ["cup dog.", "lamp."]}
    )
    (checked,) = AutoCheck(Table(), 0.75, words)([given])
    (inside,) = AutoCheck(Table(), 0.75, words)([ladder("cup dog. lamp.", "mug.", "cup dog.", "lamp.")])
    assert unchecked(checked) == ""
    assert texts_of(checked) == texts_of(inside)[1:]
    assert checked.levels == [level - 1 for level in inside.levels[1:]]
    assert [c.acc for c in coverages(checked)] == [c.acc for c in coverages(inside)[1:]]
    assert sorted(rechecked([checked])[0].score) == sorted(c.score for c in coverages(checked))


@pytest.mark.unit
def test_samples_without_any_standard_stay_unordered(words: Language) -> None:
    given = ladder("mug.", "cup dog.")
    given = replace(given, responses=[replace(r, level=0) for r in given.responses], notes={"flags": [UNORDERED]})
    (checked,) = AutoCheck(Table(), 0.75, words)([given])
    assert unchecked(checked) == "there is no standard response to measure samples by"
    assert checked.unordered
