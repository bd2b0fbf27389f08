"""Read a judge's reply.

The reasons in the `ValueError`s below go into a prompt (`REPAIR`): another wording may change what a judge replies.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

Record = Mapping[str, Any]
V = TypeVar("V")
S = TypeVar("S", bound=BaseModel)
Parse = Callable[[str, Record], V]
"""Reads a judge's reply to a record; raises ValueError with the reason if it cannot."""

RATINGS = re.compile(r"ratings?\W*\[([^\[\]]*)\]\W*$", re.IGNORECASE)


def one_line(error: ValueError) -> str:
    """Why a reply could not be read, without line breaks."""
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'reply'}: {e['msg']}" for e in error.errors())
    return " ".join(str(error).split())


def json_verdict(schema: type[S]) -> Parse[S]:
    """A parser for replies with one JSON object: alone, in a code fence or after an explanation.

    Two different verdicts are refused, because one may be an answer's verdict on itself that the judge repeats.
    """

    def parse(reply: str, record: Record) -> S:
        candidates = objects(reply)
        verdicts = [value for value in candidates if value.keys() & schema.model_fields.keys()]
        if any(value != verdicts[0] for value in verdicts):
            raise ValueError("it holds more than one verdict")
        return schema.model_validate((verdicts or candidates)[-1])

    return parse


def objects(reply: str) -> list[dict[str, Any]]:
    """The outermost JSON objects of a text. Braces without a quotation mark inside are plain text.

    Raises ValueError if there is none, or if one is invalid JSON: its readable parts may be an unescaped answer.
    """
    decoder = json.JSONDecoder()
    values: list[dict[str, Any]] = []
    place = reply.find("{")
    while place >= 0:
        try:
            value, end = decoder.raw_decode(reply, place)
            values.append(value)
        except json.JSONDecodeError as error:
            end = _closed(reply, place)
            if '"' in reply[place:end]:
                raise ValueError(f"an object in it is no JSON ({error.msg})") from error
        except RecursionError as error:
            raise ValueError("it is nested too deep") from error
        place = reply.find("{", end)
    if not values:
        raise ValueError("it holds no JSON object")
    return values


def _closed(text: str, place: int) -> int:
    """The end of the brace that opens at `place`; the text's end if it is never closed."""
    depth = 0
    for match in re.compile(r"[{}]").finditer(text, place):
        depth += 1 if match[0] == "{" else -1
        if depth == 0:
            return match.end()
    return len(text)


def parse_ratings(reply: str, count: int, top: int = 6) -> tuple[int | None, ...]:
    """`count` ratings from 0 to `top`, None for N/A, from the last line with 'Ratings:' (MRHal-Bench's form).

    Raises ValueError with the reason if they cannot be read.
    """
    lines = [line.strip() for line in reply.split("\n") if re.search(r"\bratings?\b\W*\[", line, re.IGNORECASE)]
    match = RATINGS.search(lines[-1]) if lines else None
    if match is None:
        raise ValueError("it does not end with a line 'Ratings: [...]'")
    entries = [entry.strip() for entry in match[1].split(",")]
    if len(entries) != count:
        raise ValueError(f"{len(entries)} ratings for {count} rounds")
    ratings: list[int | None] = []
    for entry in entries:
        if entry.upper() == "N/A":
            ratings.append(None)
        elif re.fullmatch(r"0|[1-9]\d?", entry, re.ASCII) and int(entry) <= top:
            ratings.append(int(entry))
        else:
            raise ValueError(f"rating '{entry}' is not a whole number from 0 to {top}")
    return tuple(ratings)
