"""Shared by all readers of other people's files: records, their ids, and why one is set aside."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seelevel.formats.pictures import Pictures
from seelevel.formats.sources import Source
from seelevel.formats.turns import settled
from seelevel.formats.values import BadRecord, checked_text, mapping, missing, name_of
from seelevel.image_store import ImageStore
from seelevel.images import ImageError
from seelevel.ladder import LONGEST_TEXT, Image, Ladder, Message, Response, changed
from seelevel.thoughts import may_think, split_thought

__all__ = [  # what a reader of one's own imports from here
    "BadRecord", "Pictures", "Record", "Rejected", "accepted", "checked_text", "distinct", "each_record",
    "mapping", "screened", "settled",
]  # fmt: skip
REPEATED = "repeats an earlier record: the same id and content"
"""The reason of records that do no harm: they do not count for `max_rejected`."""
GIVEN_ID = "id_in_file"
"""The note with a record's own id, where its ladder had to get another."""


@dataclass(frozen=True)
class Rejected:
    """A record set aside: its place in the file, its id (may be empty), and the reason."""

    where: str
    id: str
    reason: str


@dataclass(frozen=True)
class Record:
    """A ladder and its place in the file. `unnamed`: the record has no id, so the ladder is named by its place."""

    where: str
    ladder: Ladder
    unnamed: bool = False


def each_record(
    source: Source, ladders_of: Callable[[str, dict[str, Any], Pictures], Iterable[Ladder]]
) -> Iterator[Record | Rejected]:
    """The records of a source in order, each as the ladders that `ladders_of(id, record, pictures)` returns.

    The pictures exist but are not decoded yet. NaN, which tables write for a missing value, becomes null. Thoughts in
    answers are kept apart. If `ladders_of` raises `BadRecord`, the whole record is set aside. Raises `InputError` if
    the source as a whole cannot be read.
    """
    pictures = Pictures(source.images, source.path, source.keep, source.fetch)
    for number, (where, record) in enumerate(source.records()):
        name = given = ""
        try:
            if not isinstance(record, dict):
                raise BadRecord("not a mapping")
            if float in map(type, record.values()):
                record = {key: None if missing(value) else value for key, value in record.items()}
            given = name_of(record.get("id"), "id")
            name = given or f"{source.stem}-{number}"
            ladders = list(map(without_thoughts, ladders_of(name, record, pictures)))
        except BadRecord as error:
            yield Rejected(where, name, str(error))
            continue
        for ladder in ladders:
            yield Record(where, ladder, unnamed=not given)


def without_thoughts(ladder: Ladder) -> Ladder:
    """The ladder with the thoughts in its answers moved to their `reasoning`; those in its prompt are left out.

    Raises `BadRecord` for an answer of thoughts alone, and for answers that nothing but thoughts tells apart.
    """
    if not _may_think(ladder.prompt) and not any(_may_think(response.messages) for response in ladder.responses):
        return ladder
    prompt, _ = _spoken(ladder.prompt)
    responses = [_without_thoughts(response) for response in ladder.responses]
    if (prompt, responses) == (ladder.prompt, ladder.responses):
        return ladder
    for better, worse in ladder.pairs():
        if responses[better].messages == responses[worse].messages:
            raise BadRecord("two answers of different levels differ in their thoughts alone")
    ids = {old.id: new.id for old, new in zip(ladder.responses, responses, strict=True)}
    overrides = tuple(replace(o, response=ids.get(o.response, o.response)) for o in ladder.overrides)
    return replace(ladder, prompt=prompt, responses=responses, overrides=overrides)


def _may_think(messages: list[Message]) -> bool:
    return any(message["role"] == "assistant" and may_think(message["content"]) for message in messages)


def _without_thoughts(response: Response) -> Response:
    messages, thoughts = _spoken(response.messages)
    reasoning = "\n\n".join(filter(None, [response.reasoning, *thoughts]))
    return replace(response, messages=messages, reasoning=reasoning)


def _spoken(messages: list[Message]) -> tuple[list[Message], list[str]]:
    """The messages without the thoughts of marked answers, and those thoughts. Raises `BadRecord`."""
    spoken, thoughts = list[Message](), list[str]()
    for message in messages:
        split = split_thought(message["content"])
        if message["role"] != "assistant" or not split.marked:
            spoken.append(message)
            continue
        if split.why:
            raise BadRecord(f"an answer cannot be read: {split.why}")
        spoken.append(Message(role="assistant", content=split.answer))
        thoughts.append(split.reasoning)
    return spoken, thoughts


def distinct(records: Iterable[Record | Rejected]) -> Iterator[Record | Rejected]:
    """The records with ids that differ: many files name their records by the picture, so ids repeat.

    A record with an id of an earlier one is set aside if it says the same. Otherwise it becomes `ID~2`, `ID~3` and so
    on, the first that no ladder before has, and keeps its own id in its notes.
    """
    taken: set[str] = set()
    contents: set[int] = set()
    copies: Counter[str] = Counter()
    for _, of_record in itertools.groupby(records, key=lambda record: record.where):
        together = list(of_record)  # the rounds of an interaction
        ladders = [record.ladder for record in together if isinstance(record, Record)]
        if not ladders:
            yield from together
            continue
        base = ladders[0].interaction
        content = hash(repr([base, *((x.images, x.prompt, x.responses, x.annotations) for x in ladders)]))
        if any(ladder.id in taken for ladder in ladders):
            if content in contents:
                yield Rejected(together[0].where, base, REPEATED)
                continue
            while any(ladder.id in taken for ladder in ladders):
                copies[base] += 1
                ladders = _renamed(ladders, base, f"{base}~{copies[base] + 1}")
            together = [Record(together[0].where, ladder) for ladder in ladders]
        contents.add(content)
        taken.update(ladder.id for ladder in ladders)
        yield from together


def _renamed(ladders: list[Ladder], base: str, name: str) -> list[Ladder]:
    """The ladders of one record under another name; rounds stay rounds of one interaction."""
    return [
        replace(
            ladder,
            id=name + ladder.id.removeprefix(ladder.interaction),
            notes={**ladder.notes, GIVEN_ID: base},
            round_of=None if ladder.round_of is None else replace(ladder.round_of, interaction=name),
        )
        for ladder in ladders
    ]


def screened(
    records: Iterable[Record | Rejected], store: ImageStore, need_answer: bool = False
) -> Iterator[Ladder | Rejected]:
    """The ladders that can be used, and the records set aside. store: where pictures inside the records are kept.

    Pictures are decoded and hashed. Ladders without an answer are set aside if `need_answer`.
    """
    hashes: dict[str, str | ImageError] = {}
    ids: set[str] = set()
    for record in records:
        if isinstance(record, Rejected):
            yield record
            continue
        for image in record.ladder.images:
            if image.path not in hashes:
                try:
                    hashes[image.path] = store.checked(image.path)
                except ImageError as error:
                    hashes[image.path] = error
        yield accepted(record, [hashes[image.path] for image in record.ladder.images], ids, need_answer)


def accepted(record: Record, hashes: list[str | ImageError], ids: set[str], need_answer: bool) -> Ladder | Rejected:
    """A record's ladder once its pictures have been read, or why it is set aside. Adds the ladder's id to `ids`."""
    ladder = record.ladder
    for image, sha256 in zip(ladder.images, hashes, strict=True):
        if isinstance(sha256, ImageError):
            return Rejected(record.where, ladder.id, f"image {Path(image.path).name}: {sha256}")
    if need_answer and not ladder.responses:
        return Rejected(record.where, ladder.id, "no answer")
    if any(len(message["content"]) > LONGEST_TEXT for response in ladder.responses for message in response.messages):
        return Rejected(record.where, ladder.id, f"an answer of over {LONGEST_TEXT:,} characters")
    if ladder.id in ids:
        return Rejected(record.where, ladder.id, "id seen before (the first record stays)")
    ids.add(ladder.id)
    images = [Image(image.path, str(sha256)) for image, sha256 in zip(ladder.images, hashes, strict=True)]
    return changed(ladder, images=images)
