"""Conversations in the forms of others → turns: LLaVA's, the chat form, content parts, pictures named in the text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from seelevel.formats.values import BadRecord, checked_text, empty, first, kind_of, missing, rows_of, shortly
from seelevel.json_text import loads
from seelevel.ladder import IMAGE_MARK, Message, Role

ROLES: dict[str, Role] = {
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(("gpt", "assistant", "chatgpt", "model", "bot", "llava", "ai"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
}
TOOLS = ("tool", "tools", "tool_call", "tool_response", "function", "function_call", "observation", "ipython")
"""Roles of turns that call a tool or hold its result."""
TEXTS = ("text", "input_text", "output_text")
PICTURES = ("image", "image_url", "input_image", "image_file")
"""Types of the parts that a content may have."""
SHOWN = re.compile(rf"{re.escape(IMAGE_MARK)}|<img>(?P<name>.*?)</img>", re.DOTALL)
"""A picture's place in a text. Qwen-VL's texts name the picture there."""
HELD = re.compile(r"""\[?\s*\{\s*(['"])(?:role|from|content|value)\1\s*:""")
"""The start of a text that holds turns, as in the cells of a table."""


@dataclass(frozen=True)
class Turn:
    """A message. `shown` has one entry per image mark: the picture that the turn itself names there, or None."""

    role: Role
    content: str
    shown: tuple[Any, ...] = ()

    @property
    def message(self) -> Message:
        return Message(role=self.role, content=self.content)


def turns(value: Any, name: str = "conversations") -> list[Turn]:
    """Turns in LLaVA's form ({from, value}) or the chat form ({role, content}; content: a text or a list of parts).

    One turn may stand without its list, and the list as a JSON text. A mapping of `user` and `assistant` is two turns.
    Empty system turns are left out. Raises `BadRecord`.
    """
    value = rows_of(opened(value, name))
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        raise BadRecord(f"{name} is {kind_of(value)}, not a list of turns")
    found = [turn for n, entry in enumerate(value) for turn in _turns_of(entry, f"{name}[{n}]")]
    return [turn for turn in found if turn.role != "system" or turn.content.strip()]


def turn(role: Role, content: Any, name: str) -> Turn:
    """One turn with a content of any form. Raises `BadRecord`."""
    return Turn(role, *_content(content, name))


def opened(value: Any, name: str) -> Any:
    """The turns that a table holds as a JSON text; any other value unchanged. Raises `BadRecord` if it is not JSON."""
    if not isinstance(value, str) or not HELD.match(value.lstrip()):
        return value
    try:
        return loads(value)
    except (ValueError, RecursionError) as error:
        raise BadRecord(
            f"{name} holds turns in a text that is not JSON; save the table as Parquet or JSON lines"
        ) from error


def _turns_of(value: Any, name: str) -> list[Turn]:
    if not isinstance(value, dict):
        raise BadRecord(f"{name} is {kind_of(value)}, not a turn")
    if (usual := _usual(value, name)) is not None:
        return [usual]
    if missing(first(value, "from", "role")):
        roles = [role for role in ("system", "human", "user", "gpt", "assistant") if not missing(value.get(role))]
        if roles:
            return [turn(ROLES[role], value[role], f"{name}.{role}") for role in roles]
    return [_turn(value, name)]


def _usual(value: dict[str, Any], name: str) -> Turn | None:
    """The most common turn, a role and one text without marks, read in half the time; None for any other."""
    role, content = value.get("role"), value.get("content")
    if type(content) is list and len(content) == 1 and type(content[0]) is dict:
        part = content[0]
        content = part.get("text") if len(part) == 2 and part.get("type") == "text" else None
    if len(value) != 2 or role not in ("user", "assistant") or type(content) is not str or "<" in content:
        return None
    return Turn(role, checked_text(content, name))


def _turn(value: dict[str, Any], name: str) -> Turn:
    role = first(value, "from", "role")
    role = role.strip().lower() if isinstance(role, str) else role
    calls = [key for key in ("tool_calls", "function_call") if not empty(value.get(key))]
    if calls or role in TOOLS:
        raise BadRecord(f"{name} is a turn of a tool ({calls[0] if calls else role}), which is not read")
    if not isinstance(role, str) or role not in ROLES:
        raise BadRecord(f"{name} is from {shortly(role)}, not human or gpt (user or assistant)")
    return turn(ROLES[role], first(value, "value", "content"), name)


def _content(content: Any, name: str) -> tuple[str, tuple[Any, ...]]:
    """A content as a text with image marks, and the pictures that it names itself."""
    text, shown = "", list[Any]()
    for part in content if isinstance(content, list) else [content]:
        piece, pictures = _part(part, name) if isinstance(part, dict) else _marked(checked_text(part, name))
        if piece == IMAGE_MARK and not text.replace(f"{IMAGE_MARK}\n", "") and isinstance(content, list):
            piece += "\n"  # before the text a mark has its own line, inside the text it has not
        text += piece
        shown += pictures
    return text, tuple(shown)


def _part(part: dict[str, Any], name: str) -> tuple[str, list[Any]]:
    kind = first(part, "type")
    if kind is None:  # Qwen-VL's lists have {"image": …} and {"text": …}
        kind = next((key for key in ("text", "image") if not missing(part.get(key))), None)
    if not isinstance(kind, str) or kind not in TEXTS + PICTURES:
        raise BadRecord(f"{name} has a part that is neither text nor image ({shortly(kind)})")
    if kind in TEXTS:
        return _marked(checked_text(part.get("text"), name))
    source = first(part, "image", "image_url", "url", "path", "base64", "source", "image_file", "bytes")
    return IMAGE_MARK, [None if empty(source) else source]


def _marked(text: str) -> tuple[str, list[Any]]:
    """A text in which every picture has a mark, and the names that stood there."""
    if IMAGE_MARK not in text and "<img>" not in text:
        return text, []
    return SHOWN.sub(IMAGE_MARK, text), [match["name"] for match in SHOWN.finditer(text)]


def split(messages: list[Message], images: int) -> tuple[list[Message], list[Message]]:
    """A conversation as (prompt, response).

    The prompt ends with the first user turn. If the conversation ends with a user turn, all of it is the prompt and the
    response is empty. Raises `BadRecord`.
    """
    messages = settled(messages, images)
    if messages[-1]["role"] == "user":
        return messages, []
    cut = 2 if messages[0]["role"] == "system" else 1
    return messages[:cut], messages[cut:]


def settled(messages: list[Message], images: int) -> list[Message]:
    """A conversation that fits a ladder. Raises `BadRecord` if it cannot.

    Turns alternate and start with the user, no answer is empty, and there is one image mark per picture. If there is no
    mark at all, marks are put before the first user turn.
    """
    start = 1 if messages and messages[0]["role"] == "system" else 0
    if not messages[start:]:
        raise BadRecord("conversation is empty")
    if messages[start]["role"] != "user":
        raise BadRecord("conversation does not start with the user")
    if len(messages) > start + 1 and messages[-1]["role"] == "assistant" and not messages[-1]["content"].strip():
        messages = messages[:-1]  # an empty last answer counts as no answer
    for number, message in enumerate(messages[start:]):
        if message["role"] != ("user", "assistant")[number % 2]:
            raise BadRecord(f"turns do not alternate between user and assistant (turn {number + 1})")
        if message["role"] == "assistant" and not message["content"].strip():
            raise BadRecord(f"turn {number + 1} is an empty answer")
        if number and message["role"] == "user" and not message["content"].strip():
            raise BadRecord(f"turn {number + 1} is an empty question")
        if message["role"] == "assistant" and IMAGE_MARK in message["content"]:
            raise BadRecord(f"turn {number + 1} is an answer with an {IMAGE_MARK} mark")
    marks = sum(message["content"].count(IMAGE_MARK) for message in messages)
    first = messages[start]
    if marks == 0 and images:
        first = Message(role="user", content=f"{IMAGE_MARK}\n" * images + first["content"])
        messages = [*messages[:start], first, *messages[start + 1 :]]
    elif marks > images:
        raise BadRecord(f"{marks} {IMAGE_MARK} marks but {images} image{'s' * (images != 1)}")
    elif marks < images:
        raise BadRecord(f"{images} images but only {marks} {IMAGE_MARK} mark{'s' * (marks != 1)}")
    if not first["content"].strip():
        raise BadRecord("the question is empty")
    return messages
