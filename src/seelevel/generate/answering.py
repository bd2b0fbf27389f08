"""Models answer the prompts, best model first. Their answers become the levels of the ladders.

What the papers leave open and is decided here: in a prompt of several rounds, a model sees its own earlier answers and
the user turns of the standard response.

One model is in memory at a time. Its answers are kept in `partial/`, one file per shard, until every model has
answered. So a stopped stage continues where it was.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seelevel.facts import GenerateFacts
from seelevel.fingerprints import digest
from seelevel.formats.parquet import read_ladders, write_shard
from seelevel.formats.shards import Work, each_shard
from seelevel.generate.ranking import build_ladder, count_ladders
from seelevel.generate.settings import Answering
from seelevel.json_text import dumps, loads
from seelevel.ladder import Ladder
from seelevel.models.base import Generator, ModelRef, Sampling
from seelevel.models.rollout import Dialogue, Talk, rollout
from seelevel.opening import read_text
from seelevel.progress import say
from seelevel.store import StageFolder, shards, write_atomically


@dataclass(frozen=True)
class Answerer:
    """A model that answers the prompts. `origin` becomes the `origin` of its responses; its key `model` is the name.

    `find()` returns the model. It may train the model first, and is called only if an answer is missing.
    """

    origin: dict[str, Any]
    find: Callable[[], ModelRef]

    @classmethod
    def of_expert(cls, expert: ModelRef) -> Answerer:
        return cls({"kind": "expert", "model": expert.name}, lambda: expert)


def answer_prompts(
    source: Path, stage: StageFolder, settings: Answering, answerers: Sequence[Answerer], root: Path, seed: int
) -> GenerateFacts:
    """Write one shard of ladders for each shard of `source`; return counts over all. `answerers` are best first."""
    targets = {path: stage.path / path.name for path in shards(source)}
    for number, answerer in enumerate(answerers):
        todo = [p for p, target in targets.items() if not target.exists() and not _partial(stage, number, p).exists()]
        if todo:
            _answer_shards(todo, stage, settings, answerer, number, root, seed)
    for path, target in targets.items():
        if not target.exists():
            answers = [loads(read_text(_partial(stage, n, path))) for n in range(len(answerers))]
            ladders = read_ladders(path, root)
            decoding = [_sampling(settings, seed, path, n).model_dump(mode="json") for n in range(len(answerers))]
            origins = [{**a.origin, "sampling": used} for a, used in zip(answerers, decoding, strict=True)]
            rows = zip(ladders, *answers, strict=True)
            write_shard(target, [_built(ladder, talks, origins) for ladder, *talks in rows], root)
    shutil.rmtree(stage.path / "partial", ignore_errors=True)
    return count_ladders(stage.path, root)


def _answer_shards(
    paths: Sequence[Path],
    stage: StageFolder,
    settings: Answering,
    answerer: Answerer,
    number: int,
    root: Path,
    seed: int,
) -> None:
    def start() -> Work:
        from seelevel.models import load_generator

        model = load_generator(answerer.find(), settings.batch_size)
        say(f"generate: {model.describe()}")

        def work(path: Path, ladders: list[Ladder]) -> None:
            talks = answer(model, ladders, _sampling(settings, seed, path, number))
            text = dumps([vars(talk) for talk in talks])
            write_atomically(_partial(stage, number, path), text)

        return work

    each_shard(paths, root, f"generate {answerer.origin['model']}", start)


def _built(ladder: Ladder, talks: Sequence[dict[str, Any]], origins: Sequence[dict[str, Any]]) -> Ladder:
    return build_ladder(ladder, [Talk(**talk) for talk in talks], origins)


def answer(model: Generator, ladders: Sequence[Ladder], sampling: Sampling) -> list[Talk]:
    """A model's answers to each ladder's prompt and, in later rounds, to the user turns of the best response."""
    dialogues = []
    for ladder in ladders:
        standard = ladder.responses[0].messages if ladder.responses else []
        later = [message for message in standard if message["role"] == "user"]
        dialogues.append(Dialogue(ladder.prompt, later, [image.path for image in ladder.images]))
    return rollout(model, dialogues, sampling)


def _partial(stage: StageFolder, number: int, shard: Path) -> Path:
    return stage.path / "partial" / f"{number}-{shard.stem}.json"


def _sampling(settings: Answering, seed: int, shard: Path, number: int) -> Sampling:
    """The recipe's decoding, with a seed for each shard and model, whichever shards were answered before."""
    shard_seed = int(digest(settings.sampling.seed, seed, shard.name, number), 16) % 2**31
    return settings.sampling.model_copy(update={"seed": shard_seed})
