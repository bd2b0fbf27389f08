"""LLaMA-Factory's preference data (ShareGPT form) from ladders; `formats.trl` reads it.

[{"conversations": [{"from": "human", "value": "<image>What is it?"}], "images": ["a.jpg"],
  "chosen": {"from": "gpt", "value": "A cup."}, "rejected": {"from": "gpt", "value": "A dog."}}]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from seelevel.formats.llava import conversation, relative
from seelevel.formats.pairs import PairRows, message_pairs
from seelevel.ladder import Ladder
from seelevel.store import write_json


def write(ladders: Iterable[Ladder], path: Path) -> int:
    """Write one record per pair of each ladder; return how many ladders had one.

    An answer is one turn there, so a pair of several rounds is left out unless only its last answers differ.
    """

    def of_ladder(ladder: Ladder) -> Iterator[dict[str, Any]]:
        for better, worse in message_pairs(ladder):
            if better[:-1] != worse[:-1]:
                continue
            prompt = [*ladder.prompt, *better[:-1]]
            chosen, rejected = conversation([better[-1], worse[-1]])
            names = [relative(image.path, path.parent) for image in ladder.images]
            record = {"id": ladder.id, "conversations": conversation(prompt), "chosen": chosen, "rejected": rejected}
            yield {**record, "images": names}

    rows = PairRows(ladders, of_ladder)
    write_json(path, list(rows))
    return rows.written
