"""`seelevel view` killed while it saves: its file is whole, the old one or the new, and the next server works."""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

import pytest

from seelevel.check.overrides import read_overrides
from tests.slow.running import COMMAND
from tests.view.browser.made import made_run

pytestmark = pytest.mark.slow
SEED, KILLS, RUNS = 20261128, 32, 2
LADDERS = 12


class Client:
    """A tab without a browser: it has the token's cookie."""

    def __init__(self, address: str) -> None:
        base, token = address.split("/?token=")
        self.host = base.removeprefix("http://")
        self.cookie = f"seelevel-view-{self.host.rpartition(':')[2]}={token}"

    def ask(self, method: str, path: str, fields: dict[str, str] | None = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection(self.host, timeout=30)
        headers = {"cookie": self.cookie, "origin": f"http://{self.host}"}
        try:
            connection.request(method, path, urlencode(fields or {}), headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def change(self, name: str, number: int) -> int:
        """Set the level of a ladder's second answer, or write a critique, as its page does; returns the status."""
        page = self.ask("GET", f"/0/ladder?{urlencode({'id': name})}")[1]
        fields = dict(re.findall(r'name="(response|version)" value="([^"]*)"', page))
        action = {"action": "level", "level": str(number % 5)} if number % 3 else {"action": "critique"}
        return self.ask("POST", "/0/change", {**fields, **action, "id": name, "critique": f"{number} " * 500})[0]


def started(run: Path) -> tuple[subprocess.Popen[str], Client]:
    command = [*COMMAND, "view", str(run), "--no-browser", "--port", "0", "--who", "Ada"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    return process, Client(process.stdout.readline().strip())


def changes_until_the_end(client: Client, names: list[str], answered: list[int]) -> None:
    """Change one ladder after the other until the server is gone."""
    number = 0
    while True:
        try:
            answered.append(client.change(names[number % len(names)], number))
        except (OSError, http.client.HTTPException):
            return
        number += 1


def kills(run: Path, seed: int, number: int) -> list[int]:
    """Kill so many servers of a run while two tabs change it; returns how the changes were answered."""
    file, draw, kept, answered = run / "overrides.jsonl", random.Random(seed), 0, list[int]()
    for _ in range(number):
        process, client = started(run)
        assert client.ask("GET", "/0/ladder?id=standard")[0] == 200
        before = len(answered)
        streams = [
            threading.Thread(
                target=changes_until_the_end,
                args=(client, [f"plain-{LADDERS * tab + n:02d}" for n in range(LADDERS)], answered),
            )
            for tab in range(2)
        ]
        for stream in streams:
            stream.start()
        while len(answered) - before < 2:  # it saves now
            time.sleep(0.005)
        time.sleep(draw.uniform(0, 0.2))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        for stream in streams:
            stream.join()
        lines = file.read_text("utf-8").split("\n")
        assert lines.pop() == ""
        assert all(json.loads(line)["who"] == "Ada" for line in lines)
        assert len(read_overrides(file, run / "check", run)) >= kept  # as the next check reads them
        kept = len(lines)
        assert all(json.loads(line)["ladder"] for line in file.with_suffix(".before.jsonl").read_text().splitlines())
    return answered


def test_kills_while_changes_are_saved_leave_whole_files(tmp_path: Path) -> None:
    runs = [made_run(tmp_path / f"run {number}") for number in range(RUNS)]
    with ThreadPoolExecutor(RUNS) as pool:  # most of the time servers start
        jobs = [pool.submit(kills, run, SEED + number, KILLS // RUNS) for number, run in enumerate(runs)]
        answered = [status for job in jobs for status in job.result()]
    assert set(answered) == {303} and len(answered) > 2 * KILLS
    for run in runs:
        goes_on(run)
    print(f"seed {SEED}: {len(answered)} changes, {KILLS} kills")


def goes_on(run: Path) -> None:
    """The next server changes the run, takes that back, and leaves nothing that kills left."""
    file = run / "overrides.jsonl"
    process, client = started(run)
    assert client.change("standard", 1) == 303  # no lock is left
    assert json.loads(file.read_text("utf-8").splitlines()[-1])["ladder"] == "standard"
    assert client.ask("POST", "/0/change", {"action": "undo", "id": "standard"})[0] == 303
    assert "standard" not in file.read_text("utf-8")
    process.terminate()
    process.communicate()
    assert list(run.glob(".partial-*")) == []
