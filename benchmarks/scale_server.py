"""A judge for the measurements of scale: chat completions after a pause, and no more than so many per minute.

python -m benchmarks.scale_server LATENCY PER_MINUTE    # prints its port; GET tells how many calls it has had
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass
class Counts:
    """Calls answered and refused, the most at once, and the seconds of the first request and of the last reply."""

    answered: int = 0
    refused: int = 0
    busy: int = 0
    busiest: int = 0
    began: float = 0.0
    ended: float = 0.0


class Limited:
    """A server with a latency in seconds and a number of requests per minute."""

    def __init__(self, latency: float, per_minute: float) -> None:
        self.latency, self.per_minute, self.counts = latency, per_minute, Counts()
        self.minute, self.taken = -1.0, 0

    def wait(self) -> float:
        """Seconds that a call has to wait until the next minute; 0 if it is taken."""
        now = time.monotonic() - self.counts.began
        if now // 60 > self.minute:
            self.minute, self.taken = now // 60, 0
        self.taken += 1
        return 0.0 if self.taken <= self.per_minute else (self.minute + 1) * 60 - now

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = next((int(h[15:]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length:")), 0)
                body = await reader.readexactly(size)
                status, headers, answer = "200 OK", "", vars(self.counts)
                if head.startswith(b"POST"):
                    status, headers, answer = await self.answer(json.loads(body))
                raw = json.dumps(answer).encode()
                about = f"Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n{headers}\r\n"
                writer.write(f"HTTP/1.1 {status}\r\n{about}".encode() + raw)
                await writer.drain()
        writer.close()

    async def answer(self, body: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
        self.counts.began = self.counts.began or time.monotonic()
        if wait := self.wait():
            self.counts.refused += 1
            return "429 Too Many Requests", f"Retry-After: {wait:.2f}\r\n", {"error": {"message": "slow down"}}
        self.counts.busy += 1
        self.counts.busiest = max(self.counts.busiest, self.counts.busy)
        await asyncio.sleep(self.latency)
        self.counts.busy -= 1
        self.counts.answered += 1
        self.counts.ended = time.monotonic()
        message = {"role": "assistant", "content": verdict(body["messages"][0]["content"])}
        usage = {"prompt_tokens": 500, "completion_tokens": 90, "total_tokens": 590}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return "200 OK", "", {"id": "c", "object": "chat.completion", "choices": [choice], "usage": usage}


def verdict(prompt: Any) -> str:
    """Ratings of a list of answers, or of one answer in words."""
    text = prompt if isinstance(prompt, str) else " ".join(part.get("text", "") for part in prompt)
    if "Task: listwise" in text:
        count = len(re.findall(r"^Answer \d+$", text, re.MULTILINE))
        return f"One is better.\nRatings: {[(len(text) + n) % 10 for n in range(count)]}"
    rated = {"helpfulness": 1 + len(text) % 4, "honesty": 3, "harmlessness": None}
    return json.dumps({**rated, "critique": "It names a boat that is not there.", "refinement": "Leave out the boat."})


@contextlib.contextmanager
def serving(latency: float = 0.0, per_minute: float = 1e9) -> Iterator[str]:
    """The address of a server in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scale_server", str(latency), str(per_minute)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.terminate()
        process.wait()


def counts(address: str) -> Counts:
    with urllib.request.urlopen(address + "/counts") as reply:
        return Counts(**json.load(reply))


async def _forever(latency: float, per_minute: float) -> None:
    server = await asyncio.start_server(Limited(latency, per_minute).talk, "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_forever(float(sys.argv[1]), float(sys.argv[2])))
