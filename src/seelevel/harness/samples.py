"""Samples that lmms-eval logs (`--log_samples`)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from seelevel.errors import InputError
from seelevel.scorers.files import ID_KEYS, Entry, logged_question, plain_id, read_entries

NAME = re.compile(r"(?:.*_)?samples_(?P<task>.+)\.jsonl")
FIELDS = (
    *("doc_id", "doc", "target", "arguments", "input", "input_media", "resps", "filtered_resps", "token_counts"),
    *("doc_hash", "prompt_hash", "target_hash", "filter", "metrics"),
)
"""Fields of a sample that are not metrics."""
IMAGE_KEYS = ("image", "image_path", "image_id")
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Sample:
    """One document's answers and metrics. `where`: file and line."""

    record: Record
    where: str

    @property
    def doc_id(self) -> int:
        return int(self.record["doc_id"])

    @property
    def prompt(self) -> str:
        """The text that the model was asked; empty if the file does not hold it."""
        arguments = self.record.get("arguments")
        first = arguments[0] if isinstance(arguments, list) and arguments else ""
        return str(self.record.get("input", first[0] if isinstance(first, list) and first else first))

    @property
    def target(self) -> str:
        return str(self.record.get("target"))

    @cached_property
    def texts(self) -> list[str]:
        """What the model answered; empty for a task that scores given texts."""
        value = self.record.get("filtered_resps", self.record.get("resps"))
        while isinstance(value, list) and len(value) == 1:
            value = value[0]
        texts = value if isinstance(value, list) else [value]
        return [str(text) for text in texts] if all(isinstance(text, str) for text in texts) else []

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """The task's metrics of this document, as it logs them."""
        return {name: value for name, value in self.record.items() if name not in FIELDS}

    @property
    def picture(self) -> str:
        """The file or number of the picture, as far as the sample tells; else empty."""
        return self._named(IMAGE_KEYS)

    @property
    def question_id(self) -> str:
        return self._named(ID_KEYS)

    def _named(self, keys: Sequence[str]) -> str:
        """The first of `keys` that the document, the media or a metric has."""
        doc = self.record.get("doc")
        fields = {**logged_question(dict(self.record)), **(doc if isinstance(doc, Mapping) else {})}
        return next((plain_id(fields[key]) for key in keys if isinstance(fields.get(key), str | int)), "")

    def entry(self, by_id: bool) -> Entry:
        """The sample as an answer that joins to its question."""
        fields = {"prompt": self.prompt or None, "image": self.picture or None, "doc_id": self.doc_id}
        return Entry(fields | ({"question_id": self.question_id} if by_id else {}), self.where)


@dataclass(frozen=True)
class Samples:
    """The samples of one task, in the file's order."""

    path: Path
    task: str
    samples: Sequence[Sample]


def read_samples(path: Path) -> Samples:
    """Read `*_samples_<task>.jsonl`. Raises InputError, with the place, for other files and a doc_id that is missing
    or there twice."""
    if (name := NAME.fullmatch(path.name)) is None:
        raise InputError(f"{path}: not a samples file of lmms-eval; name one called …_samples_<task>.jsonl")
    first: dict[int, str] = {}
    samples = []
    for entry in read_entries(path, flat=False):
        number = entry.record.get("doc_id")
        if isinstance(number, bool) or not isinstance(number, int):
            raise InputError(f"{entry.where}: doc_id is {number!r:.40}, not a number; run lmms-eval with --log_samples")
        if number in first:
            raise InputError(f"{entry.where}: doc_id {number} is in {first[number]} already; keep one filter's samples")
        first[number] = entry.where
        samples.append(Sample(entry.record, entry.where))
    return Samples(path, name["task"], samples)
