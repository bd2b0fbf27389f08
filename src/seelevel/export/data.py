"""The preference data of an export: the ladders that `align` read, as the files of three trainers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from seelevel.formats import WRITERS
from seelevel.image_store import ImageStore
from seelevel.ladder import Ladder
from seelevel.registry import load
from seelevel.store import write_json

FILES = {"trl": "trl.jsonl", "llamafactory": "llamafactory.json", "swift": "swift.jsonl"}
"""The file of each format. Pictures are beside them, in `images`."""
COLUMNS = {"messages": "conversations", "chosen": "chosen", "rejected": "rejected", "images": "images"}


@dataclass(frozen=True)
class Data:
    """Counts over the ladders of an export. `written`: ladders with a pair by format; `origins`: responses by what
    wrote them; `levels`: ladders by the number of their levels; `pictures`: those of ladders with a pair."""

    ladders: int
    responses: int
    pairs: int
    pictures: int
    written: dict[str, int]
    origins: dict[str, int]
    levels: dict[int, int]


def write_data(ladders: Sequence[Ladder], folder: Path, name: str) -> Data:
    """Write the ladders' pairs in each format, with their pictures, to a folder.

    LLaMA-Factory finds its file under `name` in `dataset_info.json`.
    """
    from seelevel.report.ladders import say_origin

    store = ImageStore(folder)
    paired = [ladder for ladder in ladders if ladder.pairs()]
    copied = [replace(ladder, images=[store.put(image.path) for image in ladder.images]) for ladder in paired]
    written = {form: int(load(WRITERS[form])(copied, folder / file)) for form, file in FILES.items()}
    entry = {"file_name": FILES["llamafactory"], "ranking": True, "formatting": "sharegpt", "columns": COLUMNS}
    write_json(folder / "dataset_info.json", {name: entry})
    responses = [response for ladder in ladders for response in ladder.responses]
    return Data(
        ladders=len(ladders),
        responses=len(responses),
        pairs=sum(len(ladder.pairs()) for ladder in ladders),
        pictures=len({image.path for ladder in copied for image in ladder.images}),
        written=written,
        origins=dict(Counter(say_origin(response.origin) for response in responses).most_common()),
        levels=dict(sorted(Counter(len(set(ladder.levels)) for ladder in ladders).items())),
    )
