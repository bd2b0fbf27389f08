"""Samples from servers: in one call if the server gives several choices, and none is lost or paid for twice."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seelevel.errors import ServerError
from seelevel.models.base import Completion, Prompt, Sampling
from seelevel.models.server.spending import LEDGER
from seelevel.models.server.wire import read_reply
from tests.models.asking import GREEDY, ask, model
from tests.models.faulty_server import KEY, answer_to, sample_of, serving

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("kept")]
WARM = Sampling(max_new_tokens=16, temperature=1.0, seed=10)


def samples(text: str, count: int, first: int = 0) -> list[Prompt]:
    return [replace(ask(text), sample=n) for n in range(first, first + count)]


def both(count: int) -> list[Prompt]:
    return samples("a", count) + samples("b", count)


def expected(text: str, count: int) -> list[str]:
    return [sample_of(f"user: {text}", 10 + n) for n in range(count)]


def texts(completions: list[Completion]) -> list[str]:
    return [completion.text for completion in completions]


def test_all_samples_of_a_prompt_come_in_one_call() -> None:
    with serving() as server:
        found = model(server).generate([*samples("a", 6), *samples("b", 6)], WARM)
        assert texts(found) == [*expected("a", 6), *expected("b", 6)]
        assert [(b["n"], b["seed"], b["logprobs"]) for b in server.bodies] == [(6, 10, True)] * 2
        assert {completion.logprob for completion in found} == {-1.0}
        assert {completion.tokens for completion in found} == {5}


def test_a_server_that_gives_one_choice_is_asked_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    with serving() as server:
        server.most_choices = 1
        made = model(server, concurrency=1)
        assert texts(made.generate([*samples("a", 4), *samples("b", 4)], WARM)) == [
            *expected("a", 4),
            *expected("b", 4),
        ]
        assert [body.get("n") for body in server.bodies] == [4, *[None] * 7]
        assert [body["seed"] for body in server.bodies] == [10, 11, 12, 13] * 2
    assert "gives one choice per call" in capsys.readouterr().err


def test_only_the_choices_that_a_reply_lacks_are_asked_for_again() -> None:
    with serving() as server:
        server.most_choices = 4
        made = model(server, concurrency=1)
        assert texts(made.generate([*samples("a", 6), *samples("b", 6)], WARM)) == [
            *expected("a", 6),
            *expected("b", 6),
        ]
        assert [body.get("n") for body in server.bodies] == [6, None, None] * 2


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "Only one completion choice is allowed"),
        (500, "Only one completion choice is allowed"),
        (400, "best_of must be 1"),
        (422, "Unsupported parameter: 'n'"),
    ],
)
def test_a_server_that_refuses_several_choices_loses_none(status: int, message: str) -> None:
    with serving() as server:
        server.refuses = lambda body: (status, {"error": {"message": message}}) if "n" in body else None
        made = model(server, concurrency=1)
        assert texts(made.generate([*samples("a", 3), *samples("b", 3)], WARM)) == [
            *expected("a", 3),
            *expected("b", 3),
        ]
        assert server.refused == 1


def test_a_prompt_that_is_refused_costs_no_other_its_choices() -> None:
    with serving() as server:
        too_long = (400, {"error": {"message": "the prompt is longer than the context"}})
        server.refuses = lambda body: too_long if "long" in json.dumps(body) else None
        found = model(server, concurrency=1).generate([*samples("long", 3), *samples("b", 3)], WARM)
        assert ["longer than" in completion.note for completion in found] == [True] * 3 + [False] * 3
        assert texts(found)[3:] == expected("b", 3)
        assert [body["n"] for body in server.bodies] == [3]


def test_a_later_run_asks_only_for_the_samples_that_are_missing() -> None:
    with serving() as server:
        made = model(server)
        made.generate(samples("a", 2), WARM)
        assert texts(model(server).generate(samples("a", 6), WARM)) == expected("a", 6)
        assert [(body["n"], body["seed"]) for body in server.bodies] == [(2, 10), (4, 12)]
        again = model(server).generate(samples("a", 6), WARM)
        assert (texts(again), again[5].logprob, len(server.bodies)) == (expected("a", 6), -1.0, 2)


def test_the_first_sample_is_the_reply_that_was_paid_before() -> None:
    with serving() as server:
        plain = model(server).generate([ask("a")], WARM)
        assert model(server).generate(samples("a", 1), WARM) == plain
        assert texts(plain) == [answer_to("user: a")]
        assert "logprobs" not in server.bodies[0] and len(server.bodies) == 1


def test_a_server_that_stops_in_between_loses_no_choice() -> None:
    """Two of three choices came, then the server fails for good. The next run asks for the third alone."""
    with serving() as server:
        server.most_choices = 2
        server.refuses = lambda body: None if "n" in body else (503, {"error": {"message": "busy"}})
        with pytest.raises(ServerError, match="503"):
            model(server, tries=2).generate(samples("a", 3), WARM)
        server.refuses = lambda body: None
        assert texts(model(server).generate(samples("a", 3), WARM)) == expected("a", 3)
        assert [(body.get("n"), body["seed"]) for body in server.bodies] == [(3, 10), (None, 12)]


@pytest.mark.parametrize(
    "reply",
    [
        {"choices": [], "usage": {"completion_tokens": 9}},
        {"choices": [], "error": {"code": "content_filter", "message": "no"}},
        {"choices": [{"finish_reason": "length", "message": {"content": ""}}] * 3},
        {"choices": [{"finish_reason": "stop", "message": {"content": None}}, {"finish_reason": "tool_calls"}]},
    ],
)
def test_empty_choices_are_paid_for_once(reply: dict[str, Any]) -> None:
    with serving() as server:
        server.replies = lambda question: reply
        first, second = (model(server).generate(samples("a", 3), WARM) for _ in range(2))
        assert first == second and texts(first) == [""] * 3
        assert len(server.bodies) == (1 if len(reply["choices"]) in (0, 3) else 2)


def test_the_key_is_removed_from_each_choice(kept: Path) -> None:
    """Only the choice that holds the key in an encoded form is lost."""
    said = ["A cup.", f"It is {KEY}.", base64.b64encode(KEY.encode()).decode(), f"<think>{KEY}</think>A bowl."]
    choices = [{"message": {"content": text}, "finish_reason": "stop"} for text in said]
    choices[0]["logprobs"] = {"content": [{"token": KEY, "logprob": -1.0, "bytes": list(KEY.encode())}]}
    with serving() as server:
        server.replies = lambda question: {"choices": choices}
        found = model(server).generate(samples("a", 4), WARM)
        assert texts(found) == ["A cup.", "It is ….", "", "A bowl."]
        assert (found[2].note, found[3].reasoning) == ("it held the key of $OPENAI_API_KEY in an encoded form", "…")
        assert model(server).generate(samples("a", 4), WARM) == found
        assert len(server.bodies) == 1
    kept_replies = [path.read_text() for path in kept.rglob("*.json")]
    assert len(kept_replies) == 4
    assert not any(secret in reply for reply in kept_replies for secret in (KEY, said[2]))


def test_choices_that_cannot_be_read_are_asked_for_again() -> None:
    good = {"message": {"content": "A cup."}, "finish_reason": "stop"}
    with serving() as server:
        server.replies = lambda question: {"choices": [None, good, "x", {}, good]} if len(server.bodies) == 1 else None
        assert texts(model(server).generate(samples("a", 3), WARM)) == ["A cup.", "A cup.", sample_of("user: a", 12)]


@pytest.mark.parametrize("fault", ["429", "500", "drop", "cut", "no json", "no choice"])
def test_a_call_for_several_that_fails_is_made_again_as_a_whole(fault: str) -> None:
    with serving(share=1.0, faults=[fault]) as server:
        assert texts(model(server).generate(samples("a", 5), WARM)) == expected("a", 5)
        assert server.answered == {"user: a": 1}
        assert {body["n"] for body in server.bodies} == {5}


def test_the_budget_counts_every_choice_once() -> None:
    with serving() as server:
        before = LEDGER.used()
        options: dict[str, Any] = {"prices": {"m": [0, 1]}, "concurrency": 1}  # a token costs 1e-6
        model(server, **options, budget=1e9).generate(samples("a", 3), WARM)
        (used,) = LEDGER.since(before).values()
        assert (used.calls, used.tokens_out, used.cost) == (1, 15, 15e-6)
        spent = sum(usage.cost for usage in LEDGER.used().values())
        with pytest.raises(ServerError, match="budget"):  # three answers have up to 48 tokens
            model(server, **options, budget=spent + 47.5e-6).generate(samples("b", 3), WARM)
        model(server, **options, budget=spent + 48.5e-6).generate(samples("b", 3), WARM)


def test_tokens_of_a_reply_are_shared_out_whole() -> None:
    choices = [{"message": {"content": text}, "finish_reason": "stop"} for text in "abc"]
    usage = {"prompt_tokens": 7, "completion_tokens": 11}
    reply = json.dumps({"choices": choices, "usage": usage})
    assert [(c.text, c.tokens, c.read) for c in read_reply(reply, 3)] == [("a", 4, 7), ("b", 4, 0), ("c", 3, 0)]
    assert [(c.text, c.tokens, c.read) for c in read_reply(reply)] == [("a", 11, 7)]  # more choices than asked for


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        [],
        {},
        *({"content": content} for content in (None, 5, "-1", {"logprob": -1}, ["-1"], [{"token": "a"}])),
        *({"content": [{"logprob": -1}, {"logprob": value}]} for value in (None, "-1", True, 1, -1e308, -(10**400))),
        *({"content": [{"logprob": -1}, {"logprob": value}]} for value in (float("nan"), float("-inf"))),
    ],
)
def test_absent_and_absurd_log_probs_are_unknown(logprobs: Any) -> None:
    choice = {"message": {"content": "a"}, "finish_reason": "stop", "logprobs": logprobs}
    assert read_reply(json.dumps({"choices": [choice]}))[0].logprob is None


def test_log_probs_of_thoughts_are_not_the_answers() -> None:
    message = {"content": "<think>Red?</think>A cup."}
    choice = {"message": message, "finish_reason": "stop", "logprobs": {"content": [{"logprob": -1.0}]}}
    assert read_reply(json.dumps({"choices": [choice]}))[0].logprob is None


def test_unknown_parameters_of_samples_are_given_up_by_name() -> None:
    with serving() as server:
        server.unsupported = {"min_p", "logprobs"}
        sampling = WARM.model_copy(update={"min_p": 0.1})
        found = model(server, concurrency=1).generate([*samples("a", 3), *samples("b", 3)], sampling)
        assert {completion.logprob for completion in found} == {None}
        assert [set(body) & {"min_p", "logprobs", "n"} for body in server.bodies] == [{"n"}] * 2


def test_min_p_is_sent_and_keyed_only_where_draws_are_made(kept: Path) -> None:
    with serving() as server:
        for sampling in (WARM, WARM.model_copy(update={"min_p": 0.1}), GREEDY.model_copy(update={"min_p": 0.1})):
            model(server).generate([ask("a")], sampling)
        model(server).generate([ask("a")], GREEDY)
        assert [body.get("min_p") for body in server.bodies] == [None, 0.1, None]
