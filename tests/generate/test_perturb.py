"""Perturbation: shares by hand, words of the same form, articles that agree, nothing that depends on the order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seelevel import generate
from seelevel.formats.parquet import read_ladders, write_shard
from seelevel.generate.perturb import Perturbation, _form, article_of
from seelevel.generate.settings import PerturbationSettings
from seelevel.ladder import Ladder, Message, Response
from seelevel.store import StageFolder

pytestmark = pytest.mark.unit
ASK: list[Message] = [{"role": "user", "content": "Describe the picture."}]
# 10 words that can be replaced: dogs umbrella apples tree, small red, in under, two three
TEXT = "Two small dogs sit in a tree. Three red apples lie under an umbrella."
OTHERS = [
    "Four large horses stand on a boat. Six blue cups are near the apple.",
    "A green car stands behind the old barn with five cows.",
    "There is one cat.\nThe image shows 20 birds and 30 boats at the lake.",
]


def said(*texts: str) -> list[Message]:
    return [{"role": "user" if n % 2 else "assistant", "content": text} for n, text in enumerate(texts)]


def ladder(name: str, *texts: str) -> Ladder:
    return Ladder(name, [], ASK, [Response(said(*texts), 0, {"kind": "standard"})] if texts else [])


def data() -> list[Ladder]:
    return [ladder("x", TEXT), *(ladder(f"o{n}", text) for n, text in enumerate(OTHERS))]


def perturbed(*ladders: Ladder, seed: int = 0, **settings: Any) -> list[Ladder]:
    perturb = Perturbation(PerturbationSettings.model_validate({"method": "perturbation", **settings}), seed)
    perturb.learn(ladders)
    return [perturb(one) for one in ladders]


def test_each_level_has_its_share_of_the_words_replaced() -> None:
    levels = perturbed(*data())[0].responses
    assert levels[0].text == TEXT
    assert levels[1].origin["words"] == 10
    words = [[c for c in r.origin["changes"] if c["part"] != "article"] for r in levels[1:]]
    assert [len(changes) for changes in words] == [1, 3, 5]
    assert [r.origin["share"] for r in levels[1:]] == [0.1, 0.3, 0.5]
    assert [r.level for r in levels] == [0, 1, 2, 3]


def test_a_lower_level_keeps_the_changes_of_the_level_above() -> None:
    for one in perturbed(*data()):
        kept: set[tuple[str, str]] = set()
        for response in one.responses[1:]:
            now = {(c["was"], c["now"]) for c in response.origin["changes"] if c["part"] != "article"}
            assert kept < now
            kept = now


def test_changes_name_their_places_and_nothing_else_changes() -> None:
    for seed in range(20):
        for response in perturbed(*data(), seed=seed)[0].responses[1:]:
            text = response.text
            for change in reversed(response.origin["changes"]):
                assert text[change["start"] : change["end"]] == change["now"]
                assert change["was"] != change["now"]
                text = text[: change["start"]] + change["was"] + text[change["end"] :]
            assert text == TEXT


def test_replacements_have_the_same_form_in_the_standard_responses() -> None:
    forms = [
        {"dogs", "apples", "horses", "cups", "cows", "birds", "boats"},
        {"tree", "umbrella", "boat", "apple", "car", "barn", "cat", "lake"},
        {"small", "red", "large", "blue", "green", "old"},
        {"two", "three", "four", "six", "five"},
        {"20", "30"},
        {"in", "under", "on", "near", "behind", "with", "at"},
    ]
    for seed in range(30):
        for one in perturbed(*data(), seed=seed, shares=[0.5, 1.0]):
            for change in one.responses[-1].origin["changes"]:
                if change["part"] != "article":
                    assert any({change["was"].lower(), change["now"].lower()} <= form for form in forms), change
                    assert change["was"][0].isupper() == change["now"][0].isupper()


def test_a_and_an_follow_the_word_behind_them() -> None:
    seen = set()
    for seed in range(40):
        for one in perturbed(*data(), seed=seed, shares=[1.0]):
            for first, second in zip(one.responses[-1].text.split(), one.responses[-1].text.split()[1:], strict=False):
                if first in ("a", "an", "A", "An"):
                    assert first.lower() == article_of(second)
                    seen.add(first)
    assert {"a", "an"} <= seen


def test_articles_go_by_sound() -> None:
    for word in ("apple", "umbrella", "hour", "8", "11", "unimportant", "old", "honest", "Upper"):
        assert article_of(word) == "an"
    for word in ("cup", "unicorn", "European", "one", "once", "useful", "12", "110", "hotel", "utensil"):
        assert article_of(word) == "a"


def test_one_and_the_picture_itself_stay() -> None:
    [built] = perturbed(ladder("x", OTHERS[2]), shares=[1.0])
    assert {"cat", "image", "one"} <= set(built.responses[-1].text.replace(".", " ").split())


def test_perturbation_depends_on_the_seed_not_on_the_order() -> None:
    forward, backward = perturbed(*data()), perturbed(*reversed(data()))
    assert forward == backward[::-1]
    assert len({perturbed(*data(), seed=seed)[0].responses[-1].text for seed in range(5)}) > 1


def test_levels_that_come_out_equal_are_dropped_once() -> None:
    [built, *_] = perturbed(ladder("x", "A green boat."), *data())  # two words: 10% and 30% and 50% are one of them
    assert [r.level for r in built.responses] == [0, 1]
    assert [(d["model"], d["reason"]) for d in built.notes["dropped"]] == [
        ("perturbation of 30%", "repeats a better response"),
        ("perturbation of 50%", "repeats a better response"),
    ]


def test_all_rounds_are_perturbed_and_the_users_turns_stay() -> None:
    talk = ("Two small dogs sit in a tree.", "Is there a red cup?", "No, but an umbrella lies under the boat.")
    [built, *_] = perturbed(ladder("x", *talk), *data(), shares=[1.0])
    worst = built.responses[-1]
    assert [m["content"] for m in worst.messages if m["role"] == "user"] == ["Is there a red cup?"]
    assert {change["round"] for change in worst.origin["changes"]} == {0, 1}
    for change in worst.origin["changes"]:
        answer = worst.messages[2 * change["round"]]["content"]
        assert answer[change["start"] : change["end"]] == change["now"]


def test_what_cannot_be_perturbed_is_flagged() -> None:
    nothing, unanswered, *_ = perturbed(ladder("x", "Yes."), ladder("y"), *data())
    assert (len(nothing.responses), nothing.notes["flags"]) == (1, ["nothing to perturb"])
    assert (unanswered.responses, unanswered.notes["flags"]) == ([], ["no standard response", "no answer at all"])


def test_a_word_with_a_tag_it_seldom_has_stays() -> None:
    ladders = [ladder("odd", "The umbrellas old three."), *(ladder(f"n{n}", "Two umbrellas.") for n in range(5))]
    perturb = Perturbation(PerturbationSettings(), 0)
    perturb.learn(ladders)
    assert {w.tag for words in perturb._words.values() for w in words if w.text == "umbrellas"} == {"NNS"}


def test_a_plural_tagged_as_singular_replaces_no_singular() -> None:
    from spacy.tokens import Doc

    perturb = Perturbation(PerturbationSettings(), 0)
    words = ["a", "clouds", "near", "a", "boat"]
    doc = Doc(
        perturb._parser.vocab, words, tags=["DT", "NN", "IN", "DT", "NN"], deps=["det", "ROOT", "case", "det", "nmod"]
    )
    assert [_form(token) for token in doc] == [None, "NN plural", "IN", None, "NN"]


def test_a_stopped_stage_ends_in_the_same_bytes(tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    outcome = []
    for root in (whole, stopped):
        root.mkdir()
        for number in range(2):
            write_shard(StageFolder(root / "data", "x").shard(number), data()[number * 2 : number * 2 + 2], root)
        stage = StageFolder(root / "generate", "print")
        stage.begin()
        if root == stopped:
            (root / "generate" / "shard-00000.parquet").write_bytes(
                (whole / "generate" / "shard-00000.parquet").read_bytes()
            )
        facts = generate.run(root / "data", stage, PerturbationSettings(), [], root, 3)
        outcome.append((facts, [(root / "generate" / f"shard-0000{n}.parquet").read_bytes() for n in range(2)]))
    assert outcome[0] == outcome[1]
    assert len(read_ladders(whole / "generate", whole)) == 4
    assert outcome[0][0].responses_by_model["perturbation of 50%"] == 4
