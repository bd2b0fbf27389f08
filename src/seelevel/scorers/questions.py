"""Ask a model the questions of a benchmark. Answers are kept in shards, each written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from seelevel.engine import each_job
from seelevel.engine.base import Each, one_by_one
from seelevel.errors import InputError
from seelevel.json_text import loads
from seelevel.judge import JUDGE_SAMPLING
from seelevel.ladder import IMAGE_MARK, Message
from seelevel.models.base import Generator, Sampling
from seelevel.models.rollout import Dialogue, rollout
from seelevel.opening import read_bytes
from seelevel.progress import Progress
from seelevel.scorers.files import Entry
from seelevel.scorers.intervals import Measure
from seelevel.store import batched, write_atomically
from seelevel.templates import quoted

SHARD = 256


@dataclass(frozen=True)
class Question:
    """User turns about one picture, in order, and `reference`: what the answers are compared with.

    image: the picture's file; empty for a question without a picture. short: the answer is a word, so it has at most
    `short_tokens`, whatever the benchmark's longest answer is.
    """

    id: str
    image: str
    turns: tuple[str, ...]
    reference: Mapping[str, Any]
    short: bool = False


@dataclass(frozen=True)
class Answer:
    """One text per turn. `note` is the model's reason for an empty one; it makes the question unscored."""

    texts: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True)
class Context:
    """What scoring may need besides the answers: the judge, the folder for its replies, the model that answered, which
    the call loads, the judge's decoding, and how often it judges each answer."""

    judge: Generator | None
    folder: Path
    model: Callable[[], Generator] | None = None
    judge_sampling: Sampling = JUDGE_SAMPLING
    judge_repeats: int = 1


Items = list[dict[str, Any]]


@dataclass(frozen=True)
class Benchmark:
    """Questions, and how their answers become figures.

    max_new_tokens: the longest answer; short_tokens: that of the questions that are `short`.
    items: from answers and context, one record per question. Its `cluster` names what is resampled as a whole.
    measures: the figures, computed from those records.
    dialogues: whether a question has several turns.
    judge_template: what the judge is asked, if it is asked for each answer; metrics.json has its digest.
    """

    name: str
    questions: list[Question]
    max_new_tokens: int
    items: Callable[[Sequence[Answer], Context], Items]
    measures: list[Measure]
    dialogues: bool = False
    short_tokens: int = 16
    judge_template: str = ""


def find_image(data: Path, entry: Entry) -> str:
    """The picture of a question, in `data` or `data/images`. Raises InputError if it is missing or outside them."""
    return find_picture(data, [entry.text(("image",), "image")], entry.where)


def find_picture(data: Path, names: Sequence[str], where: str) -> str:
    """The first picture of several names, in `data` or `data/images`. Raises InputError as `find_image` does."""
    for name in names:
        for folder in (data, data / "images"):
            path = folder / name
            if _is_file(path):
                # by name, not resolved: the folder of pictures may be a link
                if ".." in Path(name).parts or Path(name).is_absolute():
                    raise InputError(f"{where}: image {name} leaves {data}; put the picture below it")
                return str(path)
    named = " or ".join(f"{name:.80}" for name in names[:3])
    raise InputError(f"{where}: no image {named} in {data / 'images'}; put it there or drop the question")


def picture_contents(entry: Entry) -> list[str]:
    """The picture's contents, one line each. Raises `InputError` if they are neither a text nor a list of texts."""
    contents = entry.first(("image_content",), "image contents")
    lines = [contents] if isinstance(contents, str) else contents
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise InputError(f"{entry.where}: 'image_content' is {contents!r:.60}, not a list of texts")
    return lines


def question_text(entry: Entry, keys: Sequence[str]) -> str:
    """A question about one picture. Raises InputError if the text has marks for more pictures."""
    text = entry.text(keys, "question")
    if (marks := text.count(IMAGE_MARK)) > 1:
        raise InputError(f"{entry.where}: {marks} {IMAGE_MARK} marks, but a question has one picture; keep one mark")
    return text


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long for the system
        return False


Make = Callable[[Sequence[Any]], list[Any]]


def keep_shards(
    folder: Path, name: str, inputs: Sequence[Any], make: Make, label: str, each: Each = one_by_one
) -> list[Any]:
    """Apply `make` to shards of inputs and keep the results, one JSON value per input, as JSON lines in the folder.

    A whole shard that exists already is read instead, so that a stopped run continues. each: who does the work, as
    `seelevel.engine`; `make` may then travel to another machine.
    """
    batches = list(batched(inputs, SHARD))
    paths = [folder / f"{name}-{n:05d}.jsonl" for n in range(len(batches))]
    kept = [_kept(path, len(batch)) for path, batch in zip(paths, batches, strict=True)]
    done = sum(len(results) for results in kept if results is not None)
    if done < len(inputs):
        with Progress(label, total=len(inputs), unit="questions", done=done) as bar:
            jobs = [(n, paths[n], batches[n]) for n in range(len(batches)) if kept[n] is None]
            each(jobs, partial(_writing, make), lambda job, _: bar.advance(len(job[2])))
            for n, path, batch in jobs:
                kept[n] = _kept(path, len(batch))
    return [result for results in kept for result in results or []]


def _writing(make: Make) -> Callable[[tuple[int, Path, Sequence[Any]]], None]:
    """The work on one shard: its number, its file, its inputs."""

    def work(job: tuple[int, Path, Sequence[Any]]) -> None:
        _, path, batch = job
        write_atomically(path, "".join(quoted(result) + "\n" for result in make(batch)))

    return work


def _kept(path: Path, count: int) -> list[Any] | None:
    """A shard's results, or None if it is missing or incomplete: a crashed machine can leave half a file."""
    try:
        results = [loads(line) for line in read_bytes(path).split(b"\n") if line]
    except (FileNotFoundError, ValueError):
        return None
    return results if len(results) == count else None


def answer_questions(
    benchmark: Benchmark,
    model: Callable[[], Generator],
    sampling: Sampling,
    folder: Path,
    label: str,
) -> list[Answer]:
    """A model's answers, in order. `model()` loads the model, and is called only if an answer is missing.

    A shard is one call of the model, and one more for its `short` questions, so a run that was stopped and continued
    has the same answers as an unbroken one.
    A question that occurs twice about one picture is asked once: POPE's sets share their positive questions.
    """
    limits = {False: benchmark.max_new_tokens, True: benchmark.short_tokens}
    samplings = {
        short: sampling.model_copy(update={"max_new_tokens": min(limit, sampling.max_new_tokens)})
        for short, limit in limits.items()
    }

    def make(questions: Sequence[Question]) -> list[Any]:
        rows: dict[int, Any] = {}
        for short in limits:
            of_kind = [n for n, question in enumerate(questions) if question.short == short]
            answers = _ask(model(), [questions[n] for n in of_kind], samplings[short]) if of_kind else []
            rows.update(zip(of_kind, map(_row, answers), strict=True))
        return [rows[n] for n in range(len(questions))]

    different = {(question.image, question.turns): question for question in reversed(benchmark.questions)}
    unique = [different[key] for key in reversed(different)]
    rows = keep_shards(folder, benchmark.name, unique, make, label, each_job)
    answers = {(question.image, question.turns): _answer(row) for question, row in zip(unique, rows, strict=True)}
    return [answers[question.image, question.turns] for question in benchmark.questions]


def _row(answer: Answer) -> Any:
    """An answer as a shard keeps it: its texts, or texts and note by name if it has a note."""
    return {"texts": list(answer.texts), "note": answer.note} if answer.note else list(answer.texts)


def _answer(row: Any) -> Answer:
    return Answer(tuple(row["texts"]), row["note"]) if isinstance(row, dict) else Answer(tuple(row))


def _ask(model: Generator, questions: Sequence[Question], sampling: Sampling) -> list[Answer]:
    """Round by round; in each round the model sees its own earlier answers."""
    dialogues = []
    for question in questions:
        first, images = question.turns[0], [question.image] if question.image else []
        marked = f"{IMAGE_MARK}\n{first}" if images and IMAGE_MARK not in first else first
        user = [Message(role="user", content=text) for text in (marked, *question.turns[1:])]
        dialogues.append(Dialogue(user[:1], user[1:], images))
    return [
        Answer(tuple(m["content"] for m in dialogue.messages if m["role"] == "assistant"), dialogue.note)
        for dialogue in rollout(model, dialogues, sampling)
    ]
