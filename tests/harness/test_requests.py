"""Requests of lmms-eval become prompts and decoding options, or are refused with their place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from seelevel.errors import InputError
from seelevel.harness.requests import before, prompt_of, sampling_of
from seelevel.models.base import Sampling

pytestmark = pytest.mark.unit
DEFAULT = Sampling(max_new_tokens=512, seed=3)


def options(**arguments: Any) -> Sampling:
    return sampling_of(arguments, DEFAULT, "task pope: generation_kwargs")[0]


def test_options_are_those_of_the_task_else_the_defaults() -> None:
    assert options() == DEFAULT
    assert options(max_new_tokens=128, num_beams=2, repetition_penalty=1.2, seed=7) == Sampling(
        max_new_tokens=128, num_beams=2, repetition_penalty=1.2, seed=7
    )


@pytest.mark.parametrize(
    ("arguments", "temperature"),
    [
        ({"do_sample": False, "temperature": 0.2, "top_p": 0}, 0.0),  # as transformers reads it
        ({"temperature": 0.0, "top_p": 0}, 0.0),
        ({"temperature": 0.7, "top_p": 0.9}, 0.7),
        ({"do_sample": True}, 1.0),
        ({"do_sample": True, "temperature": 0.7, "top_k": 1}, 0.0),
        ({"do_sample": True, "temperature": 0.7, "top_k": -1}, 0.7),
    ],
)
def test_an_answer_is_drawn_only_if_the_task_draws(arguments: dict[str, Any], temperature: float) -> None:
    sampling = options(**arguments)
    assert sampling.temperature == temperature
    assert sampling.top_p == (0.9 if arguments.get("top_p") == 0.9 else 1.0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"max_new_token": 5}, "max_new_token cannot be honoured; did you mean 'max_new_tokens'"),
        ({"do_sample": True, "temperature": 0}, "do_sample is true and temperature 0"),
        ({"do_sample": True, "top_k": 50}, "top_k 50 cannot be honoured"),
        ({"temperature": 0.7, "top_p": 0}, "top_p is 0"),
        ({"max_new_tokens": "many"}, "max_new_tokens is 'many'"),
        ({"temperature": 0.7, "num_beams": 4}, "beams search and do not sample"),
        ({"until": {"a": 1}}, "until is {'a': 1}, not a text"),
    ],
)
def test_what_cannot_be_honoured_is_refused_with_the_task(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match="task pope: generation_kwargs") as error:
        options(**arguments)
    assert words in str(error.value)


def test_an_answer_ends_before_the_first_stop() -> None:
    _, stops = sampling_of({"until": ["\n\n", ",", ""], "stop_sequences": "."}, DEFAULT, "task pope: generation_kwargs")
    assert stops == ("\n\n", ",", ".")
    assert before("Yes. Or no, or\n\nyes", stops) == "Yes"
    assert before("Yes", stops) == before("Yes", ()) == "Yes"


def picture(colour: str, mode: str = "RGB") -> Image.Image:
    return Image.new("RGB", (8, 6), colour).convert(mode)


def turn(*parts: Any, role: str = "user") -> dict[str, Any]:
    content = [
        {"type": "text", "text": part} if isinstance(part, str) else {"type": "image", "url": part} for part in parts
    ]
    return {"role": role, "content": content}


def test_a_question_is_asked_as_evaluate_asks_it(tmp_path: Path) -> None:
    prompt = prompt_of([turn(picture("red"), "Is there a cup?")], tmp_path, "task pope, doc 3")
    assert prompt.messages == [{"role": "user", "content": "<image>\nIs there a cup?"}]
    with Image.open(prompt.images[0]) as shown:
        assert shown.getpixel((0, 0)) == (255, 0, 0)


def test_pictures_keep_their_places_between_texts_and_turns(tmp_path: Path) -> None:
    file = tmp_path / "file.png"
    picture("red").save(file)
    asked = [
        turn("Be brief.", role="system"),
        turn(picture("red", "CMYK"), "or", picture("blue"), "?"),
        turn("The first.", role="assistant"),
        {"role": "user", "content": [{"type": "image", "url": str(file)}, {"type": "text", "text": "And this?"}]},
    ]
    prompt = prompt_of(asked, tmp_path, "task t, doc 0")
    assert [message["role"] for message in prompt.messages] == ["system", "user", "assistant", "user"]
    assert [message["content"] for message in prompt.messages][1] == "<image>\nor\n<image>\n?"
    assert len(set(prompt.images)) == 3
    assert prompt.images[2] == str(file)


def test_a_question_without_a_picture_is_asked_alone(tmp_path: Path) -> None:
    prompt = prompt_of([{"role": "user", "content": "2 + 2?"}], tmp_path, "task t, doc 0")
    assert (prompt.messages, prompt.images) == ([{"role": "user", "content": "2 + 2?"}], [])


def test_marks_in_the_text_say_where_the_pictures_belong(tmp_path: Path) -> None:
    asked = turn(picture("red"), picture("blue"), "Left <image>, right <image>?")
    prompt = prompt_of([asked], tmp_path, "task t, doc 0")
    assert prompt.messages[0]["content"] == "Left <image>, right <image>?"
    assert len(prompt.images) == 2


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([turn(picture("red"), "A <image> or <image>?")], "2 <image> marks for 1 pictures"),
        ([{"role": "user", "content": [{"type": "video", "url": "a.mp4"}]}], "a part of type video"),
        ([turn("/nowhere/a.png"), turn(picture("red"), role="assistant")], "a picture in a turn of the assistant"),
        ([turn("Yes.", role="assistant")], "its last turn is not the user's"),
        ([], "its last turn is not the user's"),
        ([turn({"bytes": b""})], "a picture is a dict"),
        ([{"role": "user", "content": [{"type": "image", "url": "https://a/b.png"}]}], "is not a file here"),
        ([{"role": "tool", "content": "4"}], "a turn of 'tool'"),
    ],
)
def test_what_cannot_be_shown_is_refused_with_its_document(tmp_path: Path, messages: list[Any], words: str) -> None:
    with pytest.raises(InputError, match="task t, doc 5") as error:
        prompt_of(messages, tmp_path, "task t, doc 5")
    assert words in str(error.value)
