"""What `seelevel view` costs with 50,000 ladders: every answer through HTTP, from the real command.

    python -m benchmarks.view --json

A run is written into a temporary folder: ladders of 4 and 5 answers, checked, in shards of 128, and 500 pictures of
640 × 480. `start` is the time until a new server prints its address, `first page` that of its first answer, `index`
that from the address until all is read. Then each page is asked for in turns, and its whole body read. Medians, in ms.
`memory` is the server's largest resident memory (VmHWM), in MB. The last thing printed is one JSON object
{"settings": ..., "results": {...}}.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

PICTURES, SHARD = 500, 128
PHRASE = "a red cup stands on the table near two small dogs and there is no boat in this large picture of a park"
WORDS = PHRASE.split()
PAGES = {
    "gallery": {},
    "page 500": {"page": "500"},
    "filter: model": {"origin": "m3"},
    "filter: flag": {"flag": "rare"},
    "filter: ties": {"ties": "yes"},
    "filter: order changed": {"reordered": "yes"},
    "filter: not checked": {"unchecked": "yes"},
    "filter: number of answers": {"size": "5"},
    "filter: by hand": {"changed": "yes"},
    "all filters at once": {"origin": "m3", "ties": "no", "reordered": "yes", "size": "5", "changed": "no"},
    "text search, many": {"words": "small dogs"},
    "text search, one": {"words": "needle"},
    "sorted by length": {"order": "gap"},
}
"""The gallery's queries that are timed."""


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Write the ladders, time all pages and print the report."""
    options = _options(arguments)
    with tempfile.TemporaryDirectory(prefix="view-") as work:
        run = Path(work) / "run"
        subprocess.run([sys.executable, "-m", "benchmarks.view", "write", str(run), str(options.ladders)], check=True)
        results = _measured(run, options)
    report = {"settings": _settings(options), "results": results}
    for name, figure in results.items():
        print(f"{name:28}{figure:10.1f}")
    print(json.dumps(report) if options.json else json.dumps(report, indent=1))
    return report


# --- what is shown ----------------------------------------------------------------------------------------------------


def _write(run: Path, count: int) -> None:
    import numpy as np
    from PIL import Image as Drawing

    from seelevel.formats.parquet import write_shard
    from seelevel.store import batched, write_json

    (run / "images").mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 255, (PICTURES, 30, 40, 3), dtype=np.uint8)
    for n in range(PICTURES):
        Drawing.fromarray(noise[n]).resize((640, 480)).save(run / "images" / f"{n:05d}.jpg")
    for number, block in enumerate(batched(_ladders(run, count), SHARD)):
        write_shard(run / "check" / f"shard-{number:05d}.parquet", block, run)
    (run / "recipe.yaml").write_text("check: {checker: autocheck}\n", encoding="utf-8")
    override = {"ladder": "l7", "response": "m1", "level": 3, "who": "Ada"}
    (run / "overrides.jsonl").write_text(json.dumps(override) + "\n", encoding="utf-8")
    write_json(run / "check" / "manifest.json", {"fingerprint": "", "shards": -(-count // SHARD)})


def _ladders(run: Path, count: int) -> Iterator[Any]:
    from seelevel.ladder import Image, Ladder, Message, Response
    from seelevel.notes import Checked, CheckNote, Coverage, Match

    rng = random.Random(0)
    for n in range(count):
        answers = []
        for level in range(4 + n % 2):
            text = " ".join(rng.choices(WORDS, k=rng.randint(10, 40)))
            chunk = Match(text.split()[0], "cup", 0.9, True, 0, 1)
            check = Checked(rng.randint(0, 4), Coverage(0.5, 0.5, 0.5, 0.5, 0.5, 0.5, (chunk,), (chunk,), ()))
            place = level - (level == 3 and n % 10 == 0)
            message = Message(role="assistant", content=text)
            answers.append(Response([message], place, {"kind": "expert", "model": f"m{level}"}, check=check))
        question = " ".join(rng.choices(WORDS, k=8)) + (" needle" if n == count // 2 else "")
        note = CheckNote("autocheck", tuple(range(len(answers))), unchecked="no chunk" if n % 97 == 0 else "")
        prompt = [Message(role="user", content=f"<image>\n{question}?")]
        notes = {"flags": ["rare"]} if n % 31 == 0 else {}
        picture = Image(str(run / "images" / f"{n % PICTURES:05d}.jpg"))
        yield Ladder(f"l{n}", [picture], prompt, answers, {}, notes, check=note)


# --- what is measured -------------------------------------------------------------------------------------------------


class Browser:
    """A client with the token's cookie, and one connection."""

    def __init__(self, address: str) -> None:
        base, token = address.split("/?token=")
        self.connection = http.client.HTTPConnection(base.removeprefix("http://"), timeout=120)
        self.headers = {"cookie": f"seelevel-view-{self.connection.port}={token}"}

    def get(self, path: str, **query: str) -> tuple[float, str]:
        """Milliseconds until the whole answer is there, and its text. Raises `RuntimeError` for an error's page."""
        start = time.perf_counter()
        self.connection.request("GET", f"{path}?{urlencode(query)}" if query else path, headers=self.headers)
        answer = self.connection.getresponse()
        body = answer.read()
        taken = 1000 * (time.perf_counter() - start)
        if answer.status != 200:
            raise RuntimeError(f"{path}: status {answer.status}")
        return taken, body.decode("utf-8", "replace")


def _measured(run: Path, options: argparse.Namespace) -> dict[str, float]:
    """Figures by name: milliseconds, except `memory`, MB."""
    starts, firsts, indexes = list[float](), list[float](), list[float]()
    for repeat in range(options.repeats):  # a server each, the last one stays
        begin = time.perf_counter()
        process, browser = _started(run)
        starts.append(1000 * (time.perf_counter() - begin))
        taken, page = browser.get("/0")
        firsts.append(taken)
        while "still being read" in page or f" of {options.ladders:,} " not in page:
            time.sleep(0.02)
            page = browser.get("/0")[1]
        indexes.append(1000 * (time.perf_counter() - begin) - starts[-1])
        if repeat < options.repeats - 1:
            process.terminate()
            process.wait()
    results = {"start": starts, "first page": firsts, "index": indexes}
    rng = random.Random(0)
    for _ in range(options.repeats):
        for name, query in PAGES.items():
            results.setdefault(name, []).append(browser.get("/0", **query)[0])
        row = rng.randrange(options.ladders)  # of a shard that was not opened yet, most of the time
        results.setdefault("a ladder", []).append(browser.get("/0/ladder", id=f"l{row}")[0])
        results.setdefault("a ladder, next one", []).append(browser.get("/0/ladder", id=f"l{row ^ 1}")[0])
        place = f"{row // SHARD}/{row % SHARD}/0"
        for name, side in (("a picture, small", 320), ("a picture, large", 1600)):
            results.setdefault(name, []).append(browser.get(f"/0/picture/{place}/{side}")[0])
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    process.terminate()
    process.wait()
    assert peak is not None
    return {name: statistics.median(times) for name, times in results.items()} | {"memory": int(peak[1]) * 1024 / 1e6}


def _started(run: Path) -> tuple[subprocess.Popen[str], Browser]:
    command = [sys.executable, "-c", "from seelevel.cli import main; main()", "view", str(run), "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Browser(process.stdout.readline().strip())


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    return {
        "ladders": options.ladders,
        "repeats": options.repeats,
        "cores": len(os.sched_getaffinity(0)),
        "processor": model[1] if model else platform.machine(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ladders", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="the JSON on one line")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    if sys.argv[1:2] == ["write"]:
        _write(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
