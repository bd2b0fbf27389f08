"""What one process does with all ladders of a run; `benchmarks.scale_measure` calls each function in a process."""

from __future__ import annotations

import pickle
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.bookkeeping import peak_memory, random_text

K = 8
PICTURES = 100


class Clock:
    """Wall and processor seconds since it was made."""

    def __init__(self) -> None:
        self._wall, self._processor = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        return {"wall": time.perf_counter() - self._wall, "seconds": time.process_time() - self._processor}


def write(run: Path, count: int) -> dict[str, Any]:
    """A run of so many checked ladders of K = 8, its answers of 60 words, with pictures of 640 × 480."""
    import numpy as np
    from PIL import Image as Drawing

    from seelevel.formats.parquet import write_shard
    from seelevel.store import batched, write_json

    (run / "images").mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 255, (PICTURES, 30, 40, 3), dtype=np.uint8)
    for n in range(PICTURES):
        Drawing.fromarray(noise[n]).resize((640, 480)).save(run / "images" / f"{n:05d}.jpg")
    clock = Clock()
    for number, block in enumerate(batched(_ladders(run, count))):
        write_shard(run / "check" / f"shard-{number:05d}.parquet", block, run)
    written = clock.read()
    (run / "recipe.yaml").write_text("check: {checker: judge}\n", encoding="utf-8")
    write_json(run / "check" / "manifest.json", {"fingerprint": "", "shards": -(-count // 128)})
    size = sum(path.stat().st_size for path in (run / "check").glob("*.parquet"))
    return _row("write", count, written, bytes=size)


def _ladders(run: Path, count: int) -> Iterator[Any]:
    from seelevel.ladder import Image, Ladder, Message, Response
    from seelevel.notes import Checked, CheckNote

    draw = random.Random(0)
    words = random_text(draw, 10_000).split()

    def text(length: int) -> str:
        first = draw.randrange(len(words) - length)
        return " ".join(words[first : first + length])

    for n in range(count):
        answers = [
            Response(
                [Message(role="assistant", content=text(60))],
                level,
                {"kind": "expert", "model": f"m{level}"},
                check=Checked(level, rating=float(K - level)),
            )
            for level in range(K)
        ]
        prompt = [Message(role="user", content=f"<image>\n{text(12)}")]
        picture = Image(str(run / "images" / f"{n % PICTURES:05d}.jpg"), f"{n % PICTURES:064d}")
        yield Ladder(f"l{n}", [picture], prompt, answers, check=CheckNote("judge", tuple(range(K))))


def _row(what: str, count: int, times: dict[str, float], **more: float) -> dict[str, Any]:
    return {"what": what, "ladders": count, **times, "peak": peak_memory() or 0, **more}


def facts(run: Path, count: int) -> dict[str, Any]:
    from seelevel.check import check_facts
    from seelevel.formats.parquet import iter_shards

    clock = Clock()
    counted = check_facts(ladder for _, ladders in iter_shards(run / "check", run) for ladder in ladders)
    assert counted.ladders == count
    return _row("count", count, clock.read())


def read(run: Path, count: int) -> dict[str, Any]:
    from seelevel.formats.parquet import read_ladders

    before, clock = peak_memory() or 0, Clock()
    ladders = read_ladders(run / "check", run)
    assert len(ladders) == count
    return _row("read", count, clock.read(), grown=(peak_memory() or 0) - before)


def page(run: Path, count: int) -> dict[str, Any]:
    from seelevel import report

    clock = Clock()
    report.run(run, report.ReportSettings())
    return _row("report", count, clock.read())


def tokens(run: Path, count: int) -> dict[str, Any]:
    """What a process of a training does with its part of the ladders: pictures, tokens, fingerprints; and what it
    takes to receive as many from another process."""
    from benchmarks.shapes import SHAPES, make_ladder, make_processor
    from seelevel.training.packing.tokens import ImageReader
    from seelevel.training.prepare import prepare
    from seelevel.training.reference import data_fingerprint
    from seelevel.training.settings import TrainSettings

    shape, some = SHAPES["7b"], min(count, 200)
    folder = run / "shape"
    folder.mkdir()
    ladders = [make_ladder(shape, folder, K, shape.image_tokens + 40, (60, 100), seed) for seed in range(some)]
    processor, settings = make_processor(shape), TrainSettings()

    class Config:
        max_position_embeddings = shape.context

        @staticmethod
        def get_text_config() -> type[Config]:
            return Config

    clock = Clock()
    data = prepare(ladders, processor, ImageReader(processor), settings, Config)
    prepared = clock.read()
    data_fingerprint(data.tokenised)
    whole, kept = clock.read(), sum(part.nbytes for one in data.tokenised for part in (*one.tokens, *one.rounds))
    sent, clock = pickle.dumps(data.tokenised), Clock()
    pickle.loads(sent)  # as a process gets what another one has prepared
    received = clock.read()["seconds"]
    return _row("prepare", some, whole, prepared=prepared["seconds"], received=received, bytes=kept)
