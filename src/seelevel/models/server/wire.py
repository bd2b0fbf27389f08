"""Prompts and replies in the format of OpenAI's chat completions."""

from __future__ import annotations

import base64
import json
import re
from contextlib import suppress
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from seelevel.images import encoded_picture
from seelevel.ladder import IMAGE_MARK, unmarked
from seelevel.models.base import Completion, Prompt, Sampling

HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""Half of a surrogate pair in JSON. Text cannot contain one without the other, so a lone half becomes '?'."""
FILTERED = "ended by content_filter, empty"
"""The note of an answer that a server withholds for good."""


class GarbledReplyError(Exception):
    """A server's reply that is not a chat completion, or one without a choice (`empty`). `raw`: the reply."""

    def __init__(self, raw: str, empty: bool) -> None:
        super().__init__("no choice in the reply" if empty else "no chat completion in the reply")
        self.raw, self.empty = raw, empty


class _Message(BaseModel):
    content: str | list[dict[str, Any]] | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Reply(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    usage: Any = None


def read_reply(raw: str) -> Completion:
    """A chat completion's first choice. Raises `GarbledReplyError` for any other text.

    A refusal counts as an answer. An empty answer that did not end by itself has a note.
    """
    if HALF.search(raw):
        with suppress(ValueError, RecursionError):
            raw = json.dumps(json.loads(raw), ensure_ascii=False).encode(errors="replace").decode()
    try:
        reply = _Reply.model_validate_json(raw)
    except ValidationError as error:
        # An empty list of choices is a reply; without a list, many servers send `error` instead.
        raise GarbledReplyError(raw, empty=error.errors()[0]["type"] == "too_short") from error
    choice, usage = reply.choices[0], reply.usage if isinstance(reply.usage, dict) else {}
    read, tokens = (
        count if isinstance(count := usage.get(key), int) else 0 for key in ("prompt_tokens", "completion_tokens")
    )
    text = choice.message.content or ""
    if isinstance(text, list):
        text = "".join(str(part.get("text", "")) for part in text if part.get("type") == "text")
    text = unmarked(text or choice.message.refusal or "").strip()
    note = "" if text or choice.finish_reason in (None, "stop") else f"ended by {choice.finish_reason}, empty"
    return Completion(text, tokens, choice.finish_reason not in ("length", "content_filter"), note, read)


def is_flagged(error: Any) -> bool:
    """Whether an error of any status is about the prompt and not the account (OpenRouter's moderation)."""
    metadata = error.get("metadata") if isinstance(error, dict) else None
    return isinstance(metadata, dict) and "flagged_input" in metadata


def parameters(sampling: Sampling) -> dict[str, Any]:
    """A request's parameters beside its messages. Defaults of servers, and a seed without sampling, are left out."""
    values: dict[str, Any] = {"max_tokens": sampling.max_new_tokens, "temperature": sampling.temperature}
    if sampling.temperature > 0:
        values["seed"] = sampling.seed
        if sampling.top_p < 1:
            values["top_p"] = sampling.top_p
    if sampling.repetition_penalty != 1.0:  # unknown to OpenAI, accepted by vLLM, SGLang, llama.cpp and others
        values["extra_body"] = {"repetition_penalty": sampling.repetition_penalty}
    return values


def chat(prompt: Prompt) -> list[dict[str, Any]]:
    """Messages in OpenAI's format, with pictures in place of the user's `<image>` marks. The line break between a mark
    and the text belongs to the file format and is removed."""
    pictures = iter(prompt.images)
    turns: list[dict[str, Any]] = []
    for message in prompt.messages:
        pieces = message["content"].split(IMAGE_MARK) if message["role"] == "user" else [message["content"]]
        if len(pieces) == 1:
            turns.append({"role": message["role"], "content": message["content"]})
            continue
        content: list[dict[str, Any]] = []
        for number, piece in enumerate(pieces):
            if number:
                mime, raw = encoded_picture(next(pictures))
                url = f"data:{mime};base64,{base64.b64encode(raw).decode()}"
                content.append({"type": "image_url", "image_url": {"url": url}})
            if text := piece.strip("\n"):
                content.append({"type": "text", "text": text})
        turns.append({"role": message["role"], "content": content})
    return turns
