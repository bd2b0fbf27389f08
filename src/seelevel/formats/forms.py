"""The forms of records, told by their keys, one record at a time: a file may mix rows with and without a pair."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from seelevel.formats import amp, llava, nlf, plain, ranked, swift, trl, vlsafe
from seelevel.formats.joining import grouped
from seelevel.formats.pairs import again
from seelevel.formats.pictures import Pictures
from seelevel.formats.questions import TEXTS, conversation_keys, has_more, no_question, refuse_more
from seelevel.formats.records import Record, Rejected, each_record
from seelevel.formats.sources import Source
from seelevel.formats.values import BadRecord, missing
from seelevel.ladder import Ladder

LADDER_KEYS = {"prompt", "responses", "annotations", "notes"}
"""The columns of our own Parquet files."""
LADDERS: dict[str, Callable[[str, dict[str, Any], Pictures], list[Ladder]]] = {
    "amp": amp.ladders,
    "nlf": nlf.ladders,
    "trl": trl.ladders,
    "swift": swift.ladders,
    "ranked": ranked.ladders,
    "vlsafe": vlsafe.ladders,
    "llava": llava.ladders,
    "plain": plain.ladders,
}
"""How one record of each form becomes ladders, in the order in which the forms are recognised."""


def form_of(record: dict[str, Any]) -> str | None:
    """The form of a record by its keys that are not null or NaN; None if no form has these keys."""
    keys = {key for key, value in record.items() if not missing(value)}
    if keys >= LADDER_KEYS:
        return "ladders"
    if "output_1" in keys:
        return "amp"
    if "interaction" in keys:
        return "nlf"
    if ({"chosen", "rejected"} <= record.keys() and keys & {"chosen", "rejected"}) or trl.inside(record):
        return "trl"
    if keys & {"rejected_response", *swift.WHOLE, "rejected_images"}:
        return "swift"
    if has_more(record):
        return None
    talk = conversation_keys(record)
    if ranked.listed(record) and (not talk or ranked.is_ordered(record)):
        return "ranked"
    if {"image_id", "query"} <= keys and not keys & set(plain.ANSWERS):
        return "vlsafe"
    if talk:
        return "llava"
    return "plain" if keys & {*TEXTS} and keys != {"input"} else None


def parse(source: Source, form: str | None = None) -> Iterator[Record | Rejected]:
    """The ladders of a file, and the records set aside. Each record is read by its own keys, or all in one form."""
    return grouped(each_record(source, ladders if form is None else LADDERS[form]))


def ladders(name: str, record: dict[str, Any], pictures: Pictures) -> list[Ladder]:
    """The ladders of one record in any form. Raises `BadRecord`."""
    if (ladder := again(name, record, pictures)) is not None:
        return [ladder]
    form = form_of(record)
    if form is None:
        refuse_more(record)
        raise no_question(record)
    if form == "ladders":
        raise BadRecord("a row of ladders, which is read from Parquet only")
    return LADDERS[form](name, record, pictures)
