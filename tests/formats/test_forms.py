"""Records of the field's forms become the ladders that their authors mean, without a flag."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from seelevel.errors import InputError
from seelevel.formats import KEYS, Rejected, guess_format, read
from seelevel.formats.forms import LADDERS, form_of
from seelevel.formats.sources import Source
from seelevel.ladder import Ladder
from tests.formats.made import essence, gpt, human, parsed, picture, write

pytestmark = pytest.mark.unit
PAIR = [(0, "A tram."), (1, "A bus.")]
SEEN = (["a.png"], ["<image>\nWhat drives there?"], PAIR)
ASK, ASK_MARKED = "What drives there?", "<image>\nWhat drives there?"


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def said(content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


def text(content: str) -> dict[str, Any]:
    return {"type": "text", "text": content}


TRAM, BUS = "A tram.", "A bus."
BOTH = {"chosen": "A tram.", "rejected": "A bus."}
PAIRS: dict[str, tuple[str, dict[str, Any]]] = {
    "RLAIF-V": ("trl", {"image": "a.png", "question": ASK, **BOTH, "idx": 4, "image_path": "gone.png"}),
    "RLHF-V": ("trl", {"text": json.dumps({"question": ASK, **BOTH}), "image": "a.png", "ds_name": "x"}),
    "MMPR": ("trl", {"image": ["a.png"], "question": ASK_MARKED, **BOTH}),
    "TRL with texts": ("trl", {"prompt": ASK, "images": ["a.png"], **BOTH}),
    "TRL with parts": (
        "trl",
        {
            "prompt": [user([{"type": "image", "text": None}, {"type": "text", "text": ASK}])],
            "chosen": [said([text("A tram.")])],
            "rejected": [said([text("A bus.")])],
            "images": ["a.png"],
        },
    ),
    "TRL without a prompt": (
        "trl",
        {"chosen": [user(ASK), said("A tram.")], "rejected": [user(ASK), said("A bus.")], "images": ["a.png"]},
    ),
    "UltraFeedback": (
        "trl",
        {
            "prompt": ASK,
            "messages": [user(ASK), said("A tram.")],
            "chosen": [user(ASK), said("A tram.")],
            "rejected": [user(ASK), said("A bus.")],
            "score_chosen": 8.0,
            "score_rejected": 3.5,
            "image": "a.png",
        },
    ),
    "whole conversations with parts": (
        "trl",
        {
            "prompt": ASK,
            "chosen": [user([{"type": "image"}, text(ASK)]), said("A tram.")],
            "rejected": [user([{"type": "image"}, text(ASK)]), said("A bus.")],
            "image": "a.png",
        },
    ),
    "the marks are in the prompt": (
        "trl",
        {
            "prompt": [user([{"type": "image", "image": "a.png"}, text(ASK)])],
            "chosen": [user(ASK), said("A tram.")],
            "rejected": [user(ASK), said("A bus.")],
        },
    ),
    "LLaMA-Factory, ShareGPT": (
        "trl",
        {
            "conversations": [human(ASK_MARKED)],
            "chosen": gpt("A tram."),
            "rejected": gpt("A bus."),
            "images": ["a.png"],
        },
    ),
    "LLaMA-Factory, OpenAI": (
        "trl",
        {"messages": [user(ASK_MARKED)], "chosen": said(TRAM), "rejected": said(BUS), "images": ["a.png"]},
    ),
    "alpaca": ("trl", {"instruction": ASK, "input": "", **BOTH, "system": "", "history": [], "images": ["a.png"]}),
    "ms-swift": (
        "swift",
        {"messages": [user(ASK_MARKED), said("A tram.")], "rejected_response": "A bus.", "images": ["a.png"]},
    ),
    "ms-swift, whole conversations": (
        "swift",
        {
            "messages": [user(ASK_MARKED), said("A tram.")],
            "rejected_messages": [user(ASK_MARKED), said("A bus.")],
            "images": [{"path": "a.png", "bytes": None}],
        },
    ),
    "POVID": (
        "swift",
        {
            "conversations": [human(ASK_MARKED), gpt(TRAM)],
            "rejected_conversations": [human(ASK_MARKED), gpt(BUS)],
            "image": "a.png",
        },
    ),
    "OpenAI's preferences": (
        "trl",
        {
            "input": {"messages": [user([{"type": "image_url", "image_url": {"url": "a.png"}}, text(ASK)])]},
            "preferred_output": [said(TRAM)],
            "non_preferred_output": [said(BUS)],
        },
    ),
    "ms-swift, old": (
        "swift",
        {"query": ASK, "response": "A tram.", "rejected_response": "A bus.", "history": None, "images": ["a.png"]},
    ),
    "LLaVA-RLHF": (
        "amp",
        {
            "image": "a.png",
            "conversations": [human(ASK_MARKED), gpt("?")],
            "output_1": {"from": "llava", "value": "A bus."},
            "output_2": {"from": "human", "value": "A tram."},
            "preference": 2,
        },
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_pair_of_each_form_is_a_ladder_of_two(tmp_path: Path, name: str) -> None:
    form, record = PAIRS[name]
    picture(tmp_path, "a.png")
    assert form_of(record) == form
    assert essence(parsed(record, tmp_path)) == SEEN


ANSWERED = (["a.png"], [ASK_MARKED], [(0, "A tram.")])
SINGLE: dict[str, tuple[str, dict[str, Any]]] = {
    "LLaVA": ("llava", {"conversations": [human(ASK_MARKED), gpt("A tram.")], "image": "a.png"}),
    "a sequence of structs": (
        "llava",
        {"conversations": {"from": ["human", "gpt"], "value": [ASK_MARKED, "A tram."]}, "image": "a.png"},
    ),
    "conversations as a JSON text": (
        "llava",
        {"conversations": json.dumps([human(ASK_MARKED), gpt(TRAM)]), "image": "a.png"},
    ),
    "The Cauldron": ("llava", {"texts": [{"user": ASK, "assistant": TRAM, "source": "x"}], "images": ["a.png"]}),
    "messages": ("llava", {"messages": [user(ASK_MARKED), said("A tram.")], "images": ["a.png"]}),
    "OpenAI's image_url": (
        "llava",
        {"messages": [user([{"type": "image_url", "image_url": {"url": "a.png"}}, text(ASK)]), said("A tram.")]},
    ),
    "OpenAI's input_image": (
        "llava",
        {
            "messages": [
                user([{"type": "input_image", "image_url": "a.png"}, {"type": "input_text", "text": ASK}]),
                said([{"type": "output_text", "text": "A tram."}]),
            ]
        },
    ),
    "Qwen's parts": (
        "llava",
        {"messages": [user([{"image": "a.png"}, {"text": ASK}]), said("A tram.")]},
    ),
    "alpaca": ("plain", {"instruction": ASK, "input": "", "output": "A tram.", "images": ["a.png"]}),
    "ms-swift, old": ("plain", {"query": ASK, "response": "A tram.", "images": ["a.png"]}),
    "a completion": ("plain", {"prompt": [user(ASK)], "completion": [said("A tram.")], "image": "a.png"}),
    "a question with its answer": ("plain", {"question": ASK, "answer": "A tram.", "image": "a.png"}),
    "a list of one": ("ranked", {"prompt": ASK, "responses": ["A tram."], "image": "a.png"}),
}


@pytest.mark.parametrize("name", SINGLE)
def test_one_answer_is_the_standard_response(tmp_path: Path, name: str) -> None:
    form, record = SINGLE[name]
    picture(tmp_path, "a.png")
    assert form_of(record) == form
    ladder = parsed(record, tmp_path)
    assert essence(ladder) == ANSWERED
    assert isinstance(ladder, Ladder)
    assert ladder.responses[0].is_standard


def test_a_whole_number_is_an_answer(tmp_path: Path) -> None:
    assert essence(parsed({"question": "How many?", "answer": 2}, tmp_path)) == ([], ["How many?"], [(0, "2")])


def test_a_question_alone_is_a_prompt(tmp_path: Path) -> None:
    assert essence(parsed({"query": "Who?", "response": None}, tmp_path)) == ([], ["Who?"], [])


def test_a_system_text_and_a_history_come_before_the_question(tmp_path: Path) -> None:
    asked = {"system": "Be short.", "history": [["Hi?", "Hello."]], "instruction": "Add.", "input": "2 and 3"}
    for answers in ({"output": "5"}, {"chosen": "5", "rejected": "6"}):
        ladder = parsed({**asked, **answers}, tmp_path)
        assert isinstance(ladder, Ladder)
        assert [(m["role"], m["content"]) for m in ladder.prompt] == [
            ("system", "Be short."),
            ("user", "Hi?"),
            ("assistant", "Hello."),
            ("user", "Add.\n2 and 3"),
        ]


def test_the_last_question_is_what_pairs_answer(tmp_path: Path) -> None:
    picture(tmp_path, "a.png")
    asked = [human("<image>What?"), gpt("A street."), human("Wet?")]
    expected = (["a.png"], ["<image>What?", "A street.", "Wet?"], [(0, "Yes."), (1, "No.")])
    record: dict[str, Any] = {"conversations": asked, "images": ["a.png"]}
    assert essence(parsed({**record, "chosen": gpt("Yes."), "rejected": gpt("No.")}, tmp_path)) == expected
    outputs = {"output_1": gpt("Yes."), "output_2": gpt("No."), "preference": 1}
    assert essence(parsed({**record, **outputs}, tmp_path)) == expected
    swift = {"messages": [*asked, gpt("Yes.")], "rejected_response": "No.", "images": ["a.png"]}
    assert essence(parsed(swift, tmp_path)) == expected


def test_conversations_may_differ_from_their_first_answers_on(tmp_path: Path) -> None:
    sides = [[user("Hi?"), said(f"{word}."), user("So?"), said(f"{word}!")] for word in ("Ho", "Hm")]
    expected = ([], ["Hi?"], [(0, "Ho.\n\nHo!"), (1, "Hm.\n\nHm!")])
    for beside in ({}, {"prompt": "Hi?"}, {"prompt": "Hi?", "messages": sides[0]}):
        assert essence(parsed({**beside, "chosen": sides[0], "rejected": sides[1]}, tmp_path)) == expected
    assert essence(parsed({"messages": sides[0], "rejected_messages": sides[1]}, tmp_path)) == expected


def test_pictures_go_to_the_marks_of_any_turn(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        picture(tmp_path, name)
    talk = [
        user([{"type": "image", "image": "b.png"}, text("This?")]),
        said("A tram."),
        user("And <image> or <image>?"),
    ]
    ladder = parsed({"messages": talk, "images": ["c.png", "a.png"]}, tmp_path)
    assert essence(ladder) == (
        ["b.png", "c.png", "a.png"],
        ["<image>\nThis?", "A tram.", "And <image> or <image>?"],
        [],
    )
    qwen = [human("Picture 1: <img>a.png</img>\nPicture 2: <img>b.png</img>\nWhich?"), gpt("The first.")]
    assert essence(parsed({"conversations": qwen}, tmp_path)) == (
        ["a.png", "b.png"],
        ["Picture 1: <image>\nPicture 2: <image>\nWhich?"],
        [(0, "The first.")],
    )


@pytest.mark.parametrize("role", ["assistant", "GPT", "ChatGPT", "model", "bot", "llava"])
def test_roles_have_many_names(tmp_path: Path, role: str) -> None:
    talk = [
        {"role": "developer", "content": "Be short."},
        {"role": "USER", "content": "Hi?"},
        {"role": role, "content": "Ho."},
    ]
    ladder = parsed({"messages": talk}, tmp_path)
    assert isinstance(ladder, Ladder)
    assert [m["role"] for m in [*ladder.prompt, *ladder.responses[0].messages]] == ["system", "user", "assistant"]


TALK = {"conversations": [human("Hi?"), gpt("Ho.")]}


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"question": "Hi?", "chosen": "Ho.", "rejected": "Ho."}, "chosen and rejected are the same"),
        ({"question": "Hi?", "chosen": "Ho."}, "chosen seems to hold another answer, but is not read"),
        ({"question": "Hi?", "chosen": "Ho.", "rejected": None}, "no rejected"),
        ({**BOTH, "score": 1}, "no question (prompt, question, query, instruction, messages); its keys are chosen"),
        ({"prompt": "Hi?", "question": "Who?", **BOTH}, "question asks another question than prompt"),
        ({"prompt": "Hi?", **BOTH, "score_chosen": 1, "score_rejected": 2}, "score_chosen 1 is below score_rejected 2"),
        ({"prompt": "Hi?", "chosen": [user("Who?"), said("a")], "rejected": [user("Who?"), said("b")]}, "is not the"),
        ({"prompt": "Hi?", "chosen": [user("Hi?"), said("a")], "rejected": [user("Who?"), said("b")]}, "different"),
        ({"prompt": "Hi?", "chosen": None, "rejected": "Ho."}, "no chosen"),
        ({"prompt": "Hi?", "chosen": "", "rejected": "Ho."}, "chosen does not end with an answer"),
        ({"prompt": "Hi?", "chosen": [said(None)], "rejected": "Ho."}, "chosen[0] is null, not a text"),
        ({"messages": [user("Hi?")], "rejected_response": "No."}, "messages does not end with an answer"),
        ({"messages": [user("Hi?"), said("Ho.")], "rejected_images": ["a.png"]}, "rejected_images is not read"),
        ({**TALK, "rejected_response": "a", "rejected_messages": [user("Hi?"), said("b")]}, "are two worse answers"),
        ({**TALK, "output_1": "a", "output_2": "b", "preference": 0}, "preference is 0, neither 1 nor 2"),
        ({**TALK, "output_1": "a", "output_2": "b", "preference": None}, "preference is null, neither 1 nor 2"),
        ({**TALK, "output_1": "a", "output_2": "b", "output_3": "c", "preference": 1}, "but there are 3"),
        ({**TALK, "output_1": "a", "output_2": "b", "preference": 1, "levels": [0, 1]}, "are two orders"),
        ({**TALK, "messages": [user("Who?"), said("Ho.")]}, "conversations and messages hold different conversations"),
        ({**TALK, "label": False}, "label says whether one answer is good"),
        ({"prompt": "Hi?", "completion": "Ho.", "label": True}, "label says whether one answer is good"),
        ({"question": "Hi?", "answer": "a", "response": "b"}, "are different answers, and nothing says"),
        ({"messages": [user("Hi?"), said(None)]}, "messages[1] is null, not a text"),
        ({"messages": None, "text": "Hi"}, "no question"),
        ({"messages": [user("Hi?"), {"role": "tool", "content": "3"}]}, "messages[1] is a turn of a tool (tool)"),
        ({"messages": [user("Hi?"), {**said("Ho."), "tool_calls": [{"id": 1}]}]}, "a turn of a tool (tool_calls)"),
        ({"conversations": [human("Hi?"), {"from": "observation", "value": "3"}]}, "a turn of a tool (observation)"),
        ({"messages": [user([{"type": "video", "video": "a.mp4"}, text("Hi?")])]}, "a part that is neither text nor"),
        ({"system": "A.", "messages": [{"role": "system", "content": "B."}, user("Hi?")]}, "different system texts"),
        ({**TALK, "chosen_answer": "a"}, "chosen_answer seems to hold another answer, but is not read"),
        ({"instruction": "Hi?", "history": [["a"]], "output": "b"}, "history[0] is not a question with its answer"),
        ({"a": 1}, "no question"),
        ({}, "its keys are none"),
    ],
)  # fmt: skip
def test_a_record_that_could_be_misread_is_set_aside(tmp_path: Path, record: dict[str, Any], reason: str) -> None:
    found = parsed(record, tmp_path)
    assert isinstance(found, str), found
    assert reason in found


def test_a_file_may_mix_forms(tmp_path: Path) -> None:
    rows = [TALK, {"conversations": [human("Hi?")], "chosen": gpt("a"), "rejected": gpt("b")}, {"x": 1}]
    path = write(tmp_path / "p.json", rows)
    assert guess_format(Source(path)) == "llava"
    first, second, third = read(path)
    assert isinstance(first, Ladder)
    assert isinstance(second, Ladder)
    assert ([r.text for r in first.responses], [r.text for r in second.responses]) == (["Ho."], ["a", "b"])
    assert isinstance(third, Rejected)
    assert third.reason.endswith("its keys are x")


def test_a_named_format_reads_every_record_its_way(tmp_path: Path) -> None:
    path = write(tmp_path / "p.json", [{**TALK, "output_1": "a", "output_2": "b"}])
    (as_talk,) = read(path, form="llava")
    assert isinstance(as_talk, Ladder)
    assert [r.text for r in as_talk.responses] == ["Ho."]


def test_a_file_of_no_form_names_its_keys(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no known form; the records have caption, url"):
        guess_format(Source(write(tmp_path / "p.json", [{"caption": "A tram.", "url": "x"}])))


@pytest.mark.parametrize("form", LADDERS)
def test_the_keys_that_messages_name_make_a_record_of_the_form(form: str) -> None:
    assert form_of({key: ["a", "b"] for key in KEYS[form]}) == form
