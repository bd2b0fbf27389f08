"""IG, incremental generation (AMP, algorithm 1, arXiv 2405.11165): one model, fine-tuned on more and more data.

The fine-tuning set F is split into K - 2 equal parts. The pre-trained model M is fine-tuned afresh on the nested unions
S_i = F_1 .. F_i, i = 1 .. K - 2, which gives M_i. On a separate annotated set A the ladder is, best first:

    standard, M_{K-2}, ..., M_1, M

The printed algorithm numbers the models in reverse. Generating on F itself would measure memorisation. So a record of F
whose picture or id is in A is left out of F, counted and reported.

What the paper leaves open and is decided here:

- F is shuffled by the seed before it is split; the parts differ by one record at most
- all M_i are trained with the same seed

The fine-tuned models stay in `finetunes/<i>/` with their training curves. A stopped stage continues in mid-training.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

from seelevel.errors import InputError
from seelevel.facts import GenerateFacts
from seelevel.formats.parquet import iter_shards, read_ladders
from seelevel.generate.answering import Answerer, answer_prompts
from seelevel.generate.method import FinetuneSettings
from seelevel.generate.settings import IncrementalSettings
from seelevel.json_text import loads
from seelevel.ladder import Ladder
from seelevel.models.base import ModelRef
from seelevel.opening import read_text
from seelevel.progress import say
from seelevel.store import StageFolder

WEIGHTS = ("model", "adapter")


def generate(
    source: Path,
    stage: StageFolder,
    settings: IncrementalSettings,
    models: Sequence[ModelRef],
    root: Path,
    seed: int,
) -> GenerateFacts:
    """Write one shard of ladders for each shard of `source`; return counts over all of them and of the fine-tunes.

    `settings.finetune.prompts` is a folder of ladders with answers. Raises `InputError` if fewer than K - 2 of them
    share no picture and no id with the prompts.
    """
    [base] = models
    records = [ladder for _, ladders in iter_shards(Path(settings.finetune.prompts), root) for ladder in ladders]
    separate = separate_records(records, read_ladders(source, root))
    if overlap := len(records) - len(separate):
        say(f"generate: {overlap} of {len(records)} fine-tuning records left out: a prompt has their picture or id")
    count = settings.levels - 2
    if len(separate) < count:
        raise InputError(
            f"generate.finetune.prompts: {len(separate)} of {len(records)} records are apart from data.prompts, "
            f"{count} are needed for levels: {settings.levels}; name records with other pictures and ids"
        )
    parts = split(separate, count, seed)
    tunes = [
        Finetune(base, [*chain(*parts[:number])], number, count, settings.finetune, stage.path / "finetunes", seed)
        for number in range(count, 0, -1)
    ]
    answerers = [Answerer(tune.origin, tune.find) for tune in tunes]
    answerers.append(Answerer({"kind": "not fine-tuned", "model": base.name}, lambda: base))
    facts = answer_prompts(source, stage, settings, answerers, root, seed)
    if not settings.finetune.keep:
        for tune in tunes:
            tune.drop_weights()
    finetune = {
        "records": len(records),
        "overlap": overlap,
        "parts": [len(part) for part in parts],
        "models": [tune.facts() for tune in tunes],
    }
    return replace(facts, finetune=finetune)


class Finetune:
    """M_i: the model fine-tuned on the standard responses of S_i."""

    def __init__(
        self,
        base: ModelRef,
        records: Sequence[Ladder],
        number: int,
        of: int,
        settings: FinetuneSettings,
        folder: Path,
        seed: int,
    ) -> None:
        self.base, self.records, self.settings, self.seed = base, records, settings.training(), seed
        self.folder = folder / str(number)
        parts = "part 1" if number == 1 else f"parts 1 to {number}"
        self.origin = {
            "kind": "fine-tuned",
            "model": f"{base.name} on {parts} of {of}",
            "parts": number,
            "records": len(records),
            "epochs": self.settings.epochs,
            "seed": seed,
        }

    def find(self) -> ModelRef:
        """The trained model. Stopped training continues and ends in the same bytes; a finished model is kept."""
        from seelevel.training.fit import fit

        say(f"generate: {self.origin['model']}, {len(self.records)} records")
        fit(self.records, self.base.path, self.settings, self.folder, self.seed, label="fine-tune")
        place = next(self.folder / name for name in WEIGHTS if (self.folder / name).is_dir())
        return ModelRef(str(self.origin["model"]), str(place))

    def facts(self) -> dict[str, Any]:
        """The model's entry in the manifest, from the file that training leaves."""
        trained = loads(read_text(self.folder / "training.json"))
        return {
            "model": self.origin["model"],
            **{key: trained[key] for key in ("ladders", "left_out", "steps")},
        }

    def drop_weights(self) -> None:
        for name in WEIGHTS:
            shutil.rmtree(self.folder / name, ignore_errors=True)


def separate_records(records: Sequence[Ladder], prompts: Sequence[Ladder]) -> list[Ladder]:
    """The records that share no picture (by content) and no id with the prompts, with only their best response."""
    ids = {prompt.id for prompt in prompts}
    pictures = {image.sha256 or image.path for prompt in prompts for image in prompt.images}
    return [
        replace(record, responses=[replace(record.responses[0], level=0)])
        for record in records
        if record.id not in ids and not pictures & {image.sha256 or image.path for image in record.images}
    ]


def split(records: Sequence[Ladder], count: int, seed: int) -> list[list[Ladder]]:
    """The records, shuffled by the seed, in `count` parts whose sizes differ by one at most."""
    order = list(records)
    random.Random(f"finetune/{seed}").shuffle(order)
    cuts = [len(order) * number // count for number in range(count + 1)]
    return [order[a:b] for a, b in pairwise(cuts)]
