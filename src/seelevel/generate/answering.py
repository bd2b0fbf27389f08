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
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from seelevel.facts import GenerateFacts
from seelevel.fingerprints import digest
from seelevel.formats.parquet import read_ladders, write_shard
from seelevel.formats.shards import Work, each_shard
from seelevel.generate.method import Answering
from seelevel.generate.ranking import build_ladder, count_ladders
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

    `find()` returns the model. It may train the model first, and is called only if an answer is missing. With
    `samples`, the model gives so many answers to each prompt; with `greedy`, a greedy one before them.
    """

    origin: dict[str, Any]
    find: Callable[[], ModelRef]
    samples: int | None = None
    greedy: bool = False

    @classmethod
    def of_expert(cls, expert: ModelRef) -> Answerer:
        return cls({"kind": "expert", "model": expert.name}, lambda: expert)

    @classmethod
    def of_samples(cls, model: ModelRef, samples: int, greedy: bool = False) -> Answerer:
        return cls({"kind": "sample", "model": model.name}, lambda: model, samples, greedy)

    def answers(self, sampling: Sampling) -> list[tuple[dict[str, Any], Sampling, int | None]]:
        """Origin, decoding and number of the sample (see `Prompt`) of each answer to a prompt."""
        if self.samples is None:
            return [(self.origin, sampling, None)]
        answers: list[tuple[dict[str, Any], Sampling, int | None]] = []
        if self.greedy:
            greedy = sampling.model_copy(update={"temperature": 0.0, "top_p": 1.0, "min_p": 0.0})
            answers.append(({**self.origin, "kind": "greedy"}, greedy, 0))
        return [*answers, *(({**self.origin, "sample": n}, sampling, n) for n in range(self.samples))]


Build = Callable[[Ladder, Sequence[Talk], Sequence[dict[str, Any]]], Ladder]


def answer_prompts(
    source: Path,
    stage: StageFolder,
    settings: Answering,
    answerers: Sequence[Answerer],
    root: Path,
    seed: int,
    build: Build = build_ladder,
) -> GenerateFacts:
    """Write one shard of ladders for each shard of `source`; return counts over all. `answerers` are best first.

    `build` makes a ladder of its prompt, all answers and their origins.
    """
    targets = {path: stage.path / path.name for path in shards(source)}
    for number, answerer in enumerate(answerers):
        todo = [p for p, target in targets.items() if not target.exists() and not _partial(stage, number, p).exists()]
        if todo:
            _answer_shards(todo, stage, settings, answerer, number, root, seed)
    for path, target in targets.items():
        if not target.exists():
            answers: list[list[list[dict[str, Any]]]] = []  # by ladder, by answer, of each answerer
            origins = []
            for number, answerer in enumerate(answerers):
                answers.append(loads(read_text(_partial(stage, number, path))))
                for origin, used, _ in answerer.answers(_sampling(settings, seed, path, number)):
                    origins.append({**origin, "sampling": used.model_dump(mode="json")})
            rows = zip(read_ladders(path, root), *answers, strict=True)
            built = [build(ladder, [Talk(**t) for talks in given for t in talks], origins) for ladder, *given in rows]
            write_shard(target, built, root)
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
    reference = answerer.find()

    def start() -> Work:
        from seelevel.models import load_generator

        model = load_generator(reference, settings.batch_size)
        say(f"generate: {model.describe()}")

        def work(path: Path, ladders: list[Ladder]) -> None:
            talks = answer(model, ladders, answerer, _sampling(settings, seed, path, number))
            text = dumps([[vars(talk) for talk in of_ladder] for of_ladder in talks])
            write_atomically(_partial(stage, number, path), text)

        return work

    each_shard(paths, root, f"generate {answerer.origin['model']}", start)


def answer(model: Generator, ladders: Sequence[Ladder], answerer: Answerer, sampling: Sampling) -> list[list[Talk]]:
    """A model's answers to each ladder's prompt and, in later rounds, to the user turns of the best response.

    Answers of the same decoding are asked for in one call, those of one ladder beside each other.
    """
    talks: list[list[Talk]] = [[] for _ in ladders]
    for used, answers in groupby(answerer.answers(sampling), key=itemgetter(1)):
        numbers = [number for _, _, number in answers]
        dialogues = [_dialogue(ladder, number) for ladder in ladders for number in numbers]
        given = iter(rollout(model, dialogues, used))
        for of_ladder in talks:
            of_ladder += [next(given) for _ in numbers]
    return talks


def _dialogue(ladder: Ladder, sample: int | None) -> Dialogue:
    standard = ladder.responses[0].messages if ladder.responses else []
    later = [message for message in standard if message["role"] == "user"]
    return Dialogue(ladder.prompt, later, [image.path for image in ladder.images], sample)


def _partial(stage: StageFolder, number: int, shard: Path) -> Path:
    return stage.path / "partial" / f"{number}-{shard.stem}.json"


def _sampling(settings: Answering, seed: int, shard: Path, number: int) -> Sampling:
    """The recipe's decoding, with a seed for each shard and model, whichever shards were answered before."""
    shard_seed = int(digest(settings.sampling.seed, seed, shard.name, number), 16) % 2**31
    return settings.sampling.model_copy(update={"seed": shard_seed})
