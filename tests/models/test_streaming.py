"""A server's answer comes piece by piece, within the limits of a whole one, and is kept as one."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from seelevel.errors import InputError, ServerError
from seelevel.models.base import Prompt, Streaming, streamed
from seelevel.models.server import connection
from seelevel.models.server.spending import LEDGER
from tests.models.asking import GREEDY, ask, model
from tests.models.faulty_server import answer_to, serving
from tests.models.raw_server import KEY, chat_body, raw, serving_raw

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n"
USAGE = {"prompt_tokens": 3, "completion_tokens": 5}


def event(value: Any) -> bytes:
    return b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n"


def piece(content: str | None = None, ending: str | None = None, **delta: Any) -> bytes:
    delta |= {} if content is None else {"content": content}
    return event(
        {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": ending}]}
    )


WHOLE = [
    piece(role="assistant"),
    piece("a "),
    piece("red "),
    piece("cup"),
    piece(ending="stop"),
    event({"choices": [], "usage": USAGE}),
    event(b"[DONE]"),
]


def events(*parts: bytes) -> Callable[[socket.socket, str], None]:
    return lambda connection, head: connection.sendall(HEAD + b"".join(parts))


def heard(asked: Any, prompt: Prompt | None = None) -> tuple[list[str], bool]:
    """The pieces of an answer but empty ones, and whether it ended by itself."""
    pieces, answer = list[str](), streamed(asked, prompt or ask("what is it?"), GREEDY)
    try:
        while True:
            if text := next(answer):
                pieces.append(text)
    except StopIteration as end:
        return pieces, bool(end.value)


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEELEVEL_CACHE", str(tmp_path))
    monkeypatch.setenv("OPENAI_API_KEY", "EMPTY")


def test_pieces_come_as_the_server_sends_them_and_the_whole_is_kept() -> None:
    go = threading.Event()

    def respond(connection: socket.socket, head: str) -> None:
        connection.sendall(HEAD + b"".join(WHOLE[:2]))
        go.wait(30)
        connection.sendall(b"".join(WHOLE[2:]))

    with serving_raw(respond) as server:
        asked = model(server)
        assert isinstance(asked, Streaming)
        before = LEDGER.used()
        answer, pieces = asked.stream(ask("what is it?"), GREEDY), list[str]()
        while not pieces or not pieces[-1]:
            pieces.append(next(answer))
        assert pieces[-1] == "a "
        go.set()
        assert "".join(answer) == "red cup"
        [usage] = LEDGER.since(before).values()
        assert (usage.calls, usage.tokens_in, usage.tokens_out) == (1, 3, 5)
        [completion] = asked.generate([ask("what is it?")], GREEDY)
        assert (completion.text, completion.tokens, completion.finished) == ("a red cup", 5, True)
        assert heard(asked) == (["a red cup"], True)
        assert len(server.requests) == 1


def test_an_answer_at_its_limit_is_cut_and_thoughts_are_not_shown() -> None:
    parts = [piece(reasoning_content="hm, a cup?"), piece("a cup"), piece(ending="length"), event(b"[DONE]")]
    with serving_raw(events(*parts)) as server:
        asked = model(server)
        assert heard(asked) == (["a cup"], False)
        assert asked.generate([ask("what is it?")], GREEDY)[0].reasoning == "hm, a cup?"


def test_words_in_parts_are_read() -> None:
    parts = piece([{"type": "text", "text": "a "}, {"type": "text", "text": "cup"}])  # type: ignore[arg-type]
    with serving_raw(events(parts, piece(ending="stop"))) as server:
        assert heard(model(server)) == (["a cup"], True)


def test_halves_of_a_character_are_put_together() -> None:
    parts = [
        event(b'{"choices": [{"delta": {"content": "\\ud83d"}}]}'),
        event(b'{"choices": [{"delta": {"content": "\\ude00!"}}]}'),
    ]
    with serving_raw(events(*parts, piece(ending="stop"))) as server:
        assert heard(model(server)) == (["\U0001f600!"], True)


@pytest.mark.parametrize("refused", [{"stream_options"}, {"stream"}, {"stream", "stream_options"}])
def test_a_server_that_cannot_stream_gives_the_whole_answer(refused: set[str]) -> None:
    with serving() as server:
        server.unsupported = refused
        pieces, finished = heard(model(server))
        [question] = server.answered
        assert pieces == [answer_to(question)] and finished


def test_words_of_an_error_before_the_first_piece_are_tried_again() -> None:
    answers = iter([[event({"error": {"message": "out of blocks"}})], [], WHOLE])
    with serving_raw(lambda connection, head: connection.sendall(HEAD + b"".join(next(answers)))) as server:
        assert heard(model(server))[0] == ["a ", "red ", "cup"]
        assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (event({"error": {"message": "out of blocks"}}), "out of blocks"),
        (event({"error": "no blocks left"}), "no blocks left"),
        (event(b"{nothing"), "Expecting property name"),
        (event([1, 2]), "no JSON object"),
        (event(None), "no JSON object"),
        (event(b"[" * 200_000), ""),
        (event({"choices": {"0": {"delta": {"content": "lost"}}}}), "choices are no list"),
        (piece(42) + WHOLE[4], "content is no text"),  # type: ignore[arg-type]
        (piece(["lost"]) + WHOLE[4], "content is no text"),  # type: ignore[arg-type]
        (b"", "hung up"),
    ],
)
def test_an_answer_that_breaks_off_is_not_asked_for_again_and_counts(end: bytes, words: str) -> None:
    with serving_raw(events(*WHOLE[:3], end)) as server:
        asked, before = model(server, prices={"m": (1.0, 1.0)}), LEDGER.used()
        answer = asked.stream(ask("what is it?"), GREEDY)
        pieces = list[str]()
        with pytest.raises(ServerError, match=rf"#m: the answer broke off \(.*{words}"):
            pieces += answer  # keeps what came before
        assert len(server.requests) == 1
        [usage] = LEDGER.since(before).values()
        assert usage.cost > 0


def test_an_answer_that_ends_after_its_thoughts_is_asked_for_again() -> None:
    answers = iter([[piece(reasoning_content="hm, a cup?")], [piece(reasoning_content="a cup.")], WHOLE])
    with serving_raw(lambda connection, head: connection.sendall(HEAD + b"".join(next(answers)))) as server:
        asked = model(server)
        assert heard(asked)[0] == ["a ", "red ", "cup"]
        assert len(server.requests) == 3
        [kept] = asked.generate([ask("what is it?")], GREEDY)
        assert (kept.text, kept.note) == ("a red cup", "")


@pytest.mark.parametrize("end", [event(b"[DONE]"), event({"choices": [], "usage": USAGE}) + event(b"[DONE]")])
def test_an_end_without_a_reason_is_an_end(end: bytes) -> None:
    with serving_raw(events(*WHOLE[:4], end)) as server:
        asked = model(server)
        assert heard(asked) == (["a ", "red ", "cup"], True)
        assert [c.text for c in asked.generate([ask("what is it?")], GREEDY)] == ["a red cup"]
        assert len(server.requests) == 1


def test_the_limits_of_a_whole_reply_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    def drip(connection: socket.socket, head: str) -> None:
        connection.sendall(HEAD + WHOLE[1])
        with suppress(OSError):
            while True:
                connection.sendall(b": still there\n\n")
                time.sleep(0.05)

    with serving_raw(drip) as server:
        begun = time.monotonic()
        with pytest.raises(ServerError, match=r"broke off \(no complete reply within 1 s\)"):
            heard(model(server, timeout=1.0, tries=1))
        assert time.monotonic() - begun < 20
    monkeypatch.setattr(connection, "LARGEST", 1 << 16)
    large = events(WHOLE[1], *[b": " + b"a" * 1000 + b"\n"] * 100)
    with serving_raw(large) as server, pytest.raises(ServerError, match="a reply of over 0 MiB"):
        heard(model(server, tries=1))


def test_a_reader_may_stop_while_the_server_is_silent_and_while_it_speaks() -> None:
    gone = threading.Event()

    def respond(connection: socket.socket, head: str) -> None:
        time.sleep(1)
        try:
            connection.sendall(HEAD)
            for _ in range(2000):
                connection.sendall(WHOLE[1])
                time.sleep(0.01)
        except OSError:
            gone.set()

    with serving_raw(respond) as server:
        for wanted in ("", "a "):
            gone.clear()
            answer = model(server).stream(ask("what is it?"), GREEDY)
            while next(answer) != wanted:
                pass
            answer.close()
            assert gone.wait(30)


def test_a_key_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for shown in (KEY, KEY.upper(), "".join(f"%{ord(c):02x}" for c in KEY)):
        parts = [piece(shown[n : n + 3]) for n in range(0, len(shown), 3)]
        with serving_raw(events(WHOLE[1], *parts, *WHOLE[4:])) as server:
            pieces = list[str]()
            with pytest.raises(InputError, match=r"it showed the key of \$OPENAI_API_KEY"):
                pieces += model(server).stream(ask("what is it?"), GREEDY)


def test_a_reply_that_is_no_stream_is_read_whole() -> None:
    with serving_raw(lambda connection, head: connection.sendall(raw(chat_body()))) as server:
        assert heard(model(server)) == (["a cup"], True)


def test_why_there_is_no_answer_is_said() -> None:
    silent = events(piece(ending="content_filter"), event(b"[DONE]"))
    with serving_raw(silent) as server, pytest.raises(InputError, match="ended by content_filter, empty"):
        heard(model(server))
