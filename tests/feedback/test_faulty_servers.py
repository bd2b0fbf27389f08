"""The command line with servers that fail three times in ten, in every way, and twice for good: the stages stop, go on,
and end as with servers that never fail. Nothing is lost, doubled, or asked for again after it was paid."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from seelevel import load_ladders
from seelevel.cli import main
from tests.models.faulty_server import FAULTS, KEY, MANY, STOPS, FaultyServer, answer_to, serving

NUMBER = re.compile(r"[Nn]umber (\d+)")
PICTURES = 7
STAGES = ("generate", "feedback")


class Service:
    """Experts and a judge, each on a server of its own, which fail until `mend()`."""

    def __init__(self, experts: int, every: int, stack: ExitStack) -> None:
        self.every = every
        self.servers = [stack.enter_context(serving(share=0.3, faults=MANY)) for _ in range(experts + 1)]
        *self.experts, self.judge = self.servers
        self.other = stack.enter_context(serving())
        for name, server in enumerate(self.servers):
            server.slow_seconds, server.elsewhere = 6.0, f"{self.other.address}/chat/completions"
            server.replies = self.reply_of(name, server)
            server.fault = self.fault_of(server)  # type: ignore[method-assign]

    def fault_of(self, server: FaultyServer) -> Any:
        """One question in `every` is sent to another server at first; for another, the server stays away."""
        by_chance = server.fault

        def fault(question: str, times: int) -> str | None:
            place = int(NUMBER.findall(question)[-1]) % self.every
            if server.share and place == 11 and times == 1:
                return "elsewhere"
            if server.share and place == 17 and times <= 6:  # the run that is sent elsewhere has tried it too
                return "down"
            return by_chance(question, times)

        return fault

    def reply_of(self, name: int, server: FaultyServer) -> Any:
        """Some replies are lists of parts, and some call a tool: they are paid for, and answer nothing."""

        def reply(question: str) -> dict[str, Any]:
            number = int(NUMBER.findall(question)[-1])
            text = f"Expert {name} of number {number}: {answer_to(question)}"
            if server is self.judge:
                rating = 1 + int(answer_to(question)[-2:], 16) % 4
                text = json.dumps({"honesty": rating, "critique": f"On number {number}.", "refinement": "Look again."})
            message: dict[str, Any] = {"role": "assistant", "content": text}
            if number % 10 == 3:
                message["content"] = [{"type": "text", "text": part} for part in (text[:5], text[5:])]
            if calls_a_tool(number):
                call = {"id": "x", "type": "function", "function": {"name": "look", "arguments": "{}"}}
                message = {"role": "assistant", "content": None, "tool_calls": [call]}
            ending = "tool_calls" if calls_a_tool(number) else "stop"
            return {"choices": [{"message": message, "finish_reason": ending}], "usage": {"completion_tokens": 5}}

        return reply

    def mend(self) -> None:
        for server in self.servers:
            server.share = 0.0

    def paid(self) -> set[int]:
        """How often the questions were answered."""
        return {times for server in self.servers for times in server.answered.values()}

    def calls(self) -> int:
        return sum(sum(server.asked.values()) for server in self.servers)


def calls_a_tool(number: int) -> bool:
    return number % 20 == 9


def recipe(root: Path, service: Service, prompts: int) -> list[str]:
    """The settings of the command line."""
    for n in range(PICTURES):
        Image.new("RGB", (8, 6), (30 * n, 99, 200 - 20 * n)).save(root / f"{n}.png")
    records = [{"id": f"p{n}", "image": f"{n % PICTURES}.png", "prompt": f"Number {n}?"} for n in range(prompts)]
    (root / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    experts = ", ".join(f"'{server.address}#m'" for server in service.experts)
    return [
        f"data.prompts={root / 'records.jsonl'}",
        "data.limit=null",
        f"generate={{method: experts, experts: [{experts}]}}",
        "check=null",
        f"feedback={{judge: '{service.judge.address}#m', ladders: ratings}}",
        "align.objective={name: conditional}",
        "api={timeout: 4, tries: 3, concurrency: 16}",  # a healthy reply takes longer on a busy machine, and is paid
    ]


Command = Callable[[str, Path, list[str]], tuple[int, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """A stage on the command line: (exit code, all that it said)."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def run(stage: str, out: Path, settings: list[str]) -> tuple[int, str]:
        told = [part for setting in settings for part in ("--set", setting)]
        monkeypatch.setattr("sys.argv", ["seelevel", stage, "world-quick", "--out", str(out), *told])
        with pytest.raises(SystemExit) as ended:
            main()
        said = "".join(capfd.readouterr())
        assert KEY not in said and "Traceback" not in said, said
        return int(ended.value.code or 0), said

    return run


def check(root: Path, command: Command, prompts: int, experts: int, every: int) -> None:
    with ExitStack() as stack:
        service = Service(experts, every, stack)
        settings = recipe(root, service, prompts)
        stops: Counter[int] = Counter()
        for stage in STAGES:
            while (ended := command(stage, root / "run", settings))[0]:
                code, said = ended
                words = {1: "failed after 3 tries (status 500: oops)", 2: "redirects to http://127.0.0.1:"}
                assert words[code] in said.strip().splitlines()[-1]
                stops[code] += 1
        asked, faults = service.calls(), sum((server.faulted for server in service.servers), Counter[str]())
        questions = sum(len(server.asked) for server in service.servers)
        answers = experts * sum(not calls_a_tool(n) for n in range(prompts))
        assert questions == prompts * experts + answers
        assert set(faults) == {*FAULTS, *STOPS} and min(stops[1], stops[2]) >= 2
        assert service.paid() == {1} and not service.other.asked

        assert [command(stage, root / "again", settings)[0] for stage in STAGES] == [0, 0]
        assert service.calls() == asked  # what is kept is not asked for
        service.mend()
        fresh = [*settings, f"api.cache={root / 'fresh'}"]
        assert [command(stage, root / "whole", fresh)[0] for stage in STAGES] == [0, 0]
        assert service.paid() == {2}
    shards = written(root / "whole")
    assert len(shards) >= 3 and written(root / "run") == shards == written(root / "again")
    check_ladders(root / "run", prompts, experts)
    files = [path for path in root.rglob("*") if path.is_file()]
    assert not [path for path in files if KEY.encode() in path.read_bytes() or ".partial-" in path.name]
    print(f"{questions} questions, {asked} calls, faults {dict(faults)}, stops {dict(stops)}")


def written(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("shard-*.parquet"))}


def check_ladders(out: Path, prompts: int, experts: int) -> None:
    """Every prompt once, in order, with each expert's own answer; every answer with its own verdict."""
    for stage in ("generate", "feedback"):
        assert [ladder.id for ladder in load_ladders(out / stage)] == [f"p{n}" for n in range(prompts)]
    for n, ladder in enumerate(load_ladders(out / "generate")):
        heads = [response.text.partition(": answer to ")[0] for response in ladder.responses]
        reasons = [entry["why"] for entry in ladder.notes.get("dropped", [])]
        if calls_a_tool(n):
            assert heads == [] and reasons == ["ended by tool_calls, empty"] * experts
        else:
            assert heads == [f"Expert {name} of number {n}" for name in range(experts)] and reasons == []
    for n, ladder in enumerate(load_ladders(out / "feedback")):
        said = [response.feedback and response.feedback.critique for response in ladder.responses]
        assert said == [] if calls_a_tool(n) else said == [f"On number {n}."] * experts


def test_two_stages_end_as_with_servers_that_never_fail(tmp_path: Path, command: Command) -> None:
    check(tmp_path, command, 60, 1, 60)


@pytest.mark.slow
def test_2000_calls_end_as_with_servers_that_never_fail(tmp_path: Path, command: Command) -> None:
    check(tmp_path, command, 520, 2, 200)
