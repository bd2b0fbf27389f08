"""Questions of a benchmark to answers of a model, in shards that are written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seelevel.errors import InputError
from seelevel.ladder import IMAGE_MARK, Message
from seelevel.models.base import Generator, Sampling
from seelevel.models.rollout import Dialogue, rollout
from seelevel.progress import Progress
from seelevel.scorers.files import Entry
from seelevel.scorers.intervals import Measure
from seelevel.store import batched, write_atomically
from seelevel.templates import quoted

SHARD = 256


@dataclass(frozen=True)
class Question:
    """What a model is asked about one picture: user turns in order, and what its answers are compared with."""

    id: str
    image: str
    turns: tuple[str, ...]
    reference: Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """One text a turn. `note` says why one is empty, where the model said so: the question is unscored then."""

    texts: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True)
class Context:
    """What scoring may need beside the answers: who judges, the folder that keeps the judge's replies, and the model
    that answered, which is loaded by the call."""

    judge: Generator | None
    folder: Path
    model: Callable[[], Generator] | None = None


Items = list[dict[str, Any]]


@dataclass(frozen=True)
class Benchmark:
    """Questions, the answer's length in tokens, `items(answers, context)`: one record of figures a question, with the
    `cluster` it is resampled in, and the measures made of those records. In `dialogues` there are several turns."""

    name: str
    questions: list[Question]
    max_new_tokens: int
    items: Callable[[Sequence[Answer], Context], Items]
    measures: list[Measure]
    dialogues: bool = False


def find_image(data: Path, entry: Entry) -> str:
    """The picture of a question: below `data` or `data/images`. Raises InputError where there is none or it leaves."""
    name = entry.text(("image",), "image")
    for folder in (data, data / "images"):
        path = folder / name
        if _is_file(path):
            # by name, not resolved: the folder of pictures may be a link to where they are
            if ".." in Path(name).parts or Path(name).is_absolute():
                raise InputError(f"{entry.where}: image {name} leaves {data}; put the picture below it")
            return str(path)
    raise InputError(f"{entry.where}: no image {name:.80} in {data / 'images'}; put it there or drop the question")


def picture_contents(entry: Entry) -> list[str]:
    """What is in the picture, a line each. Raises `InputError` where that is neither a list of texts nor a text."""
    found = entry.first(("image_content",), "image contents")
    lines = [found] if isinstance(found, str) else found
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise InputError(f"{entry.where}: 'image_content' is {found!r:.60}, not a list of texts; write it as one")
    return lines


def question_text(entry: Entry, keys: Sequence[str]) -> str:
    """What is asked about the one picture. Raises InputError where the text marks more pictures than that."""
    text = entry.text(keys, "question")
    if (marks := text.count(IMAGE_MARK)) > 1:
        raise InputError(f"{entry.where}: {marks} {IMAGE_MARK} marks, but a question has one picture; take marks out")
    return text


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long for the system
        return False


def keep_shards(
    folder: Path, name: str, inputs: Sequence[Any], make: Callable[[Sequence[Any]], list[Any]], label: str
) -> list[Any]:
    """`make` over shards of inputs; a shard's results (JSON-able, one an input) are kept as JSON lines in the folder,
    and a whole shard that is there already is read instead of made, so that a stopped run continues where it was."""
    batches = list(batched(inputs, SHARD))
    paths = [folder / f"{name}-{n:05d}.jsonl" for n in range(len(batches))]
    kept = [_kept(path, len(batch)) for path, batch in zip(paths, batches, strict=True)]
    done = sum(len(found) for found in kept if found is not None)
    if done < len(inputs):
        with Progress(label, total=len(inputs), unit="questions", done=done) as bar:
            for n, (path, batch) in enumerate(zip(paths, batches, strict=True)):
                if kept[n] is None:
                    text = "".join(quoted(result) + "\n" for result in make(batch))
                    write_atomically(path, text)
                    kept[n] = _kept(path, len(batch))
                    bar.advance(len(batch))
    return [result for found in kept for result in found or []]


def _kept(path: Path, count: int) -> list[Any] | None:
    """A shard's results, or None where they are not there or not whole: a crashed machine can leave half a file."""
    try:
        found = [json.loads(line) for line in path.read_bytes().split(b"\n") if line]
    except (FileNotFoundError, ValueError):
        return None
    return found if len(found) == count else None


def answer_questions(
    benchmark: Benchmark,
    model: Callable[[], Generator],
    sampling: Sampling,
    folder: Path,
    label: str,
) -> list[Answer]:
    """A model's answers, in order. `model()` loads it, and is called only where an answer is missing.

    A shard is one call of the model: a run that was stopped and continued answers as an unbroken one. What is asked
    twice of one picture (POPE's sets share their positives) is answered once.
    """
    sampling = sampling.model_copy(update={"max_new_tokens": min(benchmark.max_new_tokens, sampling.max_new_tokens)})

    def make(questions: Sequence[Question]) -> list[Any]:
        return [_row(answer) for answer in _ask(model(), questions, sampling)]

    different = {(question.image, question.turns): question for question in reversed(benchmark.questions)}
    unique = [different[key] for key in reversed(different)]
    rows = keep_shards(folder, benchmark.name, unique, make, label)
    found = {(question.image, question.turns): _answer(row) for question, row in zip(unique, rows, strict=True)}
    return [found[question.image, question.turns] for question in benchmark.questions]


def _row(answer: Answer) -> Any:
    """An answer as a shard keeps it: its texts; with a note, both by name."""
    return {"texts": list(answer.texts), "note": answer.note} if answer.note else list(answer.texts)


def _answer(row: Any) -> Answer:
    return Answer(tuple(row["texts"]), row["note"]) if isinstance(row, dict) else Answer(tuple(row))


def _ask(model: Generator, questions: Sequence[Question], sampling: Sampling) -> list[Answer]:
    """Round by round; in each round the model sees its own earlier answers."""
    dialogues = []
    for question in questions:
        first = question.turns[0]
        marked = first if IMAGE_MARK in first else f"{IMAGE_MARK}\n{first}"
        user = [Message(role="user", content=text) for text in (marked, *question.turns[1:])]
        dialogues.append(Dialogue(user[:1], user[1:], [question.image]))
    talks = rollout(model, dialogues, sampling)
    said = [tuple(m["content"] for m in talk.messages if m["role"] == "assistant") for talk in talks]
    return [Answer(texts, talk.note) for texts, talk in zip(said, talks, strict=True)]
