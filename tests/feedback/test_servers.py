"""A judge on a server: through faults, kills and budgets nothing is lost, asked for twice or out of order."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from seelevel import load_ladders
from seelevel.formats.parquet import write_shard
from seelevel.judge import REPAIR
from seelevel.judge.annotate import Annotator
from seelevel.ladder import Ladder, Message, Response
from seelevel.models.base import ApiSettings
from seelevel.models.server.client import ApiModel
from seelevel.store import batched
from tests.judge.made import ANSWER
from tests.models.faulty_server import FAULTS, KEY, MANY, FaultyServer, serving

REFUSAL = "I cannot judge this."


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEELEVEL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return tmp_path / "cache"


def number_in(question: str) -> int:
    return int(json.loads(ANSWER.findall(question)[-1]).rpartition(" ")[2])


def judged(question: str) -> str | dict[str, Any]:
    """One in twenty is refused for good, one replied to in words until it is asked once more; the rest are rated."""
    number = number_in(question)
    if number % 20 == 7:
        return {"content": None, "refusal": REFUSAL}
    if number % 20 == 13 and REPAIR[:20] not in question:
        return "Rather good, I should say."
    return json.dumps({"honesty": 1 + number % 4, "critique": f"Number {number}.", "refinement": "Look again."})


def ladders(answers: int, each: int = 2) -> list[Ladder]:
    found = []
    for n in range(answers // each):
        texts = [f"answer {n * each + i}" for i in range(each)]
        said = [Response([Message(role="assistant", content=text)], level) for level, text in enumerate(texts)]
        found.append(Ladder(f"l{n}", [], [Message(role="user", content="What is there?")], said))
    return found


def check_verdicts(found: list[Any], numbers: list[int]) -> None:
    """Each answer's own verdict, in its place."""
    assert len(found) == len(numbers)
    for verdict, number in zip(found, numbers, strict=True):
        if number % 20 == 7:
            assert (verdict.reply, verdict.note) == (REFUSAL, "")
        else:
            assert (verdict.ratings, verdict.critique) == ({"honesty": 1 + number % 4}, f"Number {number}.")


def check_annotator(answers: int, timeout: float, concurrency: int) -> None:
    with serving(share=0.3, faults=MANY) as server:
        server.says, server.slow_seconds = judged, timeout * 1.5
        settings = ApiSettings(timeout=timeout, concurrency=concurrency)
        name = f"{server.address}#m"
        asked = [(ladder, response) for ladder in ladders(answers) for response in ladder.responses]
        check_verdicts(Annotator(ApiModel(name, settings, 0.01), name).annotate(asked), list(range(answers)))
        assert set(server.faulted) == set(FAULTS)
        assert 0.2 < sum(count > 1 for count in server.asked.values()) / len(server.asked) < 0.4
        assert len(server.answered) == answers + answers // 10  # one in ten was asked to say it again
        assert max(server.answered.values()) == 1
        before = sum(server.asked.values())
        again = Annotator(ApiModel(name, settings, 0.01), name).annotate(asked[::-1])
        check_verdicts(again, list(range(answers))[::-1])
        assert sum(server.asked.values()) == before


def test_faults_lose_repeat_or_misplace_none_of_200_judgements() -> None:
    check_annotator(200, timeout=2.0, concurrency=16)


@pytest.mark.slow
def test_faults_lose_repeat_or_misplace_none_of_2000_judgements() -> None:
    check_annotator(2000, timeout=3.0, concurrency=24)


STAGE = """
import json, sys
from pathlib import Path
from seelevel import feedback
from seelevel.models.base import ApiSettings, ModelRef
from seelevel.store import StageFolder
root, name, api = Path(sys.argv[1]), sys.argv[2], ApiSettings(**json.loads(sys.argv[3]))
stage = StageFolder(root / "feedback", "print")
stage.begin()
settings = feedback.FeedbackSettings(judge=name)
facts = feedback.run(root / "check", stage, settings, ModelRef("judge", name, api), None, root, 0)
stage.finish(**facts.written())
"""


def prepared(root: Path, answers: int, shard: int) -> Path:
    for n, batch in enumerate(batched(ladders(answers), shard)):
        write_shard(root / "check" / f"shard-{n:05d}.parquet", batch)
    return root


def bytes_of(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((root / "feedback").glob("*.parquet"))}


def check_kills(root: Path, answers: int, shard: int, kills: int, timeout: float, concurrency: int) -> None:
    """The stage killed so many times, at equal numbers of replies, and run to its end."""
    calls = answers + answers // 10
    with serving(share=0.3, faults=MANY) as server:
        server.slow_seconds = timeout * 1.5

        def slowly(question: str) -> str | dict[str, Any]:
            time.sleep(0.01)
            return judged(question)

        server.says = slowly
        name = f"{server.address}#m"
        api = {"timeout": timeout, "concurrency": concurrency}
        told = [sys.executable, "-c", STAGE, str(prepared(root / "broken", answers, shard)), name, json.dumps(api)]
        for kill in range(1, kills + 1):
            process = subprocess.Popen(told, stderr=subprocess.PIPE, text=True)
            while len(server.answered) < calls * kill // (kills + 1):
                time.sleep(0.005)
                assert process.poll() is None, process.communicate()[1]
            process.kill()
            process.communicate()
            time.sleep(2 * timeout)  # what was in flight has been answered, to nobody
        assert len(server.answered) < calls
        assert subprocess.run(told, stderr=subprocess.DEVNULL).returncode == 0
        assert len(server.answered) == calls
        again = sum(count - 1 for count in server.answered.values())
        print(f"{answers} answers, {calls} replies, {kills} kills, {again} replies asked for again")
        assert again <= kills * concurrency

        whole = prepared(root / "whole", answers, shard)
        before = sum(server.asked.values())
        assert subprocess.run([*told[:3], str(whole), *told[4:]], stderr=subprocess.DEVNULL).returncode == 0
        assert sum(server.asked.values()) == before  # a second run over what is kept asks for nothing
    assert bytes_of(root / "broken") == bytes_of(whole)
    found = load_ladders(root / "broken" / "feedback")
    assert [ladder.id for ladder in found] == [ladder.id for ladder in ladders(answers)]
    rated = [(r.text, r.feedback and r.feedback.critique) for ladder in found for r in ladder.responses]
    wanted = [n for n in range(answers) if n % 20 != 7]
    assert rated == [(f"answer {n}", f"Number {n}.") for n in wanted]
    unscored = [one for ladder in found if ladder.feedback is not None for one in ladder.feedback.unscored]
    assert [(one.text, one.reply) for one in unscored] == [
        (f"answer {n}", REFUSAL) for n in range(answers) if n % 20 == 7
    ]


def test_a_killed_stage_loses_only_the_calls_in_flight(tmp_path: Path) -> None:
    check_kills(tmp_path, 200, shard=40, kills=1, timeout=1.0, concurrency=8)


@pytest.mark.slow
def test_four_kills_in_2000_judgements_lose_only_calls_in_flight(
    tmp_path: Path,
) -> None:
    check_kills(tmp_path, 2000, shard=128, kills=4, timeout=2.0, concurrency=24)


# --- the command line: budgets, keys ----------------------------------------------------------------------------------


def command(stage: str, root: Path, server: FaultyServer, *api: str) -> tuple[int, str]:
    """A stage of a recipe whose records are rated by a server; (exit code, all that it said)."""
    records = [
        {"id": f"r{n}", "interaction": [{"user": "What is there?", "model": f"answer {2 * n + i}"} for i in range(2)]}
        for n in range(6)
    ]
    root.mkdir(exist_ok=True)
    (root / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    given = [f"data.prompts={root / 'records.jsonl'}", "data.limit=null", "generate={method: given}", "check=null"]
    judge = f"feedback={{judge: '{server.address}#m', judge_sampling: {{max_new_tokens: 10}}}}"
    told = [str(Path(sys.executable).with_name("seelevel")), stage, "world-quick", "--out", str(root / "run")]
    for setting in (*given, judge, "align.objective={name: conditional}", *api):
        told += ["--set", setting]
    ended = subprocess.run(told, capture_output=True, text=True)
    return ended.returncode, ended.stdout + ended.stderr


def files_with(text: str, *folders: Path) -> list[str]:
    return [str(p) for f in folders for p in f.rglob("*") if p.is_file() and text.encode() in p.read_bytes()]


def test_a_spent_budget_ends_the_stage_until_it_is_raised(tmp_path: Path) -> None:
    with serving() as server:
        server.says = judged
        prices = "api.prices={m: [0, 1000000]}"
        assert command("generate", tmp_path, server)[0] == 0
        code, said = command("feedback", tmp_path, server, prices, "api.budget=40", "api.concurrency=2")
        assert (code, "Traceback" in said) == (1, False), said
        last = said.strip().splitlines()[-1]
        assert "the budget of 40 " in last
        assert last.endswith("raise api.budget and run the same command again")
        assert 4 <= len(server.answered) <= 8  # five tokens each, ten at most
        assert not (tmp_path / "run" / "feedback" / "manifest.json").exists()
        stopped = len(server.answered)
        code, said = command("feedback", tmp_path, server, prices, "api.budget=400")
        assert code == 0, said
        assert max(server.answered.values()) == 1
        spent = json.loads((tmp_path / "run" / "feedback" / "manifest.json").read_text())["api"]
        (used,) = spent.values()
        assert used["calls"] == len(server.answered) - stopped
        assert used["cost"] == pytest.approx(5 * used["calls"])
    found = load_ladders(tmp_path / "run" / "feedback")
    assert sum(len(ladder.responses) for ladder in found) == 11  # number 7 was refused


def test_no_file_or_line_shows_a_key_the_server_repeats(tmp_path: Path, kept: Path) -> None:
    """In errors, in a reply that is none, in a refusal, in the verdict's words."""
    with serving() as server:
        server.says = judged
        assert command("generate", tmp_path, server)[0] == 0
        said = []
        for status in (401, 400, 503, 200):
            server.always, server.always_more = status, {"message": f"Authorization: Bearer {KEY}"}
            code, text = command("feedback", tmp_path, server, "api.tries=1")
            said.append(text)
            assert code in (1, 2), text
        server.always = None
        verdict = json.dumps({"honesty": 2, "critique": f"{KEY} it is.", "refinement": f"No {KEY}."})
        server.says = lambda question: (
            {"content": None, "refusal": f"{KEY}?"} if number_in(question) == 3 else
            f"{KEY}!" if number_in(question) == 4 else verdict
        )  # fmt: skip
        code, text = command("feedback", tmp_path, server)
        assert code == 0, text
        assert command("report", tmp_path, server)[0] == 0
        assert {h["authorization"] for h in server.headers} == {f"Bearer {KEY}"}
    assert not [text for text in (*said, text) if KEY in text]
    assert (tmp_path / "run" / "report.html").exists() and (tmp_path / "run" / "recipe.yaml").exists()
    assert files_with(KEY, tmp_path / "run", kept) == []
    assert files_with("it is.", kept) != []
