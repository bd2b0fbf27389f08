"""What servers say when they refuse: a prompt, a parameter, or pictures at all."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Any

FILTERS = re.compile(
    r"content_?filter|prohibited_content|safety|recitation|blocklist|spii|data_inspection|moderation"
    r"|content_?policy|policy_?violation|sensitive",
    re.IGNORECASE,
)
"""How servers call the reason why they withhold an answer."""
BLIND = re.compile(
    r"image input is not supported|mmproj|not compiled for multimodal|not a multimodal model"
    r"|(?:does not|doesn't|do not|cannot) (?:support|accept|process|take) (?:image|vision|multimodal|picture)"
    r"|(?:image|image_url|vision|multimodal)\W+(?:inputs? |content )?(?:is|are) (?:not|only) supported"
    r"|no endpoints found that support image|at most 0 image|missing data required for image"
    r"|content\W{0,3} must be a string|unknown variant \W?image_url",
    re.IGNORECASE,
)
"""How servers say that their model takes no pictures: some under status 500, as if it might pass."""
LASTING = re.compile(r"context (?:size|length|window)|failed to load image|n_ctx", re.IGNORECASE)
"""Words under a status from 500 that are about the prompt: the same call fails again."""
REFUSES = re.compile(
    r"support|unrecogni[sz]ed|unknown|unexpected|extra|permitted|allowed|deprecated|cannot both|not implemented"
    r"|no longer|accepted|invalid (?:parameter|argument|field)|only the default|strictly positive",
    re.IGNORECASE,
)
TOO_MUCH = re.compile(
    r"too (?:large|high|long|many)|at (?:most|least)|maximum|exceed|(?:less|greater) than", re.IGNORECASE
)
LIMITS = ("max_tokens", "max_completion_tokens")
PARAMETERS = (
    "stream_options",
    "stream",
    "logprobs",
    "seed",
    "repetition_penalty",
    "min_p",
    "top_p",
    "temperature",
    LIMITS[0],
)
"""What a server may refuse; of two that it names together, the first is given up."""
DEEPEST, LONGEST_WORDS, LONGEST_ERROR = 12, 10_000, 200_000
"""Of an error: values inside each other, characters of a text, and of it all as JSON."""


def shortened(value: Any) -> Any:
    """An error's JSON without what is nested deep, texts cut: errors are searched and shown whole. One that is still
    large becomes a text, cut too."""
    value = _shallow(value, DEEPEST)
    text = json.dumps(value, ensure_ascii=False)
    return value if len(text) <= LONGEST_ERROR else text[:LONGEST_ERROR]


def _shallow(value: Any, depth: int) -> Any:
    if isinstance(value, dict | list) and not depth:
        return "…"
    if isinstance(value, dict):
        return {key: _shallow(inner, depth - 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [_shallow(inner, depth - 1) for inner in value]
    return value[:LONGEST_WORDS] if isinstance(value, str) else value


def refused_parameter(error: Any, sent: Collection[str]) -> str:
    """The parameter among `sent` that a server's error of status 400 or 422 names as the cause; '' if it names none.

    `error` is the reply's JSON. Servers name it in `param`, in `loc` (FastAPI), or in the message. A limit that is only
    too high is not refused.
    """
    text = json.dumps(error, ensure_ascii=False, default=str)
    if not REFUSES.search(text):
        return ""
    names = [name for name in PARAMETERS if name in sent and not (name in LIMITS and TOO_MUCH.search(text))]
    named = [str(value).rpartition(".")[2] for value in _values(error, ("param", "loc"))]
    # In a message the name counts where it is quoted or called a parameter: a repeated prompt may hold the same word.
    called = r"\b(?:parameter|argument|field|property|name|key)s?\W+(?:\w+\W+){0,3}?"
    quoted = [n for n in names if re.search(rf"[\\'\"`\[(]{n}[\\'\"`\]),]|\b{n}:|: {n}\b|{called}{n}\b", text)]
    return next((name for name in names if name in named), (quoted or [""])[0])


def _values(value: Any, keys: Collection[str]) -> Iterator[Any]:
    """All values under the given keys of nested JSON; the items of a list one by one."""
    if isinstance(value, list):
        for item in value:
            yield from _values(item, keys)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key in keys:
                yield from inner if isinstance(inner, list) else [inner]
            yield from _values(inner, keys)


def without(body: dict[str, Any], given_up: Collection[str]) -> dict[str, Any]:
    """A request without the parameters that a server has refused. A refused `max_tokens` gets its newer name."""
    sent = {key: value for key, value in body.items() if key not in given_up}
    if LIMITS[0] in given_up and LIMITS[0] in body and LIMITS[1] not in given_up:
        sent[LIMITS[1]] = body[LIMITS[0]]
    if "extra_body" in sent:
        sent["extra_body"] = {key: value for key, value in sent["extra_body"].items() if key not in given_up}
    return sent


def is_flagged(error: Any) -> bool:
    """Whether an error of any status is about the prompt and not the account: a filter, or OpenRouter's moderation."""
    if not isinstance(error, dict):
        return False
    metadata = error.get("metadata")
    kind = f"{error.get('code')} {error.get('type')}"
    return (isinstance(metadata, dict) and "flagged_input" in metadata) or bool(FILTERS.search(kind))


def withheld(reply: dict[str, Any]) -> str:
    """What a reply without a choice says of a filter, in a few words; '' if it says nothing of one."""
    for key in ("error", "prompt_feedback", "promptFeedback"):
        said = json.dumps(reply.get(key), ensure_ascii=False)
        if reply.get(key) and (FILTERS.search(said) or is_flagged(reply[key])):
            return said[:120]
    return ""
