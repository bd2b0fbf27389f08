"""Read a judge's reply.

The reasons in the `ValueError`s below go into a prompt (`REPAIR`): another wording may change what a judge replies.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from seelevel.json_text import unique_keys
from seelevel.thoughts import spoken

Record = Mapping[str, Any]
V = TypeVar("V")
S = TypeVar("S", bound=BaseModel)
Parse = Callable[[str, Record], V]
"""Reads a judge's reply to a record; raises ValueError with the reason if it cannot."""
LONGEST_LINE = 10_000
"""Characters of a line of ratings. The patterns for its end take time by the square of its length."""


def one_line(error: ValueError) -> str:
    """Why a reply could not be read, without line breaks."""
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'reply'}: {e['msg']}" for e in error.errors())
    return " ".join(str(error).split())


def json_verdict(schema: type[S]) -> Parse[S]:
    """A parser for replies with one JSON object: alone, in a code fence or after an explanation.

    Keys count in any case, and the object may be the only value of an outer one. Two different verdicts are refused,
    because one may be an answer's verdict on itself that the judge repeats. A draft in a judge's thoughts is none.
    """
    fields = {name.lower(): name for name in schema.model_fields}

    def known(value: dict[str, Any]) -> dict[str, Any]:
        while len(value) == 1 and not {key.lower() for key in value} & fields.keys():
            (inner,) = value.values()
            if not isinstance(inner, dict):
                break
            value = inner
        return unique_keys([(fields.get(key.lower(), key), entry) for key, entry in value.items()])

    def parse(reply: str, record: Record) -> S:
        candidates = [known(value) for value in objects(spoken(reply))]
        verdicts = [value for value in candidates if value.keys() & schema.model_fields.keys()]
        if any(value != verdicts[0] for value in verdicts):
            raise ValueError("it holds more than one verdict")
        return schema.model_validate((verdicts or candidates)[-1])

    return parse


def objects(reply: str) -> list[dict[str, Any]]:
    """The outermost JSON objects of a text. Braces without a quotation mark inside are plain text.

    A line break inside a text and a comma after the last entry are read. Raises ValueError if there is no object, if
    one is invalid JSON (its readable parts may be an unescaped answer), or if one has a key twice.
    """
    decoder = json.JSONDecoder(strict=False, object_pairs_hook=unique_keys)
    values: list[dict[str, Any]] = []
    place = reply.find("{")
    while place >= 0:
        try:
            value, end = decoder.raw_decode(reply, place)
            values.append(value)
        except json.JSONDecodeError as error:
            mended = reply[:place] + _COMMAS.sub(lambda match: match[1] or "", reply[place:])
            if mended != reply:
                reply = mended
                continue
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


def plain_number(value: Any, top: int) -> Any:
    """A rating as judges write it: 3, 3.0, "3", "3/4" or "3 out of 4" for a `top` of 4, "N/A" for None.

    Raises ValueError for true and false, and for another denominator. Other values are returned as they are.
    """
    if isinstance(value, bool):
        raise ValueError("it is true or false")  # which would pass for 1 and 0
    if not isinstance(value, str):
        return value
    match = _ENTRY.fullmatch(value.strip(_EDGE))
    if match is None or match["label"]:
        return value
    if match["of"] and int(match["of"]) != top:
        raise ValueError(f"it is out of {match['of']}, not out of {top}")
    return None if match["none"] else float(match["number"])


_COMMAS = re.compile(r"(\"(?:[^\"\\]|\\.)*+(?:\"|\\?\Z))|,(?=\s*+[}\]])", re.DOTALL)
"""A JSON text, maybe cut (kept), or the comma after the last entry."""
_EDGE = " \t*_`\"'\u201c\u201d"
_ENTRY = re.compile(
    r"(?:(?P<label>(?:(?:round|answer|response|question|turn)\s*)?#?\d+)\s*[:=]\s*)?[*_`\"']*"
    r"(?:(?P<number>(?:0|[1-9]\d?)(?:\.\d+)?)|(?P<none>n\s*/?\s*a|none|null))[*_`\"']*"
    r"\s*\(?(?:(?:/|out\s+of|of)\s*(?P<of>\d+))?\)?",
    re.IGNORECASE | re.ASCII,
)
"""A rating, with its round before it and the best rating after it."""
_LISTED = re.compile(
    r"\b(?:ratings?|scores?)\b(?:\s+(?:are|is)\b)?[\W_]*\[(?P<inside>[^\[\]]*)\](?P<after>.*)", re.IGNORECASE
)
_BARE = re.compile(
    r"[\W_]*(?:(?:the|my|final|overall)\s+)*(?:ratings?|scores?)(?:\s+(?:are|is))?[*_`\s]*[:=](?P<inside>.*?\w.*)",
    re.IGNORECASE,
)
_AFTER = re.compile(r"[\W_]*(?:(?:each\s+)?(?:out\s+of|/|of)\s*(?P<of>\d+)\W*|\([^()\[\]\d]*\)\W*)?", re.ASCII)
_REMARK = re.compile(r"\s*\([^()\[\]\d]*\)\W*$|[\s.*_`\"']+$")
_ROUND = re.compile(r"[\s*_`\"']*\((?P<inside>[^()]*)\)[\s.*_`\"']*")
"""A list in round brackets."""
_MATHS = re.compile(r"\\(?:boxed|text|mathbf)\b|[${}]|</?answer>", re.IGNORECASE)
_BROKEN = re.compile(r"(\b(?:ratings?|scores?)\b[^\w\n]*)\n\s*(?=\[)", re.IGNORECASE)
"""A line break between 'Ratings:' and its list."""
_BRACKETS = re.compile(r"\[[^\[\]]*\]")


def parse_ratings(reply: str, count: int | None, top: int = 6, halves: bool = False) -> tuple[float | None, ...]:
    """`count` ratings from 0 to `top`, None for N/A, from the last line with 'Ratings:' (MRHal-Bench's form).

    Ratings are whole numbers; with `halves`, 7.5 is one too. Entries may be quoted, numbered by round, or written as
    6/6. With `count` None any number of them will do. Raises ValueError with the reason if they cannot be read.
    """
    text = _BROKEN.sub(r"\1 ", _MATHS.sub("", spoken(reply)))
    text = _BRACKETS.sub(lambda match: match[0].replace("\n", " "), text)
    found = [match for line in text.split("\n") if (match := _LISTED.search(line) or _BARE.fullmatch(line))]
    listed = bool(found) and found[-1].re is _LISTED
    if count is None and found and not listed and len(found) > 1:
        raise ValueError(f"it has {len(found)} lines of ratings without a list")
    if found and len(found[-1][0]) > LONGEST_LINE:
        raise ValueError(f"its line of ratings has over {LONGEST_LINE:,} characters")
    tail = _AFTER.fullmatch(found[-1]["after"]) if listed else None
    if not found or (listed and tail is None):
        raise ValueError("it does not end with a line 'Ratings: [...]'")
    if tail is not None and tail["of"] and int(tail["of"]) != top:
        raise ValueError(f"its ratings are out of {tail['of']}, not out of {top}")
    inside = found[-1]["inside"]
    if not listed:
        inside = round_[1] if (round_ := _ROUND.fullmatch(inside)) else inside
        inside = re.sub(r"\s+and\s+|;", ",", _REMARK.sub("", inside))
    entries = [entry.strip(_EDGE) for entry in inside.split(",")]
    if count is not None and len(entries) != count:
        raise ValueError(f"{len(entries)} ratings for {count} rounds")
    return tuple(_rating(entry, place, top, halves) for place, entry in enumerate(entries, 1))


def _rating(entry: str, place: int, top: int, halves: bool) -> float | None:
    """One rating of a list. Raises ValueError if it is not plain, or is numbered for another place."""
    match = _ENTRY.fullmatch(entry)
    wrong = f"rating '{entry}' is not a whole number from 0 to {top}"
    if match is None or (match["of"] and int(match["of"]) != top):
        raise ValueError(wrong)
    if match["label"] and int(re.sub(r"\D", "", match["label"])) != place:
        raise ValueError(f"rating '{entry}' is in place {place}")
    if match["none"]:
        return None
    value = float(match["number"])
    if value > top or not (value * (2 if halves else 1)).is_integer():
        raise ValueError(wrong)
    return int(value) if value.is_integer() else value
