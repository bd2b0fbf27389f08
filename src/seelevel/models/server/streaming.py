"""A server's answer piece by piece."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from collections.abc import Generator as Pieces
from typing import Any

from seelevel.json_text import dumps
from seelevel.models.base import Completion
from seelevel.models.server.wire import THOUGHTS, GarbledReplyError, text_of, token_counts

STREAM = {"stream": True, "stream_options": {"include_usage": True}}
"""What asks for a stream, and for the count of its tokens."""
PATIENCE = 0.2
"""Seconds after which a wait for the server gives an empty piece, so that whoever reads can stop it."""
READ_TO_END = "read_to_end"
"""In a response's extensions: whether all was read until the server hung up. Nobody reads on after [DONE]."""
HALF = ("\ud800", "\udbff")
"""A character between these is the first half of one that needs two; the second may come with the next piece."""


class BrokenOffError(Exception):
    """An answer that ended after its first piece and before its end: it was paid for, and is not asked for again."""


class ReplyStream:
    """The pieces of one call, which a thread of its own makes. check: raises for a text that must not be shown;
    `has_piece`: whether there was a piece."""

    def __init__(self, check: Callable[[str], None]) -> None:
        self.stop, self.has_piece = threading.Event(), False
        self._check, self._text, self._waiting = check, "", ""
        self._queue = queue.SimpleQueue[str | None]()

    def pieces(self, call: Callable[[], Completion]) -> Pieces[str, None, Completion]:
        """The pieces that a call puts here, empty ones while the server is silent, and then what it returns. Closing
        the iterator hangs up as soon as the server says another word. Raises what the call raises."""
        done, errors = list[Completion](), list[BaseException]()

        def answer() -> None:
            try:
                done.append(call())
            except BaseException as error:  # raised where the pieces are read
                errors.append(error)
            finally:
                self._queue.put(None)

        threading.Thread(target=answer, name="answer", daemon=True).start()
        try:
            while (piece := self._next()) is not None:
                yield piece
        finally:
            self.stop.set()
        if errors:
            raise errors[0]
        return done[0]

    def _next(self) -> str | None:
        try:
            return self._queue.get(timeout=PATIENCE)
        except queue.Empty:
            return ""

    def reply(self, client: Any, sent: dict[str, Any]) -> str:
        """Send a request and pass on the pieces of its answer; returns the reply as it would have come whole.

        Some servers give no `finish_reason`; then the last line of a stream, [DONE], tells that the answer is whole.
        Raises the library's errors or `GarbledReplyError` before the first piece, and `BrokenOffError` after it.
        """
        import openai

        stream = client.chat.completions.create(**sent)
        with stream:
            if not is_stream(stream.response):  # it does not know what a stream is
                return str(stream.response.text)
            message, ending, usage = dict[str, str](), None, (0, 0)
            try:
                for chunk in stream:
                    given = _object(chunk)
                    usage = max(usage, token_counts(given.get("usage")))
                    choice = _first(given.get("choices"))
                    ending = str(choice.get("finish_reason") or "") or ending
                    self._add_delta(choice.get("delta"), message)
                    if self.stop.is_set():
                        raise BrokenOffError("stopped")
            except (openai.APIError, ValueError, RecursionError) as error:
                if self.has_piece:
                    raise BrokenOffError(_reason(error)) from error
                if isinstance(error, openai.APIConnectionError):
                    raise
                raise GarbledReplyError(_reason(error)) from error
        if ending is None and message and stream.response.extensions.get(READ_TO_END, True):
            raise (BrokenOffError if self.has_piece else GarbledReplyError)("the server hung up")
        choices = [{"message": message, "finish_reason": ending}] if message or ending else None
        counts = dict(zip(("prompt_tokens", "completion_tokens"), usage, strict=True))
        return dumps({"choices": choices, "usage": counts}, ensure_ascii=True)  # halves of characters stay readable

    def _add_delta(self, delta: Any, message: dict[str, str]) -> None:
        """Add what a piece brings to the message, and pass on its words. Raises `ValueError` for words in a form that
        nobody would read: an answer without them would be another one."""
        if delta is None:
            return
        for field in ("content", "refusal", *THOUGHTS):
            given = _object(delta).get(field)
            parts = given if isinstance(given, list) else []
            if not isinstance(given, str | None) and not (parts and all(isinstance(part, dict) for part in parts)):
                raise ValueError(f"a piece of the answer whose {field} is no text")
            if value := text_of(given or ""):
                message[field] = message.get(field, "") + value
                if field in ("content", "refusal"):
                    self._emit(value)

    def _emit(self, text: str) -> None:
        self._waiting += text
        if HALF[0] <= self._waiting[-1] <= HALF[1]:
            return
        whole, self._waiting = self._waiting.encode("utf-16", "surrogatepass").decode("utf-16", "replace"), ""
        self._text += whole
        self._check(self._text)
        self.has_piece = True
        self._queue.put(whole)


def is_stream(response: Any) -> bool:
    """Whether a reply is one of server-sent events."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return bool(response.status_code == 200 and kind == "text/event-stream")


def _first(choices: Any) -> dict[str, Any]:
    """The first choice of a piece; an empty one if there is none, as in the last piece, which has the counts. Raises
    `ValueError` for anything else."""
    if not isinstance(choices, list | None):
        raise ValueError("a piece of the answer whose choices are no list")
    return _object(choices[0]) if choices else {}


def _object(value: Any) -> dict[str, Any]:
    """A piece, or a part of one, as JSON. Raises `ValueError` if it is no object."""
    given = value.to_dict(warnings=False) if hasattr(value, "to_dict") else value
    if not isinstance(given, dict):
        raise ValueError("a piece of the answer that is no JSON object")
    return given


def _reason(error: BaseException) -> str:
    from seelevel.models.server.faults import cause_of

    cause = cause_of(error)
    if isinstance(body := getattr(cause, "body", None), str) and body:
        return " ".join(body.split())[:120]  # the server's words
    return " ".join(str(cause).split())[:120] or type(cause).__name__
