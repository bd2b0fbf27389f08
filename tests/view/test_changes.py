"""Changes by hand: kept, heeded by the check, taken back, and never lost to another tab or a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from seelevel.check.overrides import by_hand, read_overrides
from seelevel.errors import InputError
from seelevel.formats.parquet import write_shard
from seelevel.ladder import Ladder, Response
from seelevel.store import StageFolder
from seelevel.view.changes import Changes, Outdated
from seelevel.view.collection import Collection, overrides_of
from tests.view.shown import PORT, browser, opened, run_folder

pytestmark = pytest.mark.unit
ORIGIN = {"origin": f"http://127.0.0.1:{PORT}"}
RECIPE = "name: mine\ncheck: {encoder: world:clip}\n"


def ladder(name: str = "a", answers: int = 3) -> Ladder:
    kinds = [{"kind": "standard"}, *({"kind": "expert", "model": f"m{n}"} for n in range(1, answers))]
    responses = [
        Response([{"role": "assistant", "content": f"a cup number {n}"}], n, kind) for n, kind in enumerate(kinds)
    ]
    return Ladder(name, [], [{"role": "user", "content": "What is there?"}], responses)


def origins(one: Ladder) -> list[tuple[str, int]]:
    return [(str(r.origin.get("model", "standard")), r.level) for r in one.responses]


@pytest.fixture
def changes(tmp_path: Path) -> Changes:
    return Changes(tmp_path / "overrides.jsonl", "Ada")


def test_a_level_is_kept_with_who_and_when_and_shown(changes: Changes) -> None:
    one = ladder()
    changes.set(one, one.responses[2].id, changes.version("a"), level=0)
    (entry,) = changes.entries()
    assert {key: entry[key] for key in ("ladder", "response", "level", "who")} == {
        "ladder": "a",
        "response": "m2",
        "level": 0,
        "who": "Ada",
    }
    assert entry["when"].startswith("20")
    assert origins(changes.applied(one)) == [("standard", 0), ("m2", 0), ("m1", 1)]
    assert changes.ladders() == {"a"}
    changes.set(one, one.responses[2].id, changes.version("a"), level=None)
    assert changes.entries() == [] and changes.applied(one) == one


def test_a_ladder_says_the_command_that_makes_its_changes(tmp_path: Path) -> None:
    root = run_folder(tmp_path / "run")
    (root / "recipe.yaml").write_text(RECIPE)
    page = browser(opened(root, tmp_path / "kept")).get("/0/ladder?id=plain").text
    assert f"<code>seelevel run {root}/recipe.yaml --out {root}</code>" in page


def test_several_changes_of_one_answer_are_one_override(changes: Changes) -> None:
    one = ladder()
    for fields in ({"level": 1}, {"critique": "dull"}, {"drop": True}):
        changes.set(one, one.responses[2].id, changes.version("a"), **fields)  # type: ignore[arg-type]
    (entry,) = changes.entries()
    assert (entry["level"], entry["critique"], entry["drop"]) == (1, "dull", True)
    assert origins(changes.applied(one)) == [("standard", 0), ("m1", 1)]


def test_the_check_heeds_what_was_changed(tmp_path: Path, changes: Changes) -> None:
    source = StageFolder(tmp_path / "generate", "x")
    write_shard(source.shard(0), [ladder("a"), ladder("b")], tmp_path)
    one = ladder("a")
    changes.set(one, one.responses[2].id, changes.version("a"), level=0)
    changes.set(one, one.responses[1].id, changes.version("a"), drop=True)
    changes.set(ladder("b"), one.responses[0].id, changes.version("b"), text="Two cups.")
    found = read_overrides(changes.path, source.path, tmp_path)
    a, b = (by_hand(ladder(name), found[name]) for name in "ab")
    assert origins(a.ordered(a.responses)) == [("standard", 0), ("m2", 0)]
    assert b.reference == ["Two cups."]


def test_a_change_is_taken_back_step_by_step(changes: Changes) -> None:
    one, two = ladder("a"), ladder("b")
    changes.set(one, one.responses[1].id, changes.version("a"), level=2)
    changes.set(two, two.responses[1].id, changes.version("b"), drop=True)
    changes.set(one, one.responses[1].id, changes.version("a"), level=0)
    assert [changes.undo() for _ in range(2)] == ["a", "b"]
    assert [(entry["ladder"], entry["level"]) for entry in changes.entries()] == [("a", 2)]
    assert changes.undo() == "a" and changes.entries() == [] and changes.undo() is None


def test_a_page_that_is_outdated_changes_nothing(changes: Changes) -> None:
    one = ladder()
    version = changes.version("a")
    changes.set(one, one.responses[1].id, version, level=2)
    with pytest.raises(Outdated, match="changed in another place"):
        changes.set(one, one.responses[2].id, version, level=0)
    changes.set(ladder("b"), one.responses[1].id, version, level=0)  # another ladder is not outdated
    assert sorted(changes.ladders()) == ["a", "b"]


@pytest.mark.parametrize(
    ("place", "fields", "said"),
    [
        (1, {"text": "Another one."}, "only a standard response"),
        (1, {"level": 1000}, "cannot be made: level"),
        (None, {"level": 1}, "no such answer"),
    ],
)
def test_a_change_that_cannot_be_is_refused_and_nothing_written(
    changes: Changes, place: int | None, fields: dict[str, object], said: str
) -> None:
    one = ladder()
    response = "gone" if place is None else one.responses[place].id
    with pytest.raises(InputError, match=said):
        changes.set(one, response, changes.version("a"), **fields)
    assert not changes.path.exists() and changes.undo() is None


def test_the_last_answer_stays(changes: Changes) -> None:
    one = ladder(answers=2)
    changes.set(one, one.responses[0].id, changes.version("a"), drop=True)
    with pytest.raises(InputError, match="keep one"):
        changes.set(one, one.responses[1].id, changes.version("a"), drop=True)


def test_two_tabs_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "overrides.jsonl"
    tabs = [Changes(path, who) for who in ("Ada", "Bob")]

    def change(tab: Changes, names: range) -> None:
        for n in names:
            one = ladder(f"l{n}")
            tab.set(one, one.responses[1].id, tab.version(one.id), level=2)

    threads = [threading.Thread(target=change, args=(tab, range(n, 40, 2))) for n, tab in enumerate(tabs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tabs[0].ladders() == {f"l{n}" for n in range(40)}
    assert {entry["who"] for entry in tabs[0].entries()} == {"Ada", "Bob"}


WRITER = """
import sys
from pathlib import Path
from seelevel.view.changes import Changes
from tests.view.test_changes import ladder
changes = Changes(Path(sys.argv[1]), "Ada")
print("ready", flush=True)
for n in range(100_000):
    one = ladder(f"l{n}")
    changes.set(one, one.responses[1].id, changes.version(one.id), level=2)
"""


def test_a_kill_while_saving_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "overrides.jsonl"
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"}
    counts = []
    for pause in (0.05, 0.11, 0.2):
        command = [sys.executable, "-c", WRITER, str(path)]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(pause)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        lines = path.read_text().splitlines() if path.exists() else []
        assert [json.loads(line)["level"] for line in lines] == [2] * len(lines)
        counts.append(len(lines))
    changes = Changes(path, "Ada")
    one = ladder("last")
    changes.set(one, one.responses[1].id, changes.version("last"), level=0)  # the lock of the killed is free
    assert len(changes.entries()) == counts[-1] + 1


def test_a_runs_overrides_are_those_that_its_check_reads(tmp_path: Path) -> None:
    assert overrides_of(tmp_path)[1].endswith("has no readable recipe.yaml")
    (tmp_path / "recipe.yaml").write_text("check: null\n")
    assert "checks nothing" in overrides_of(tmp_path)[1]
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    assert overrides_of(tmp_path) == (tmp_path / "overrides.jsonl", "")
    (tmp_path / "recipe.yaml").write_text("check: {encoder: x, overrides: mine.jsonl}\n")
    assert overrides_of(tmp_path) == (Path("mine.jsonl"), "")


class TestInPages:
    @pytest.fixture
    def shown(self, tmp_path: Path) -> Collection:
        root = run_folder(tmp_path / "run")
        (root / "recipe.yaml").write_text(RECIPE)
        return opened(root, tmp_path / "kept")

    def post(self, client: TestClient, collection: Collection, name: str, answer: int, **fields: str) -> int:
        place = collection.place_of[name]
        response = collection.ladder(place).responses[answer].id
        sent = {"id": name, "response": response, "version": collection.changes.version(name), **fields}
        return client.post("/0/change", data=sent, headers=ORIGIN, follow_redirects=False).status_code

    def test_a_level_set_in_a_page_is_saved_and_shown(self, shown: Collection, tmp_path: Path) -> None:
        client = browser(shown)
        assert self.post(client, shown, "plain", 1, action="level", level="0") == 303
        page = client.get("/0/ladder?id=plain").text
        assert "changed by Ada" in page and page.count("<b>tied</b>") == 2
        assert (tmp_path / "run" / "overrides.jsonl").read_text().count("\n") == 1
        assert "1 of 4 ladders" in client.get("/0?changed=yes").text
        assert self.post(client, shown, "plain", 1, action="undo") == 303
        assert "changed by Ada" not in client.get("/0/ladder?id=plain").text

    def test_an_answer_is_left_out_and_put_back(self, shown: Collection) -> None:
        client = browser(shown)
        assert self.post(client, shown, "plain", 1, action="drop") == 303
        page = client.get("/0/ladder?id=plain").text
        assert 'class="out"' in page and "Put back" in page and "left out by Ada" in page
        assert self.post(client, shown, "plain", 1, action="put back") == 303
        assert 'class="out"' not in client.get("/0/ladder?id=plain").text

    def test_a_critique_is_text_and_never_runs(self, shown: Collection) -> None:
        client = browser(shown)
        assert self.post(client, shown, "plain", 0, action="critique", critique="<script>alert(1)</script>") == 303
        page = client.get("/0/ladder?id=plain").text
        assert "<script>alert" not in page and page.count("&lt;script&gt;alert(1)") == 2

    @pytest.mark.parametrize(
        "fields",
        [
            {"action": "level", "level": "-1"},
            {"action": "level", "level": "1" * 9},
            {"action": "level"},
            {"action": "text", "text": "A model's words."},
            {"action": "delete"},
            {},
            {"action": "drop", "response": "another"},
            {"action": "drop", "id": "another"},
        ],
    )
    def test_a_change_that_cannot_be_is_told(self, shown: Collection, fields: dict[str, str]) -> None:
        client = browser(shown)
        assert self.post(client, shown, "plain", 1, **fields) == 400
        assert shown.changes.entries() == []

    def test_a_folder_that_may_only_be_read_is_told_and_what_was_typed_kept(
        self, shown: Collection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused(path: Path, text: str) -> None:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr("seelevel.view.changes.write_atomically", refused)
        place = shown.place_of["plain"]
        sent = {"id": "plain", "response": shown.ladder(place).responses[1].id, "action": "critique"}
        sent |= {"critique": "too dull", "version": shown.changes.version("plain")}
        answer = browser(shown).post("/0/change", data=sent, headers=ORIGIN)
        assert answer.status_code == 500 and "too dull</textarea>" in answer.text
        assert "overrides.before.jsonl cannot be used (Permission denied)" in answer.text

    def test_another_tabs_change_in_between_is_told(self, shown: Collection) -> None:
        client = browser(shown)
        assert self.post(client, shown, "plain", 1, action="drop", version="old") == 409

    def test_changes_need_a_page_of_this_server_and_a_size(self, shown: Collection) -> None:
        client = browser(shown)
        assert client.post("/0/change", data={"action": "undo"}).status_code == 403
        endless = client.post("/0/change", content=(b"a=b&" for _ in range(9)), headers=ORIGIN)
        assert endless.status_code == 413
        assert client.post("/0/change", content=b"a" * (1 << 21), headers=ORIGIN).status_code == 413
        assert client.get("/0/change").status_code == 405
