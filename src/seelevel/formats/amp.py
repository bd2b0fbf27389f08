"""AMP's training records ↔ ladders: `output_1` is best, `output_K` worst.

    [{"id": 7, "image": "a.jpg", "output_1": [{"from": "human", "value": "<image>\\nWhat is it?"},
                                              {"from": "gpt", "value": "A cup."}], "output_2": […], …}]

An output is a whole conversation, as in the released trainer. An output may also be one answer (a text, or one turn) to
the last question of `conversations`, as in LLaVA-RLHF's data. There `preference`, 1 or 2, says which output is better.
AMP has no ties; they are kept in an extra key, `levels`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from seelevel.formats.llava import conversation, image_entry
from seelevel.formats.pictures import Pictures, shown
from seelevel.formats.questions import answer_turns, plain, question_of
from seelevel.formats.turns import Turn, split
from seelevel.formats.values import BadRecord, empty, first, mapping, missing, name_of, rows_of, shortly
from seelevel.ladder import Image, Ladder, Message, Response
from seelevel.store import write_json

OUTPUT = re.compile(r"output_([1-9][0-9]{0,3})")
ORDERS = (
    "winner", "preferred", "better", "best", "choice", "ranking", "rank", "ranks", "score", "scores", "rewards",
    "ratings", "score_1", "score_2", "rank_1", "rank_2", "rating_1", "rating_2",
)  # fmt: skip
"""Keys that may give another order than that of the outputs."""


def ladders(name: str, record: dict[str, Any], pictures: Pictures) -> list[Ladder]:
    """The ladder of one record. Raises `BadRecord`."""
    keys = [f"output_{n}" for n in range(1, _outputs(record) + 1)]
    given = pictures.named(record)
    question = question_of(record)
    prompt, images, answers = list[Message](), list[Image](), list[list[Message]]()
    for key in keys:
        asked, answer, images_of_output = _output(record, key, question, given, pictures)
        if answers and (asked, images_of_output) != (prompt, images):
            raise BadRecord(f"{key} answers another question than {keys[0]}")
        prompt, images = asked, images_of_output
        answers.append(answer)
    if other := next((key for key in ORDERS if not empty(record.get(key))), ""):
        raise BadRecord(f"{other} seems to order the outputs, but is not read; put the best first, remove {other}")
    levels = _levels(record, len(keys))
    own = "preference" not in record  # else all outputs are a model's
    responses = [
        Response(answer, level, {"kind": "standard"} if n == 0 and own else {"kind": "given", "output": n + 1})
        for n, (answer, level) in enumerate(zip(answers, levels, strict=True))
    ]
    responses.sort(key=lambda response: response.level)
    return [Ladder(name, images, prompt, responses, mapping(record.get("annotations"), "annotations"))]


def _output(
    record: dict[str, Any], key: str, question: list[Turn], given: list[Image], pictures: Pictures
) -> tuple[list[Message], list[Message], list[Image]]:
    """An output as (prompt, answer, pictures). Who a single turn is from does not matter: it is the answer."""
    value = record[key]
    if isinstance(value, dict) and not isinstance(rows_of(value), list):
        value = first(value, "value", "content")
    turns = answer_turns(value, key)
    answers_alone = bool(turns) and turns[0].role == "assistant"
    if answers_alone and not question:
        raise BadRecord(f"{key} starts with an answer, and conversations holds no question")
    if not answers_alone and question and plain(question[-1].content) not in [plain(t.content) for t in turns]:
        raise BadRecord(f"{key} answers another question than conversations")
    messages, images = shown([*question, *turns] if answers_alone else turns, record, given, pictures)
    if answers_alone:
        prompt, answer = messages[: len(question)], messages[len(question) :]
    else:
        prompt, answer = split(messages, len(images))
    if not answer or answer[-1]["role"] != "assistant":
        raise BadRecord(f"{key} holds no answer")
    return prompt, answer, images


def _outputs(record: dict[str, Any]) -> int:
    found = (OUTPUT.fullmatch(str(key)) for key, value in record.items() if not missing(value))
    numbers = sorted(int(match[1]) for match in found if match)
    if not numbers:
        raise BadRecord("no output_1")
    for expected, number in enumerate(numbers, 1):
        if number != expected:
            raise BadRecord(f"output_{expected} is missing, though there is an output_{numbers[-1]}")
    return len(numbers)


def _levels(record: dict[str, Any], outputs: int) -> list[int]:
    """Levels in the order of the outputs: as `levels` or `preference` say, else the first is best."""
    value = record.get("levels")
    if "preference" in record:
        return _preferred(record["preference"], value, outputs)
    if value is None:
        return list(range(outputs))
    whole = isinstance(value, list) and all(isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in value)
    if not whole or len(value) != outputs or value != sorted(value):
        raise BadRecord("levels is not a rising list of whole numbers, one per output")
    return list(value)


def _preferred(value: Any, levels: Any, outputs: int) -> list[int]:
    """The levels of two outputs of which `preference` names the better one."""
    if levels is not None:
        raise BadRecord("levels and preference are two orders; keep one of them")
    try:
        better = name_of(value, "preference").strip()
    except BadRecord:
        better = ""
    if better not in ("1", "2"):
        raise BadRecord(f"preference is {shortly(value)}, neither 1 nor 2")
    if outputs != 2:
        raise BadRecord(f"preference is about two outputs, but there are {outputs}")
    return [0, 1] if better == "1" else [1, 0]


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
