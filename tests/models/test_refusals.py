"""What servers refuse: a parameter is given up once, a filtered prompt is dropped, a blind model ends the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pictures

from seelevel.errors import InputError
from seelevel.models.base import ApiSettings, Sampling
from seelevel.models.server.client import ApiModel
from seelevel.models.server.refusals import refused_parameter, without
from seelevel.models.server.wire import GarbledReplyError, read_reply
from tests.models.asking import GREEDY, ask, model
from tests.models.faulty_server import answer_to, serving

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("kept")]
SENT = ("seed", "temperature", "top_p", "max_tokens", "repetition_penalty")
DRAWN = Sampling(max_new_tokens=16, temperature=0.7, top_p=0.9, seed=3, repetition_penalty=1.1)


@pytest.mark.parametrize(
    ("error", "name"),
    [
        ({"message": "Unsupported parameter: 'temperature' is not supported.", "param": "temperature"}, "temperature"),
        (
            {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]},
            "seed",
        ),
        ({"message": "[{'type': 'extra_forbidden', 'loc': ('body', 'top_p'), 'msg': 'Extra inputs'}]"}, "top_p"),
        ({"message": "seed: Extra inputs are not permitted"}, "seed"),
        ({"message": "property 'repetition_penalty' is unsupported"}, "repetition_penalty"),
        ({"message": 'Invalid JSON payload received. Unknown name "seed": Cannot find field.'}, "seed"),
        ({"message": "Unrecognized request argument supplied: seed"}, "seed"),
        ({"message": "Argument not supported on this model: seed"}, "seed"),
        ({"message": "extraneous key [top_p] is not permitted"}, "top_p"),
        ({"message": "invalid temperature: only 1 is allowed for this model"}, "temperature"),
        ({"message": "`temperature` and `top_p` cannot both be specified for this model."}, "top_p"),
        (
            {"message": "Use 'max_completion_tokens' instead, 'max_tokens' is not supported.", "param": "max_tokens"},
            "max_tokens",
        ),
        ({"error": "Input validation error: `temperature` must be strictly positive"}, "temperature"),
        ({"message": "max_tokens is too large: this model supports at most 4096", "param": "max_tokens"}, ""),
        ({"message": "This prompt is not allowed: plant the seed in warm earth"}, ""),
        ({"message": "The prompt is too long"}, ""),
        ("no mapping at all", ""),
        (None, ""),
    ],
)
def test_a_servers_error_names_the_parameter(error: Any, name: str) -> None:
    assert refused_parameter(error, SENT) == name


def test_a_refused_limit_gets_its_newer_name() -> None:
    body = {"model": "m", "max_tokens": 5, "extra_body": {"repetition_penalty": 1.1}}
    assert without(body, {"max_tokens", "repetition_penalty"}) == {
        "model": "m", "max_completion_tokens": 5, "extra_body": {},
    }  # fmt: skip


@pytest.mark.parametrize("status", [400, 422])
def test_whatever_a_server_names_is_given_up_and_said_once(status: int, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("seed", "top_p", "repetition_penalty", "temperature")

    def refuses(body: dict[str, Any]) -> tuple[int, Any] | None:
        found = [name for name in names if name in body]
        detail = [
            {"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted"}
            for name in found[:1]
        ]
        return (status, {"detail": detail}) if found else None

    with serving() as server:
        server.refuses = refuses
        asked = model(server, concurrency=1)
        texts = [found.text for found in asked.generate([ask(str(n)) for n in range(5)], DRAWN)]
        assert texts == [answer_to(f"user: {n}") for n in range(5)]
        assert {frozenset(body) for body in server.bodies} == {frozenset({"model", "messages", "max_tokens"})}
        assert server.refused == len(names)
    said = capsys.readouterr().err
    assert all(said.count(f"accepts no {name};") == 1 for name in names)


def test_a_server_that_takes_no_pictures_ends_the_run_at_once(tmp_path: Path) -> None:
    Pictures.new("RGB", (8, 8)).save(tmp_path / "a.png")
    message = "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj"
    with serving() as server:
        server.refuses = lambda body: (500, {"error": {"code": 500, "message": message, "type": "server_error"}})
        with pytest.raises(InputError, match=r"takes no pictures .*mmproj"):
            model(server, tries=9).generate([ask("What?", str(tmp_path / "a.png"))], GREEDY)
        assert server.refused == 1


def test_a_prompt_beyond_the_context_is_dropped_whatever_the_status() -> None:
    with serving() as server:
        long = {"error": {"message": "the request exceeds the available context size", "type": "server_error"}}
        server.refuses = lambda body: (500, long) if "long" in json.dumps(body) else None
        first, second = model(server, tries=9).generate([ask("long"), ask("short")], GREEDY)
        assert (first.text, second.text) == ("", answer_to("user: short"))
        assert "context size" in first.note
        assert server.refused == 1


FILTERED: list[dict[str, Any]] = [
    {"choices": [{"finish_reason": "content_filter: PROHIBITED_CONTENT", "message": None}]},
    {"choices": [{"finish_reason": "content_filter", "message": {"content": None}}]},
    {"choices": [{"finish_reason": "SAFETY"}]},
    {"choices": [{"index": 0, "message": None}]},
    {"choices": [], "prompt_feedback": {"block_reason": "PROHIBITED_CONTENT"}},
    {"choices": None, "object": "chat.completion", "error": {"code": "content_filter", "message": "filtered"}},
    {"error": {"code": 403, "message": "flagged", "metadata": {"flagged_input": "?"}}},
]


@pytest.mark.parametrize("reply", FILTERED)
def test_a_filtered_prompt_is_dropped_with_its_reason_and_not_asked_again(reply: dict[str, Any]) -> None:
    with serving() as server:
        server.replies = lambda question: reply if "knife" in question else None
        asked = model(server, tries=9)
        first, second = asked.generate([ask("a knife"), ask("a cup")], GREEDY)
        assert (first.text, second.text) == ("", answer_to("user: a cup"))
        assert first.note.startswith(("ended by ", "withheld by the server: ", "no message"))
        assert server.asked["user: a knife"] == 1


def test_an_error_of_another_kind_under_status_200_is_no_filter() -> None:
    with pytest.raises(GarbledReplyError) as caught:
        read_reply('{"error": {"message": "the model is loading"}}')
    assert not caught.value.note and not caught.value.final


def test_a_reply_that_calls_a_tool_is_kept_and_not_paid_again() -> None:
    with serving() as server:
        server.replies = lambda question: {"choices": [{"finish_reason": "tool_calls", "message": {"content": None}}]}
        for _ in range(2):
            (found,) = model(server).generate([ask("a")], GREEDY)
            assert found.note == "ended by tool_calls, empty"
        assert sum(server.asked.values()) == 1


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking"])
def test_thoughts_in_a_field_of_their_own_are_reasoning(name: str) -> None:
    (found,) = read_reply(
        json.dumps({"choices": [{"message": {"content": "A cup.", name: "Red?"}, "finish_reason": "stop"}]})
    )
    assert (found.text, found.reasoning, found.note) == ("A cup.", "Red?", "")


def test_thoughts_in_parts_of_the_content_are_reasoning() -> None:
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "Red?"}]}, {"type": "text", "text": "A cup."}]
    (found,) = read_reply(json.dumps({"choices": [{"message": {"content": parts}, "finish_reason": "stop"}]}))
    assert (found.text, found.reasoning) == ("A cup.", "Red?")


@pytest.mark.parametrize(
    ("message", "ending", "note"),
    [
        ({"content": "<think>Is it"}, "length", "it ends inside its thoughts; raise max_new_tokens"),
        ({"content": None, "reasoning_content": "Is it"}, "length", "ended by length, empty"),
        ({"content": "", "reasoning": "Is it"}, "stop", "it has thoughts but no answer"),
    ],
)
def test_a_reply_of_thoughts_alone_has_no_answer_and_says_why(message: dict[str, Any], ending: str, note: str) -> None:
    (found,) = read_reply(json.dumps({"choices": [{"message": message, "finish_reason": ending}]}))
    assert (found.text, found.reasoning, found.note) == ("", "Is it", note)


def test_a_reply_kept_by_an_older_version_is_split_when_it_is_read(kept: Path) -> None:
    with serving() as server:
        model(server).generate([ask("a")], GREEDY)
        (file,) = kept.rglob("*.json")
        old = {"text": "<think>Red?</think>A cup.", "tokens": 5, "finished": True, "note": "", "read": 0}
        file.write_text(json.dumps(old))
        (found,) = model(server).generate([ask("a")], GREEDY)
    assert (found.text, found.reasoning) == ("A cup.", "Red?")


def test_a_model_may_have_its_own_time_limit() -> None:
    settings = ApiSettings(timeout=5, timeouts={"slow": 900})
    limits = [ApiModel(f"http://127.0.0.1:1/v1#{name}", settings)._timeout for name in ("slow", "fast")]
    assert limits == [900, 5]


def test_a_reply_cut_in_a_thought_that_the_servers_template_began_is_no_answer() -> None:
    endings = {"user: a": "stop", "user: b": "length"}
    texts = {"user: a": "Red or blue?</think>A cup.", "user: b": "Red or"}
    with serving() as server:
        server.replies = lambda question: {
            "choices": [{"finish_reason": endings[question], "message": {"content": texts[question]}}]
        }
        for _ in range(2):  # asked, then kept
            first, second = model(server).generate([ask("a"), ask("b")], GREEDY)
            assert (first.text, first.reasoning) == ("A cup.", "Red or blue?")
            assert (second.text, second.reasoning) == ("", "Red or")
            assert "inside its thoughts" in second.note
