"""What the bookkeeping of feedback costs: 63,000 annotations by a judge that answers at once.

    python -m benchmarks.bookkeeping --json
    python -m benchmarks.bookkeeping --sources records --judges server --json

Records as LVLM_NLF has them (JSON lines, three turns each, not rated yet) are read into shards and judged; ladders of
three responses that lie in shards are judged as they are. The judge is an object in the process, or a server on the
loopback, in a process of its own, whose replies are kept on disk. Each is run to its end (`fresh`), once more with all
of it there (`again`: local, over the finished shards; server, in a new run folder over the kept replies), and killed
with SIGKILL when half of its shards are written and run once more (`resumed`, which has to leave the same bytes). Every
run is a process: its wall time, its peak of resident memory (the kernel's), and what lies on the disk after it, in
blocks. The last thing printed is one JSON object {"settings": ..., "results": [{"source", "judge", "run", ...}, ...]}.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import platform
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROUNDS = K = 3
PICTURES = 500
PHRASE = "a red cup stands on the table near two small dogs and there is no boat in this large picture of a park"
SOURCES, JUDGES = ("records", "ladders"), ("local", "server")
POLL_SECONDS = 0.02


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run every source with every judge and print the report."""
    options = _options(arguments)
    with contextlib.ExitStack() as stack:
        work = options.work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bookkeeping-")))
        sources = {name: _written(name, work / name, options.annotations) for name in options.sources}
        results = []
        for name, source in sources.items():
            for judge in options.judges:
                results += _measured(name, source, judge, work, options)
    report = {"settings": _settings(options), "results": results}
    for one in results:
        print(
            f"{one['source']:8} {one['judge']:7} {one['run']:8}{one['seconds']:8.1f} s "
            f"{one['peak_bytes'] / 2**20:7.0f} MiB at the peak, {one['disk_bytes'] / 2**20:7.0f} MiB on disk",
            flush=True,
        )
    print(json.dumps(report) if options.json else json.dumps(report, indent=1))
    return report


# --- what is judged -------------------------------------------------------------------------------------------------


def _written(name: str, folder: Path, annotations: int) -> Path:
    """Inputs with so many answers, written by a process of its own, whose memory is nobody's."""
    _command("write", name, str(folder), str(annotations))
    return folder


def _write(name: str, folder: Path, annotations: int) -> None:
    from PIL import Image as Pictures

    rng = random.Random(0)
    for n in range(PICTURES):
        path = folder / "images" / f"{n:012d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Pictures.new("RGB", (16, 16), (n % 256, n // 256, 0)).save(path)
    if name == "records":
        with (folder / "records.jsonl").open("w") as file:
            for n in range(annotations // ROUNDS):
                turns = [{"user": random_text(rng, 12), "model": random_text(rng, 60)} for _ in range(ROUNDS)]
                record = {"id": f"r{n}", "image_id": f"{n % PICTURES:012d}.jpg", "caption": random_text(rng, 40)}
                file.write(json.dumps({**record, "interaction": turns}) + "\n")
        return
    from seelevel.formats.parquet import write_shard
    from seelevel.ladder import Image, Ladder, Message, Response
    from seelevel.store import batched

    def ladders() -> Iterator[Ladder]:
        for n in range(annotations // K):
            path = folder / "images" / f"{n % PICTURES:012d}.jpg"
            image = Image(str(path), hashlib.sha256(path.read_bytes()).hexdigest())
            said = [Response([Message(role="assistant", content=random_text(rng, 60))], level) for level in range(K)]
            prompt = [Message(role="user", content=f"<image>\n{random_text(rng, 12)}")]
            yield Ladder(f"l{n}", [image], prompt, said, {"image_content": [random_text(rng, 10) for _ in range(4)]})

    for number, batch in enumerate(batched(ladders())):
        write_shard(folder / "shards" / f"shard-{number:05d}.parquet", batch)


def random_text(rng: random.Random, words: int) -> str:
    return " ".join(rng.choices(PHRASE.split(), k=words)).capitalize() + "."


# --- the judges -----------------------------------------------------------------------------------------------------


def verdict(prompt: str) -> str:
    """What the judge replies: of the length that real ones have, another for another prompt."""
    draw = hashlib.sha256(prompt.encode()).digest()
    rng = random.Random(draw)
    words = {"critique": random_text(rng, 40), "refinement": random_text(rng, 20)}
    return json.dumps({"helpfulness": 1 + draw[0] % 4, "honesty": 1 + draw[1] % 4, "harmlessness": None, **words})


class Instant:
    """A judge in the process."""

    name = "instant"

    def describe(self) -> str:
        return self.name

    def generate(self, prompts: Sequence[Any], sampling: Any) -> list[Any]:
        from seelevel.models.base import Completion

        return [Completion(verdict(prompt.messages[0]["content"]), 90, True) for prompt in prompts]


def _serve() -> None:
    """A server of chat completions that does no more than it must; GET says how many calls it has had."""
    calls = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = next((int(h[15:]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length:")), 0)
                body = await reader.readexactly(size)
                answer: dict[str, Any] = {"calls": calls}
                if head.startswith(b"POST"):
                    calls += 1
                    said = {"role": "assistant", "content": verdict(json.loads(body)["messages"][0]["content"])}
                    answer = {
                        "id": f"c{calls}",
                        "object": "chat.completion",
                        "choices": [{"index": 0, "message": said, "finish_reason": "stop"}],
                        "usage": {"prompt_tokens": 500, "completion_tokens": 90, "total_tokens": 590},
                    }
                raw = json.dumps(answer).encode()
                length = str(len(raw)).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + length)
                writer.write(b"\r\n\r\n" + raw)
                await writer.drain()
        writer.close()

    async def forever() -> None:
        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    asyncio.run(forever())


@contextlib.contextmanager
def _server() -> Iterator[str]:
    """The server's address, in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.bookkeeping", "serve"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.terminate()
        process.wait()


def _calls(address: str) -> int:
    with urllib.request.urlopen(address + "/calls") as reply:
        return int(json.load(reply)["calls"])


# --- the runs -------------------------------------------------------------------------------------------------------


def _annotate(name: str, source: Path, judge: str, out: Path, cache: str) -> None:
    """What `seelevel run` does of a recipe up to its feedback: records into shards, judged into shards."""
    from seelevel import feedback
    from seelevel.formats.ingest import ingest
    from seelevel.formats.sources import Source
    from seelevel.models.base import ApiSettings, ModelRef
    from seelevel.store import StageFolder

    start = time.perf_counter()
    data = source / "shards"
    if name == "records":
        stage = StageFolder(out / "data", "bookkeeping")
        data = stage.path
        if stage.manifest is None:
            stage.begin()
            stage.finish(**ingest(Source(source / "records.jsonl"), stage, out, 0.0).written())
    read = time.perf_counter()
    ref = ModelRef(judge, judge, ApiSettings(cache=cache))
    if judge == "local":
        feedback.load_generator = lambda *_: Instant()  # type: ignore[assignment]
    stage = StageFolder(out / "feedback", "bookkeeping")
    stage.begin()
    facts = feedback.run(data, stage, feedback.FeedbackSettings(judge=judge), ref, None, out, 0)
    now = time.perf_counter()
    print(
        json.dumps(
            {"read_seconds": read - start, "judge_seconds": now - read, "peak_bytes": peak_memory(), **facts.written()}
        )
    )


def _measured(name: str, source: Path, judge: str, work: Path, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    folder = work / f"{name}-{judge}"
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(_server()) if judge == "server" else None

        def run(which: str, out: str, cache: str, killed: bool = False) -> dict[str, Any]:
            before = 0 if address is None else _calls(address)
            model = "local" if address is None else f"{address}#instant"
            told = ["annotate", name, source, model, folder / out, folder / cache]
            half = _half(folder / out / "feedback", options.annotations // (1 if name == "records" else K))
            found = {"source": name, "judge": judge, "run": which, **_process(told, half if killed else None)}
            if address is not None:
                found["calls"] = _calls(address) - before
            found["disk_bytes"] = _disk(folder / out) + _disk(folder / cache)
            found["reply_files"] = sum(1 for _ in (folder / cache).rglob("*.json"))
            return found

        yield run("fresh", "whole", "replies")
        yield run("again", "whole" if address is None else "second", "replies")
        yield run("killed", "broken", "broken-replies", killed=True)
        resumed = run("resumed", "broken", "broken-replies")
        yield {**resumed, "same_bytes": _prints(folder / "broken") == _prints(folder / "whole")}


def _half(stage: Path, ladders: int) -> Callable[[], bool]:
    """Whether a stage has written half of its shards."""
    from seelevel.store import SHARD_SIZE, shards

    return lambda: len(shards(stage)) >= ladders / SHARD_SIZE / 2


def _process(told: Sequence[object], kill_when: Callable[[], bool] | None) -> dict[str, Any]:
    """A run in a process: seconds, peak memory, what it said last; killed as soon as `kill_when` says so."""
    start, before = time.perf_counter(), None
    with tempfile.TemporaryFile("w+") as complaints:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.bookkeeping", *map(str, told)],
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
        )
        if kill_when is not None:
            ended = os.WEXITED | os.WNOHANG | os.WNOWAIT  # a run that fails before would be waited for without end
            while not kill_when() and os.waitid(os.P_PID, process.pid, ended) is None:
                time.sleep(POLL_SECONDS)
            before = peak_memory(process.pid)
            os.kill(process.pid, signal.SIGKILL)
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        complaints.seek(0)
        if process.returncode != (0 if kill_when is None else -signal.SIGKILL):
            raise SystemExit(complaints.read() or "a run ended before it was killed; give it more --annotations")
    facts = json.loads(said.splitlines()[-1]) if kill_when is None else {"peak_bytes": before}
    peak = facts["peak_bytes"] or used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {
        "seconds": time.perf_counter() - start,
        "processor_seconds": used.ru_utime + used.ru_stime,
        "peak_bytes": peak,
        **{key: facts[key] for key in ("read_seconds", "judge_seconds", "responses", "unscored") if key in facts},
    }


def peak_memory(process: int | str = "self") -> int | None:
    """Peak of a process's resident memory; None where there is no /proc. Not `ru_maxrss`, in which Linux counts what
    the process was a copy of before its program was loaded: a test's, with all that it has imported."""
    status = Path(f"/proc/{process}/status")
    found = re.search(r"^VmHWM:\s*(\d+) kB", status.read_text(), re.MULTILINE) if status.exists() else None
    return int(found[1]) * 1024 if found else None


def _command(*told: str) -> None:
    subprocess.run([sys.executable, "-m", "benchmarks.bookkeeping", *told], check=True)


def _disk(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def _prints(out: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in (out / "feedback").glob("*.parquet")}


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "annotations": options.annotations,
        "pictures": PICTURES,
        "cores": len(os.sched_getaffinity(0)),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotations", type=int, default=63_000)
    parser.add_argument("--sources", nargs="+", choices=SOURCES, default=SOURCES)
    parser.add_argument("--judges", nargs="+", choices=JUDGES, default=JUDGES)
    parser.add_argument("--work", type=Path, help="a folder to keep what is written; default: one that goes away")
    parser.add_argument("--json", action="store_true", help="the JSON on one line")
    return parser.parse_args(arguments)


PARTS: dict[str, Callable[..., None]] = {
    "serve": _serve,
    "write": lambda name, folder, count: _write(name, Path(folder), int(count)),
    "annotate": lambda name, source, judge, out, cache: _annotate(name, Path(source), judge, Path(out), cache),
}
"""What is done in processes of its own, by the first argument."""

if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] in PARTS:
        PARTS[sys.argv[1]](*sys.argv[2:])
    else:
        main()
