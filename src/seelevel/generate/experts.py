"""MEG, multi-size expert generation (AMP 3.1.1, arXiv 2405.11165): models of one family answer, the larger the better.

Level 0 is the standard response, levels 1.. are the experts' in their order, best first. What the paper leaves open and
is decided here: in a prompt of several rounds an expert sees its own earlier answers to the standard's user turns;
without a standard response the first expert's answer is level 0 and the ladder is flagged; an answer that repeats a
better one, or is empty, is dropped, with a note.

One expert is in memory at a time. Its answers are kept in `partial/`, a file a shard, until every expert has answered,
so that a stopped stage continues where it was.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from seelevel.formats.parquet import iter_shards, read_ladders, write_shard
from seelevel.generate.settings import Answering, ExpertsSettings
from seelevel.ladder import Ladder, Message, Response
from seelevel.models.base import Generator, ModelRef, Sampling
from seelevel.models.rollout import Dialogue, rollout
from seelevel.progress import Progress, say
from seelevel.store import StageFolder, digest, shards, write_atomically

NO_STANDARD, NO_ANSWER = "no standard response", "no answer at all"
REPEATS, EMPTY = "repeats a better response", "empty"


def generate(
    source: Path,
    stage: StageFolder,
    settings: ExpertsSettings,
    experts: Sequence[ModelRef],
    root: Path,
    seed: int,
) -> dict[str, Any]:
    """Write one shard of ladders for each of the source's; returns counts over all of them."""
    targets = {path: stage.path / path.name for path in shards(source)}
    for number, expert in enumerate(experts):
        todo = [p for p, target in targets.items() if not target.exists() and not _partial(stage, number, p).exists()]
        if todo:
            _answer_shards(todo, stage, settings, expert, number, root, seed)
    for path, target in targets.items():
        if not target.exists():
            answers = [json.loads(_partial(stage, n, path).read_text("utf-8")) for n in range(len(experts))]
            ladders = read_ladders(path, root)
            origins = [_origin(e, _sampling(settings, seed, path, n)) for n, e in enumerate(experts)]
            rows = zip(ladders, *answers, strict=True)
            write_shard(target, [build_ladder(ladder, list(talks), origins) for ladder, *talks in rows], root)
    shutil.rmtree(stage.path / "partial", ignore_errors=True)
    return _facts(stage, root)


def _answer_shards(
    paths: Sequence[Path],
    stage: StageFolder,
    settings: Answering,
    expert: ModelRef,
    number: int,
    root: Path,
    seed: int,
) -> None:
    from seelevel.models import load_model

    model = load_model(expert.path)
    if settings.batch_size is not None:
        model.batch_size = settings.batch_size
    say(f"generate: {model.describe()}")
    work = [(path, read_ladders(path, root)) for path in paths]
    with Progress(f"generate {expert.name}", total=sum(len(ladders) for _, ladders in work), unit="ladders") as bar:
        for path, ladders in work:
            talks = answer(model, ladders, _sampling(settings, seed, path, number))
            write_atomically(_partial(stage, number, path), json.dumps(talks, ensure_ascii=False))
            bar.advance(len(ladders))


def answer(model: Generator, ladders: Sequence[Ladder], sampling: Sampling) -> list[list[Message]]:
    """A model's own answers to each ladder's prompt and, in later rounds, to the user turns of its best response."""
    dialogues = []
    for ladder in ladders:
        standard = ladder.responses[0].messages if ladder.responses else []
        later = [message for message in standard if message["role"] == "user"]
        dialogues.append(Dialogue(ladder.prompt, later, [image.path for image in ladder.images]))
    return rollout(model, dialogues, sampling)


def build_ladder(ladder: Ladder, talks: Sequence[list[Message]], origins: Sequence[dict[str, Any]]) -> Ladder:
    """A ladder with the experts' answers below the responses it has; `talks` and `origins` are best first."""
    responses = list(ladder.responses)
    flags = [] if responses else [NO_STANDARD]
    dropped = []
    for talk, origin in zip(talks, origins, strict=True):
        reason = ""
        if any(not text for text in _said(talk)):
            reason = EMPTY
        elif any(_said(talk) == _said(response.messages) for response in responses):
            reason = REPEATS
        if reason:
            dropped.append({"model": origin["model"], "reason": reason, "text": "\n\n".join(_said(talk))})
        else:
            level = responses[-1].level + 1 if responses else 0
            responses.append(Response(talk, level, origin))
    if not responses:
        flags.append(NO_ANSWER)
    notes = dict(ladder.notes)
    if flags:
        notes["flags"] = [*notes.get("flags", []), *flags]
    if dropped:
        notes["dropped"] = dropped
    return replace(ladder, responses=responses, notes=notes)


def _said(messages: Sequence[Message]) -> list[str]:
    return [message["content"].strip() for message in messages if message["role"] == "assistant"]


def _partial(stage: StageFolder, expert: int, shard: Path) -> Path:
    return stage.path / "partial" / f"{expert}-{shard.stem}.json"


def _sampling(settings: Answering, seed: int, shard: Path, expert: int) -> Sampling:
    """The recipe's decoding with a seed of its own for each shard and expert, whatever was answered before."""
    own = int(digest(settings.sampling.seed, seed, shard.name, expert), 16) % 2**31
    return settings.sampling.model_copy(update={"seed": own})


def _origin(expert: ModelRef, sampling: Sampling) -> dict[str, Any]:
    return {"kind": "expert", "model": expert.name, "sampling": sampling.model_dump(mode="json")}


def _facts(stage: StageFolder, root: Path) -> dict[str, Any]:
    """Counts for the report, read from the shards, so that a continued stage counts what an unbroken one does."""
    levels: Counter[int] = Counter()
    by_model: Counter[str] = Counter()
    flags: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    for _, ladders in iter_shards(stage.path, root):
        for ladder in ladders:
            levels[len(ladder.responses)] += 1
            by_model.update(str(r.origin.get("model", r.origin.get("kind", "given"))) for r in ladder.responses)
            flags.update(ladder.notes.get("flags", []))
            dropped.update(entry["reason"] for entry in ladder.notes.get("dropped", []))
    return {
        "ladders": sum(levels.values()),
        "responses": sum(by_model.values()),
        "ladders_by_responses": {str(k): levels[k] for k in sorted(levels)},
        "responses_by_model": dict(sorted(by_model.items())),
        "flags": dict(sorted(flags.items())),
        "dropped": dict(sorted(dropped.items())),
    }
