"""What it costs to convert ladders to TRL's pairs and back: 200,000 ladders of four responses, 1,200,000 pairs.

    python -m benchmarks.convert --json

The ladders have random words and one of 500 pictures each. Each conversion is a process: its wall time, processor time
and peak of resident memory (the kernel's). What comes back is compared with the first ladders before anything is
printed. The last thing printed is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

K, PICTURES = 4, 500
PHRASE = "a red cup stands on the table near two small dogs and there is no boat in this large picture of a park"


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Write the ladders, convert them there and back, compare, and print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ladders", type=int, default=200_000)
    parser.add_argument("--json", action="store_true", help="print the report alone")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="convert-") as folder:
        first, rows, back = (Path(folder) / name for name in ("first.parquet", "rows.jsonl", "back.parquet"))
        _write(first, options.ladders)
        results = [_converted("to TRL", first, rows, "trl"), _converted("back", rows, back, "ladders")]
        _compare(first, back)
    report = {"ladders": options.ladders, "responses": K, "cores": os.cpu_count(), "results": results}
    if not options.json:
        for one in results:
            print(
                f"{one['way']:8}{one['seconds']:8.1f} s {one['processor_seconds']:8.1f} s of the processor"
                f"{one['peak_bytes'] / 2**20:8.0f} MiB"
            )
    print(json.dumps(report))
    return report


def _write(path: Path, count: int) -> None:
    from PIL import Image as Pictures

    from seelevel.formats.parquet import save_ladders
    from seelevel.image_store import ImageStore
    from seelevel.ladder import Ladder, Response

    rng, store, words = random.Random(0), ImageStore(path.parent), PHRASE.split()
    images = []
    for n in range(min(PICTURES, count)):
        Pictures.new("RGB", (16, 16), (n % 256, n // 256, 0)).save(path.with_suffix(".png"))
        images.append(store.put(str(path.with_suffix(".png"))))

    def text(length: int) -> str:
        return " ".join(rng.choices(words, k=length))

    def ladders() -> Iterator[Ladder]:
        for n in range(count):
            answers = [
                Response([{"role": "assistant", "content": f"{text(30)} {level}."}], level, {"kind": "given"})
                for level in range(K)
            ]
            prompt = f"<image>\n{text(12)} {n}?"
            yield Ladder(f"l{n}", [images[n % len(images)]], [{"role": "user", "content": prompt}], answers)

    save_ladders(ladders(), path)


def _converted(way: str, source: Path, target: Path, form: str) -> dict[str, Any]:
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    code = (
        "import resource, sys; from seelevel.formats import convert; "
        "convert(sys.argv[1], sys.argv[2], target_format=sys.argv[3]); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
    )
    command = [sys.executable, "-c", code, str(source), str(target), form]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "way": way,
        "seconds": time.monotonic() - start,
        "processor_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "peak_bytes": int(done.stdout),
    }


def _compare(first: Path, back: Path) -> None:
    from seelevel.formats.parquet import each_row

    for pair in zip(each_row(first), each_row(back), strict=True):
        one, other = (
            (x.id, [image.sha256 for image in x.images], x.prompt, x.responses, x.annotations) for x, _ in pair
        )
        if one != other:
            raise SystemExit(f"{one[0]} came back as another ladder")


if __name__ == "__main__":
    main()
