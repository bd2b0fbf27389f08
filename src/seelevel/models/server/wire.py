"""Prompts and replies in the format of OpenAI's chat completions."""

from __future__ import annotations

import base64
import json
import re
from contextlib import suppress
from dataclasses import replace
from typing import Any

from seelevel.images import encoded_picture
from seelevel.ladder import IMAGE_MARK, LONGEST_TEXT, unmarked
from seelevel.models.base import Completion, Prompt, Sampling
from seelevel.models.server.refusals import FILTERS, withheld
from seelevel.models.thinking import set_apart
from seelevel.thoughts import UNSPOKEN

HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""Half of a surrogate pair in JSON. Text cannot contain one without the other, so a lone half becomes '?'."""
CUT_SHORT = re.compile(r"length|max_tokens|model_length", re.IGNORECASE)
MOST_TOKENS = 10**9
LEAST_LOGPROB, ROUNDING = -1e6, 1e-3
"""A log-prob outside these bounds is absurd: it cannot be above 0 but for rounding."""
THOUGHTS = ("reasoning_content", "reasoning", "thinking", "reasoning_text")


class GarbledReplyError(Exception):
    """A server's reply that is not a chat completion, or one without a choice. `raw`: the reply. `note`: why this
    prompt has no answer, if the reply tells; `final`: whether it is kept: it was paid for, or would come again."""

    def __init__(self, raw: str, note: str = "", final: bool = False) -> None:
        super().__init__(note or "no chat completion in the reply")
        self.raw, self.note, self.final = raw, note, final


def read_reply(raw: str, most: int = 1) -> list[Completion]:
    """A chat completion's choices, at least one and at most `most`. Raises `GarbledReplyError` for any other text.

    A refusal counts as an answer. Thoughts, marked in the text or in a field of their own, are no part of the answer.
    An answer without text has a note. Tokens are counted for the whole reply: the first choice has all that were read,
    and those written are shared out.
    """
    if HALF.search(raw):
        with suppress(ValueError, RecursionError):
            raw = json.dumps(json.loads(raw), ensure_ascii=False).encode(errors="replace").decode()
    choices, usage = _choices(raw)
    choices = choices[:most]
    read, written = token_counts(usage)
    share, rest = divmod(written, len(choices))
    return [_completion(choice, share + (n < rest), 0 if n else read) for n, choice in enumerate(choices)]


def _completion(choice: dict[str, Any], tokens: int, read: int) -> Completion:
    ending, given = choice.get("finish_reason"), choice.get("message")
    message: dict[str, Any] = given if isinstance(given, dict) else {}
    content = message.get("content") or message.get("refusal") or ""
    text = unmarked(text_of(content)).strip()
    field = next((text_of(message[key]) for key in THOUGHTS if message.get(key)), "")
    thought = unmarked(field or text_of(content, thought=True)).strip()
    finished = not (isinstance(ending, str) and (CUT_SHORT.search(ending) or FILTERS.search(ending)))
    completion = set_apart(Completion(text, tokens, finished, "", read, thought))
    if not completion.reasoning:  # a mean over thoughts too is not the answer's
        completion = replace(completion, logprob=_mean_logprob(choice))
    if len(completion.text) > LONGEST_TEXT:
        return replace(completion, text="", note=f"over {LONGEST_TEXT:,} characters")
    if completion.text or completion.note:
        return completion
    if completion.reasoning and ending in (None, "stop"):
        return replace(completion, note=UNSPOKEN)
    if not given and not ending:
        return replace(completion, note="no message in the reply")
    return replace(completion, note="" if given and ending in (None, "stop") else f"ended by {ending}, empty")


def _mean_logprob(choice: dict[str, Any]) -> float | None:
    """The mean of the log-probs that a server gives for a choice's tokens; None if it gives none."""
    given = choice.get("logprobs")
    tokens = given.get("content") if isinstance(given, dict) else None
    values: list[Any] = [token.get("logprob") if isinstance(token, dict) else None for token in _list(tokens)]
    numbers = [value for value in values if type(value) in (int, float) and LEAST_LOGPROB <= value <= ROUNDING]
    return sum(numbers) / len(numbers) if numbers and len(numbers) == len(values) else None


def _choices(raw: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The choices of a chat completion that can be read, at least one, and its use of tokens."""
    try:
        reply = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise GarbledReplyError(raw) from error
    if not isinstance(reply, dict):
        raise GarbledReplyError(raw)
    choices, usage = reply.get("choices"), reply.get("usage")
    if not choices and (why := withheld(reply)):
        raise GarbledReplyError(raw, f"withheld by the server: {why}", final=True)
    if choices == [] or (choices is None and reply.get("object") == "chat.completion" and not reply.get("error")):
        # A completion without a choice is a reply; without a completion, many servers send `error` instead.
        raise GarbledReplyError(raw, "no choice in the reply", final=any(token_counts(usage)))
    whole = [c for c in _list(choices) if isinstance(c, dict) and ("message" in c or c.get("finish_reason"))]
    if not whole:
        raise GarbledReplyError(raw)
    return whole, usage if isinstance(usage, dict) else {}


def _list(value: Any) -> list[Any]:
    """A list as it is; anything else as an empty one."""
    return value if isinstance(value, list) else []


def token_counts(usage: Any) -> tuple[int, int]:
    """Tokens read and written; 0 for a count that is missing or absurd."""
    given = usage if isinstance(usage, dict) else {}
    counts = (given.get("prompt_tokens"), given.get("completion_tokens"))
    read, written = (n if type(n) is int and 0 <= n <= MOST_TOKENS else 0 for n in counts)
    return read, written


def text_of(content: Any, thought: bool = False) -> str:
    """The text of a message's content, a text or a list of parts; with `thought`, that of its thinking parts."""
    if isinstance(content, str):
        return "" if thought else content
    parts = content if isinstance(content, list) else [content]
    texts = []
    for part in parts:
        if not isinstance(part, dict):
            continue
        kind = str(part.get("type", "text"))
        if thought and kind in ("thinking", "reasoning"):
            texts.append(text_of(part.get("thinking") or part.get("text") or part.get("reasoning") or ""))
        elif not thought and kind in ("text", "output_text", "refusal"):
            texts.append(str(part.get("text") or part.get("refusal") or ""))
    return "".join(texts)


def parameters(sampling: Sampling, sample: int | None = None) -> dict[str, Any]:
    """A request's parameters beside its messages. Defaults of servers, and a seed without sampling, are left out.

    `sample`: the number of a sample, which has a seed of its own.
    """
    values: dict[str, Any] = {"max_tokens": sampling.max_new_tokens, "temperature": sampling.temperature}
    if sampling.temperature > 0:
        values["seed"] = sampling.seed + (sample or 0)
        if sampling.top_p < 1:
            values["top_p"] = sampling.top_p
    # Unknown to OpenAI, accepted by vLLM, SGLang, llama.cpp and others.
    others: dict[str, Any] = {}
    if sampling.repetition_penalty != 1.0:
        others["repetition_penalty"] = sampling.repetition_penalty
    if sampling.temperature > 0 and sampling.min_p > 0:
        others["min_p"] = sampling.min_p
    if others:
        values["extra_body"] = others
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
