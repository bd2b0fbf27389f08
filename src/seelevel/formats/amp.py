"""AMP's training records ↔ ladders: `output_1` is best, `output_K` worst.

    [{"id": 7, "image": "a.jpg", "output_1": [{"from": "human", "value": "<image>\\nWhat is it?"},
                                              {"from": "gpt", "value": "A cup."}], "output_2": […], …}]

An output is a whole conversation, as in the released trainer. An output may also be one answer (a text, or one turn) if
the question is in `conversations`. AMP has no ties; they are kept in an extra key, `levels`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from seelevel.formats.llava import conversation, image_entry
from seelevel.formats.records import BadRecord, Record, Rejected, each_record, mapping, split, turns
from seelevel.formats.sources import Source
from seelevel.ladder import Image, Ladder, Message, Response
from seelevel.store import write_json


def parse(source: Source) -> Iterator[Record | Rejected]:
    """The file's ladders, and the records set aside (`each_record`)."""
    return each_record(source, lambda name, record, pictures: [_ladder(name, record, pictures.named(record))])


def _ladder(name: str, record: dict[str, Any], images: list[Image]) -> Ladder:
    keys = [f"output_{n}" for n in range(1, _outputs(record) + 1)]
    question: list[Message] = []
    if record.get("conversations") is not None:
        prompt, _ = split(turns(record["conversations"]), len(images))
        question = prompt
    answers: list[list[Message]] = []
    for key in keys:
        prompt, answer = split(_conversation(record[key], key, question), len(images))
        if not answer:
            raise BadRecord(f"{key} holds no answer")
        if answers and prompt != question:
            raise BadRecord(f"{key} answers another question than {keys[0]}")
        question = prompt
        answers.append(answer)
    levels = _levels(record.get("levels"), len(keys))
    responses = [
        Response(answer, level, {"kind": "standard"} if n == 0 else {"kind": "given", "output": n + 1})
        for n, (answer, level) in enumerate(zip(answers, levels, strict=True))
    ]
    return Ladder(name, images, question, responses, mapping(record.get("annotations"), "annotations"))


def _outputs(record: dict[str, Any]) -> int:
    numbers = sorted(
        int(key.removeprefix("output_")) for key in record if key.startswith("output_") and key[7:].isdecimal()
    )
    if not numbers:
        raise BadRecord("no output_1")
    for expected, number in enumerate(numbers, 1):
        if number != expected:
            raise BadRecord(f"output_{expected} is missing, though there is an output_{numbers[-1]}")
    return len(numbers)


def _conversation(output: Any, key: str, question: list[Message]) -> list[Message]:
    """An output as a whole conversation that starts with the question."""
    if isinstance(output, str):
        messages = [Message(role="assistant", content=output)]
    else:
        messages = turns([output] if isinstance(output, dict) else output, key)
    if messages and messages[0]["role"] == "assistant":
        if not question:
            raise BadRecord(f"{key} starts with an answer, and conversations holds no question")
        return [*question, *messages]
    return messages


def _levels(value: Any, outputs: int) -> list[int]:
    if value is None:
        return list(range(outputs))
    whole = isinstance(value, list) and all(isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in value)
    if not whole or len(value) != outputs or value != sorted(value):
        raise BadRecord("levels is not a rising list of whole numbers, one per output")
    return list(value)


def write(ladders: Iterable[Ladder], path: Path) -> int:
    """Write each ladder that has a response; return how many."""
    records = []
    for ladder in ladders:
        if not ladder.responses:
            continue
        record: dict[str, Any] = {"id": ladder.id, **image_entry(ladder, path)}
        for number, response in enumerate(ladder.responses, 1):
            record[f"output_{number}"] = conversation([*ladder.prompt, *response.messages])
        if ladder.levels != list(range(len(ladder.levels))):
            record["levels"] = ladder.levels
        if ladder.annotations:
            record["annotations"] = ladder.annotations
        records.append(record)
    write_json(path, records)
    return len(records)
