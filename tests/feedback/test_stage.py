"""The stage: every response rated, rounds of refined answers, ladders of either form."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from seelevel import feedback
from seelevel.errors import InputError
from seelevel.feedback import FeedbackSettings
from seelevel.formats import convert, read, shards
from seelevel.formats.parquet import read_ladders, write_shard
from seelevel.ladder import Feedback, Image, Ladder, Message, Response
from seelevel.models.base import Generator, ModelRef
from seelevel.notes import Checked, CheckNote, FeedbackNote, RoundOf, Unrated
from seelevel.store import StageFolder
from tests.formats.made import picture
from tests.judge.made import Critic, Speaker, counted, ladder, longer

pytestmark = pytest.mark.unit


def ran(
    folder: Path, monkeypatch: pytest.MonkeyPatch, given: list[Ladder], count: int = 1, **settings: Any
) -> tuple[list[Ladder], dict[str, Any]]:
    """The stage's ladders and facts, with a judge that counts words and a model that says one more each time."""
    models: dict[str, Callable[[], Generator]] = {"critic": lambda: Critic(counted), "speaker": lambda: Speaker(longer)}
    monkeypatch.setattr(feedback, "load_generator", lambda ref, batch_size=None: models[ref.name]())
    source = folder / "check"
    source.mkdir()
    for n in range(count):
        write_shard(source / f"shard-{n:05d}.parquet", given[n::count])
    stage = StageFolder(folder / "feedback", "print")
    stage.begin()
    asked = FeedbackSettings(judge="critic", **settings)
    model = None if asked.model is None else ModelRef(asked.model, asked.model)
    facts = feedback.run(source, stage, asked, ModelRef("critic", "critic"), model, folder, 0)
    return read_ladders(stage.path, folder), facts


def test_every_response_is_rated_and_order_and_levels_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,), facts = ran(tmp_path, monkeypatch, [ladder("one two three four", "one", "one two")])
    assert [(r.text, r.level) for r in found.responses] == [("one two three four", 0), ("one", 1), ("one two", 2)]
    assert [r.feedback and r.feedback.ratings["honesty"] for r in found.responses] == [4, 1, 2]
    assert found.responses[1].feedback == Feedback({"honesty": 1}, "1 words.", "Say a word more.", "critic")
    assert facts.responses == 3
    assert facts.ratings == {"honesty": {"mean": pytest.approx(7 / 3), "n": 3}}
    assert facts.ratings_by_round == {}  # no conversation was held


def test_each_round_is_a_ladder_with_its_history_as_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, facts = ran(tmp_path, monkeypatch, [ladder("four words are here")], model="speaker", rounds=3)
    assert [one.id for one in found] == ["a", "a#1", "a#2"]
    first, second, third = found
    assert [(r.text, r.level) for r in first.responses] == [("four words are here", 0), ("word", 1)]
    assert [m["content"] for m in third.prompt] == [
        "<image>\nWhat is there?",
        "word",
        "Say a word more. Please answer again.",
        "word word",
        "Say a word more. Please answer again.",
    ]
    assert [r.text for r in third.responses] == ["word word word"]
    assert second.round_of == RoundOf("a", 1, {"honesty": 1})
    assert facts.responses == 4


@pytest.mark.parametrize("form", ["rounds", "ratings"])
def test_ratings_by_round_are_of_the_conversations_own_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    given = [ladder("four words are here", "two words"), ladder("word", "one two", id="b")]
    _, facts = ran(tmp_path, monkeypatch, given, model="speaker", rounds=3, ladders=form)
    # both begin at 'word', which the second ladder holds already, as its standard response
    assert facts.ratings_by_round == {str(n): {"honesty": {"mean": n + 1, "n": 2}} for n in range(3)}
    assert facts.ratings == {"honesty": {"mean": pytest.approx(20 / 9), "n": 9}}  # 4 2 1 2 3, 1 2 2 3


def test_a_models_answer_in_the_ladder_begins_the_conversation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = ladder("four words are here", "its own answer")
    own = [one.responses[0], type(one.responses[1])(one.responses[1].messages, 1, {"model": "speaker"})]
    found, _ = ran(tmp_path, monkeypatch, [Ladder("a", one.images, one.prompt, own)], model="speaker", rounds=2)
    assert [m["content"] for m in found[1].prompt][1] == "its own answer"
    assert [r.text for r in found[0].responses] == ["four words are here", "its own answer"]


def test_a_new_first_answer_joins_the_last_level(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = [ladder("one two", "two", "three words here"), ladder("one two", id="b", standard=False)]
    found, _ = ran(tmp_path, monkeypatch, given, model="speaker", rounds=2)
    levels = {one.id: [(r.text, r.level) for r in one.responses] for one in found if one.round_of is None}
    assert levels == {
        "a": [("one two", 0), ("two", 1), ("three words here", 2), ("word", 2)],
        "b": [("one two", 0), ("word", 0)],
    }


def checked(*texts: str) -> Ladder:
    """A ladder whose checker kept the order and rated each response by the length of its text."""
    one = ladder(*texts)
    responses = [replace(r, check=Checked(n, rating=len(r.text))) for n, r in enumerate(one.responses)]
    return replace(one, responses=responses, check=CheckNote("x", tuple(one.levels)))


@pytest.mark.parametrize("form", ["rounds", "ratings"])
def test_levels_that_people_have_set_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    one = checked("a b", "b", "c d e").overridden(1, 0, "Ada").overridden(0, 1, "Ada")
    found, _ = ran(tmp_path, monkeypatch, [one], ladders=form)
    levels = {r.text: r.level for r in found[0].responses}
    assert (levels["b"], levels["a b"]) == (0, 1)  # by ratings 'b' is last
    texts = {r.id: r.text for r in found[0].responses}
    assert [(texts[o.response], o.to, o.replaces) for o in found[0].overrides] == [("b", 0, 1), ("a b", 1, 0)]


def test_a_reordered_response_keeps_its_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = checked("a b", "odd", "c d e")
    for form, texts, order in (("rounds", ["a b", "c d e"], [0, 2]), ("ratings", ["c d e", "a b"], [2, 0])):
        (tmp_path / form).mkdir()
        (found,), _ = ran(tmp_path / form, monkeypatch, [given], ladders=form)
        assert [r.text for r in found.responses] == texts
        assert [r.check for r in found.responses] == [
            Checked(n, rating=len(t)) for n, t in zip(order, texts, strict=True)
        ]
        assert (found.check, found.reordered) == (CheckNote("x", (0, 1, 2)), form == "ratings")


@pytest.mark.parametrize("form", ["rounds", "ratings"])
def test_an_added_answer_has_no_check_others_keep_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    given = checked("a b", "b").overridden(1, 5, "Ada")
    found, _ = ran(tmp_path, monkeypatch, [given], model="speaker", rounds=2, ladders=form)
    assert {r.text: r.check and r.check.place_before for r in found[0].responses}.items() >= {
        "a b": 0, "b": 1, "word": None,
    }.items()  # fmt: skip
    assert found[0].check == CheckNote("x", (0, 1))
    assert {r.text: r.level for r in found[0].responses}["b"] == 5


def rated(text: str, level: int, ratings: dict[str, int]) -> Response:
    said = Feedback(ratings, "Given.", "", "a person")
    return Response([Message(role="assistant", content=text)], level, feedback=said)


def test_answers_without_a_shared_criterion_are_a_tie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    responses = [rated("one", 0, {"harmlessness": 4}), rated("two", 1, {"honesty": 4, "helpfulness": 2})]
    given = replace(ladder("x"), responses=responses)
    (found,), facts = ran(tmp_path, monkeypatch, [given], ladders="ratings")
    assert [(r.text, r.level) for r in found.responses] == [("one", 0), ("two", 0)]
    assert found.feedback == FeedbackNote(not_compared=feedback.NOT_COMPARED)
    assert facts.not_compared == 1
    assert "1 of 1 ladders are ties" in capsys.readouterr().err


def test_an_answer_without_rating_is_left_out_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = replace(ladder("x"), responses=[rated("one", 0, {}), rated("two", 1, {"honesty": 4})])
    (found,), facts = ran(tmp_path, monkeypatch, [given], ladders="ratings")
    assert [(r.text, r.level) for r in found.responses] == [("two", 0)]
    reason = feedback.NOT_RATED
    assert found.feedback == FeedbackNote((Unrated("one", reason),))
    assert (facts.responses, facts.unscored) == (1, 1)
    assert f"1 of 2 responses unscored: 1 × {reason}" in capsys.readouterr().err


def test_ladders_of_ratings_put_a_refined_answer_above_the_standard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (found,), _ = ran(tmp_path, monkeypatch, [ladder("two words", "one")], model="speaker", rounds=3, ladders="ratings")
    assert [(r.text, r.level) for r in found.responses] == [
        ("word word word", 0), ("two words", 1), ("word word", 1), ("one", 2), ("word", 2),
    ]  # fmt: skip
    assert found.standard_displaced


def dialogue(*answers: str) -> Response:
    turns = [{"role": "assistant", "content": answers[0]}]
    for number, answer in enumerate(answers[1:], 2):
        turns += [{"role": "user", "content": f"Question {number}?"}, {"role": "assistant", "content": answer}]
    return Response(turns, 0)


def test_a_dialogues_answers_are_rated_after_their_own_earlier_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = ladder("standard")
    standard = replace(dialogue("one two", "one two three"), origin={"kind": "standard"})
    other = replace(dialogue("one", "one two"), level=1)
    found, facts = ran(tmp_path, monkeypatch, [replace(one, responses=[standard, other])], model="speaker", rounds=3)
    assert [(part.id, [r.text for r in part.responses]) for part in found] == [
        ("a", ["one two", "one"]), ("a/0#1", ["one two three"]), ("a/1#1", ["one two"]),
    ]  # fmt: skip
    assert [m["content"] for m in found[2].prompt] == ["<image>\nWhat is there?", "one", "Question 2?"]
    assert [r.feedback and r.feedback.ratings["honesty"] for part in found for r in part.responses] == [2, 1, 3, 2]
    assert facts.responses == 4


def test_rounds_written_as_lvlm_nlf_hold_every_rated_answer_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    image = Image(str(picture(tmp_path, "a.png")))
    talk = [dialogue("one two", "one two three"), replace(dialogue("one", "one two"), level=1)]
    given = [ladder("four words are here", "one"), replace(ladder("x", id="d"), responses=talk), ladder("odd", id="b")]
    found, facts = ran(
        tmp_path, monkeypatch, [replace(one, images=[image]) for one in given], model="speaker", rounds=3
    )
    assert convert(tmp_path / "feedback", tmp_path / "out" / "fb.jsonl", target_format="nlf")["written"] == 6
    back = [one for one in read(tmp_path / "out" / "fb.jsonl") if isinstance(one, Ladder)]

    def heard(ladders: list[Ladder]) -> list[Any]:
        return sorted(
            ([m["content"] for m in one.prompt], r.text, repr(r.feedback)) for one in ladders for r in one.responses
        )

    assert heard(back) == heard(found) and len(back) == facts.responses
    talks = {n: [r.text for one in back if one.interaction == n for r in one.responses] for n in ("a", "d/1", "a/0")}
    assert talks == {
        "a": ["word", "word word", "word word word"],
        "d/1": ["one", "one two"],
        "a/0": ["four words are here"],
    }
    assert "not written" not in capsys.readouterr().err


def test_ladders_of_ratings_leave_dialogues_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = replace(ladder("standard"), responses=[dialogue("one", "two"), replace(dialogue("three", "four"), level=1)])
    found, facts = ran(tmp_path, monkeypatch, [given], model="speaker", rounds=2, ladders="ratings")
    assert [one.responses for one in found] == [given.responses]
    assert facts.responses == 0  # none is rated


def test_what_the_judge_cannot_rate_is_left_out_and_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,), facts = ran(tmp_path, monkeypatch, [ladder("fine", "odd")])
    assert [r.text for r in found.responses] == ["fine"]
    assert found.feedback is not None
    [unscored] = found.feedback.unscored
    assert (unscored.text, unscored.reply) == ("odd", "?")
    assert (facts.responses, facts.unscored) == (1, 1)


@pytest.mark.parametrize(("turn", "answers"), [(1, 0), (2, 1)])
@pytest.mark.parametrize("form", ["rounds", "ratings"])
def test_an_answer_that_cannot_be_rated_ends_the_conversation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turn: int, answers: int, form: str
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "longer", lambda said: "odd" if len(said) == 2 * turn - 1 else "word")
    given = [ladder("four words are here")]
    (found,), facts = ran(tmp_path, monkeypatch, given, model="speaker", rounds=3, ladders=form)
    assert found.feedback is not None
    assert found.feedback.answers == answers
    (unscored,) = found.feedback.unscored
    assert (unscored.text, unscored.reply) == ("odd", "?")
    assert facts.unscored == 1


def test_feedback_that_is_there_is_not_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = ladder("one")
    given = Feedback({"honesty": 3}, "Given.", "", "a person")
    rated = type(one.responses[0])(one.responses[0].messages, 0, {}, feedback=given)
    (found,), _ = ran(tmp_path, monkeypatch, [Ladder("a", one.images, one.prompt, [rated])])
    assert found.responses[0].feedback == given


def test_a_stopped_stage_continues_and_ends_as_an_unbroken_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ladders = [ladder("four words are here", "one", id=f"l{n}") for n in range(6)]
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    ran(tmp_path / "whole", monkeypatch, ladders, 3, model="speaker", rounds=3)
    write, calls = shards.write_shard, list[Path]()

    def stopping(path: Path, *rest: Any) -> None:
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        write(path, *rest)

    monkeypatch.setattr(shards, "write_shard", stopping)
    with pytest.raises(KeyboardInterrupt):
        ran(tmp_path / "broken", monkeypatch, ladders, 3, model="speaker", rounds=3)
    stage = StageFolder(tmp_path / "broken" / "feedback", "print")
    stage.begin()
    asked = FeedbackSettings(judge="critic", model="speaker", rounds=3)
    refs = ModelRef("critic", "critic"), ModelRef("speaker", "speaker")
    feedback.run(tmp_path / "broken" / "check", stage, asked, *refs, tmp_path / "broken", 0)
    for path in sorted((tmp_path / "whole" / "feedback").glob("*.parquet")):
        assert (tmp_path / "broken" / "feedback" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rounds": 3}, "rounds: .* model"),
        ({"request": "{{ wish }}"}, "it knows critique and refinement"),
        ({"request": "{% if %}"}, "it knows critique and refinement"),
        ({"request": "{% if critique %}{{ wish }}{% endif %}"}, "it knows critique and refinement"),
        ({"request": "{{ 1 / 0 }}"}, "ZeroDivisionError division by zero; it knows"),
        ({"request": "{% include 'a' %}"}, "it knows critique and refinement"),
        ({"request": " "}, "empty"),
        ({"request": "<image> {{ critique }}"}, "<image>"),
        ({"model": "http://127.0.0.1:1/v1#m", "rounds": 2, "sampling": {"num_beams": 2}}, "num_beams: 1"),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FeedbackSettings(judge="critic", **wrong)


def test_a_judge_that_rates_nothing_is_named_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="critic rated none of 2 responses: 2 × it holds no JSON object"):
        ran(tmp_path, monkeypatch, [ladder("odd"), ladder("odd", id="b")])


@pytest.mark.parametrize("ladders", ["rounds", "ratings"])
@pytest.mark.parametrize("role", ["system", "user"])
def test_a_picture_before_the_question_stays_with_every_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ladders: str, role: Any
) -> None:
    before = [Message(role=role, content="<image>")]
    if role == "user":
        before.append(Message(role="assistant", content="I see."))
    one = replace(ladder("one two", "one"), prompt=[*before, Message(role="user", content="What is there?")])
    found, _ = ran(tmp_path, monkeypatch, [one], model="speaker", rounds=3, ladders=ladders)
    assert [len(part.images) for part in found] == [1] * (3 if ladders == "rounds" else 1)
    assert all(part.prompt[: len(before)] == before for part in found)


def test_a_picture_of_a_later_question_is_not_shown_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = dialogue("one two", "one").messages
    turns[1] = Message(role="user", content="<image>\nAnd here?")
    one = ladder("standard")
    found, _ = ran(
        tmp_path, monkeypatch, [replace(one, images=[Image("a.png"), Image("b.png")], responses=[Response(turns, 0)])]
    )
    assert [[Path(image.path).name for image in part.images] for part in found] == [["a.png"], ["a.png", "b.png"]]


def test_a_model_that_could_begin_no_conversation_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = replace(ladder("one two"), round_of=RoundOf("a", 0))
    _, facts = ran(tmp_path, monkeypatch, [one], model="speaker", rounds=3)
    assert facts.conversations == 0
    assert "no conversation" in capsys.readouterr().err
