"""A model writes the prompts, one shard at a time; prompts that cannot be used are set aside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from seelevel.errors import InputError
from seelevel.facts import GenerateFacts
from seelevel.formats.parquet import read_ladders, write_shard
from seelevel.formats.shards import Work, each_shard
from seelevel.generate.answering import Answerer, answer_prompts
from seelevel.generate.settings import Writing
from seelevel.json_text import dumps, loads
from seelevel.ladder import Ladder
from seelevel.models.base import ModelRef
from seelevel.opening import read_text
from seelevel.progress import say
from seelevel.store import StageFolder, shards, write_atomically

SetAside = dict[str, str]
"""`id`, `reason` (its kind is the part before a colon) and `reply` of a prompt that cannot be used."""
Write = Callable[[Sequence[Ladder]], tuple[list[Ladder], list[SetAside]]]


def written(stage: StageFolder) -> list[Path]:
    """The shards whose prompts have been written, whether all models have answered them or not."""
    return [path for folder in (stage.path, _asked(stage)) for path in shards(folder)]


def write_and_answer(
    source: Path,
    stage: StageFolder,
    settings: Writing,
    writer: Callable[[], Write],
    experts: Sequence[ModelRef],
    root: Path,
    seed: int,
    what: str,
) -> GenerateFacts:
    """Replace each shard's prompts by those that `writer()` writes, and let the experts answer; return counts over all.

    The writer is loaded only if a shard is missing. Prompts that cannot be used go to `set_aside/`, one file per shard.
    Raises `InputError` if none can be used. `what`: the name of a written prompt, in the singular.
    """
    done = {path.name for path in written(stage)}
    todo = [path for path in shards(source) if path.name not in done]

    def start() -> Work:
        write = writer()

        def work(path: Path, ladders: list[Ladder]) -> None:
            good, bad = write(ladders)
            lines = "".join(dumps(entry, ensure_ascii=True) + "\n" for entry in bad)
            write_atomically(stage.path / "set_aside" / f"{path.stem}.jsonl", lines)
            if bad:
                say(f"generate: {len(bad)} {what}s set aside, the first: {bad[0]['reason']}")
            write_shard(_asked(stage) / path.name, good, root)

        return work

    each_shard(todo, root, f"generate {what}s", start)
    reasons = _reasons(stage)
    if reasons and not any(read_ladders(path, root) for path in written(stage)):
        why = ", ".join(f"{count} × {reason}" for reason, count in reasons.most_common(3))
        raise InputError(f"generate.writer: {settings.writer} wrote no {what} that can be used: {why}; try another")
    answerers = [Answerer.of_expert(expert) for expert in experts]
    facts = answer_prompts(_asked(stage), stage, settings, answerers, root, seed)
    return replace(facts, set_aside=reasons.total(), set_aside_reasons=dict(reasons.most_common()))


def _asked(stage: StageFolder) -> Path:
    return stage.path / "partial" / "asked"


def _reasons(stage: StageFolder) -> Counter[str]:
    files = sorted((stage.path / "set_aside").glob("*.jsonl"))
    lines = [line for file in files for line in read_text(file).split("\n") if line]
    return Counter(loads(line)["reason"].partition(":")[0] for line in lines)
