"""Pages about runs: what state they are in, how far, and what they say about themselves."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from seelevel.errors import InputError
from seelevel.formats.parquet import write_shard
from seelevel.json_text import dumps
from seelevel.progress import Progress, say
from seelevel.run_log import logged
from seelevel.store import StageFolder, lock_folder, write_atomically
from seelevel.view import serving
from seelevel.view.collection import open_collection, runs_in
from seelevel.view.door import Door
from seelevel.view.runs import continuing
from seelevel.view.server import application
from seelevel.view.serving import Opened
from seelevel.view.stages import look
from tests.view.shown import PORT, TOKEN, browser, ladders, opened, run_folder

pytestmark = pytest.mark.unit
RECIPE = """name: small
seed: 3
generate: {method: samples}
check: {encoder: world:clip}
align: {model: world:s}
evaluate: {data: world:dev}
"""


def small_run(root: Path) -> Path:
    """A run with a finished `data` of four ladders, a finished `generate`, and half a `check`."""
    write_atomically(root / "recipe.yaml", RECIPE)
    for name in ("data", "generate"):
        folder = StageFolder(root / name, name)
        folder.begin()
        for n in range(2):
            write_shard(folder.shard(n), ladders(root)[2 * n : 2 * n + 2], root)
        folder.finish(seconds=4.0, ladders=4, peak_bytes=2**30)
    begun = StageFolder(root / "check", "check")
    begun.begin()
    write_shard(begun.shard(0), ladders(root)[:2], root)
    return root


def pages(root: Path, tmp_path: Path) -> TestClient:
    return browser(opened(root, tmp_path / "kept"))


def states(root: Path) -> dict[str, str]:
    return {row.name: row.state for row in look(root).stages}


def test_a_stage_that_was_begun_is_at_work_only_while_the_run_holds_its_lock(tmp_path: Path) -> None:
    root = small_run(tmp_path / "run")
    waiting = {"data": "done", "generate": "done", "align": "not begun", "evaluate": "not begun"}
    assert states(root) == waiting | {"check": "stopped"}
    with lock_folder(root):
        assert states(root) == waiting | {"check": "at work"}
        assert look(root).state == "at work"
    assert look(root).state == "stopped"


def test_ladders_are_counted_against_those_of_the_stage_before(tmp_path: Path) -> None:
    rows = {row.name: row for row in look(small_run(tmp_path / "run")).stages}
    assert (rows["generate"].done, rows["check"].done, rows["check"].total) == (4, 2, 4)


def test_steps_are_counted_from_the_log_and_planned_ones_from_its_progress(tmp_path: Path) -> None:
    root = small_run(tmp_path / "run")
    StageFolder(root / "check", "check").finish(seconds=1.0)
    StageFolder(root / "align", "align").begin()
    write_atomically(root / "align" / "log.jsonl", "".join(dumps({"step": n, "loss": 1 / n}) + "\n" for n in (1, 2, 3)))
    with lock_folder(root), logged(root, "run"), Progress("align", total=17, unit="steps"):
        row = next(row for row in look(root).stages if row.name == "align")
        page = pages(root, tmp_path).get("/0/run").text
    assert (row.done, row.total, row.unit) == (3, 17, "steps")
    assert 'data-again="' in page and '"curve-loss' in page and "The training is not finished." in page


def test_the_page_says_why_a_run_stopped_and_how_to_go_on(tmp_path: Path) -> None:
    root = small_run(tmp_path / "run")
    with pytest.raises(InputError), logged(root, "run"):
        raise InputError("the judge <b>refuses</b> the key")
    page = pages(root, tmp_path).get("/0/run").text
    assert "the judge &lt;b&gt;refuses&lt;/b&gt; the key" in page
    assert f"seelevel run {root}/recipe.yaml --out {root}" in page and "data-again" not in page
    with (root / "log.txt").open("a") as file:  # as after a kill
        file.write("2026-11-28T12:00:00+00:00 == run\n")
    assert "killed" in look(root).why_stopped


def test_a_gallery_says_whether_its_run_is_at_work_or_was_stopped(tmp_path: Path) -> None:
    root = small_run(tmp_path / "run")
    client = pages(root, tmp_path)
    assert "2 of 2 ladders; the stage check is not finished" in client.get("/0").text
    with lock_folder(root):
        assert "2 of 2 ladders; the run is still at work" in client.get("/0").text


def test_a_page_of_a_run_at_work_names_no_command(tmp_path: Path) -> None:
    root = small_run(tmp_path / "run")
    with lock_folder(root), logged(root, "run"):
        say("check: 2/4")
        page = pages(root, tmp_path).get("/0/run").text
    assert "To continue it" not in page and "check: 2/4" in page


def test_the_command_is_short_below_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert continuing(tmp_path / "a b") == "seelevel run 'a b/recipe.yaml' --out 'a b'"


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = pages(small_run(tmp_path / "run"), tmp_path)

    def refused(root: Path) -> None:
        raise PermissionError(13, "Permission denied", str(root / "metrics.json"))

    monkeypatch.setattr("seelevel.view.runs.look", refused)
    answer = client.get("/0/run")
    assert answer.status_code == 500 and "metrics.json cannot be used (Permission denied)" in answer.text


def test_digests_are_left_out_of_what_a_stage_did(tmp_path: Path) -> None:
    root = small_run(tmp_path / "run")
    digests = {"settings": "8a32fd00c0ffee11", "aligned": "341f8dc3f07da472"}
    StageFolder(root / "check", "check").finish(seconds=1.0, reordered=3, **digests)
    page = pages(root, tmp_path).get("/0/run").text
    assert "reordered 3" in page and not any(text in page for text in digests.values())


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "0 s"), (59, "59 s"), (2884, "48 min"), (7300, "2 h"), (100000, "27 h"), (200000, "2 days")],
)
def test_the_last_change_is_told_in_the_largest_unit(tmp_path: Path, seconds: int, words: str) -> None:
    now = look(small_run(tmp_path / "run"))
    assert now.ago(now.changed + timedelta(seconds=seconds)) == f"{words} ago"


def test_a_run_of_an_older_version_is_shown_without_its_log(tmp_path: Path) -> None:
    client = pages(small_run(tmp_path / "run"), tmp_path)
    assert "no log.txt" in client.get("/0/run").text
    assert client.get("/0/log").status_code == 404


def test_the_whole_log_is_text(tmp_path: Path) -> None:
    root = small_run(tmp_path / "run")
    with logged(root, "run"):
        say("<script>")
    answer = pages(root, tmp_path).get("/0/log")
    assert answer.headers["content-type"].startswith("text/plain") and "<script>" in answer.text


@pytest.mark.parametrize("trap", ["link", "folder"])
def test_a_log_that_is_not_a_file_is_not_read(tmp_path: Path, trap: str) -> None:
    root = small_run(tmp_path / "run")
    if trap == "folder":
        (root / "log.txt").mkdir()
    else:
        (root / "log.txt").symlink_to("/dev/zero")
    client = pages(root, tmp_path)
    assert client.get("/0/run").status_code == 200
    assert client.get("/0/log").status_code == 404


def test_all_runs_are_listed_also_one_that_cannot_be_read(tmp_path: Path) -> None:
    good, bad = small_run(tmp_path / "good"), small_run(tmp_path / "bad")
    (bad / "metrics.json").write_text("{")
    client = browser(opened(good, tmp_path / "1"), opened(bad, tmp_path / "2"), opened(good / "check", tmp_path / "3"))
    page = client.get("/runs").text
    assert 'href="/0/run">good' in page and "metrics.json is damaged" in page and "/2/run" not in page
    assert client.get("/1/run").status_code == 500 and client.get("/2/run").status_code == 404
    assert client.get("/9/run").status_code == 404
    home = client.get("/").text
    assert "/0/run" in home and "/2/run" not in home


def test_pages_of_ladders_lead_to_the_run_and_back(tmp_path: Path) -> None:
    client = pages(small_run(tmp_path / "run"), tmp_path)
    assert 'href="/0/run"' in client.get("/0").text
    assert 'href="/0/run"' in client.get("/0/ladder?id=plain").text
    assert 'href="/0"' in client.get("/0/run").text


def test_files_alone_have_no_list_of_runs(tmp_path: Path) -> None:
    client = browser(opened(run_folder(tmp_path / "run") / "check", tmp_path / "kept"))
    assert 'href="/runs"' not in client.get("/0").text
    assert "None of the open folders is a run" in client.get("/runs").text


def test_a_folder_of_runs_is_all_of_them(tmp_path: Path) -> None:
    runs = [small_run(tmp_path / "runs" / name) for name in ("b", "a")]
    (tmp_path / "runs" / "notes").mkdir()
    assert runs_in(tmp_path / "runs") == sorted(runs)
    assert runs_in(runs[0]) == [runs[0]] and runs_in(tmp_path / "runs" / "notes") == [tmp_path / "runs" / "notes"]
    write_shard(tmp_path / "runs" / "shard-00000.parquet", ladders(tmp_path)[:1])
    with pytest.raises(InputError, match="name the ones to look at"):
        runs_in(tmp_path / "runs")


def test_a_run_without_ladders_is_opened_and_shows_those_that_come(tmp_path: Path) -> None:
    write_atomically(tmp_path / "run" / "recipe.yaml", RECIPE)
    collection = opened(tmp_path / "run", tmp_path / "kept")
    client = browser(collection)
    assert len(collection) == 0 and "not begun" in client.get("/0/run").text
    small_run(tmp_path / "run")
    collection.refresh(patience=30)
    assert len(collection) == 2 and collection.folder.name == "check"


def test_opening_a_run_imports_no_scorer_that_its_recipe_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = small_run(tmp_path / "run")
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    figure = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9}
    metrics = {"settings": {"benchmarks": ["evil:run"]}, "base": {"evil": figure}, "aligned": {"evil": figure}}
    write_atomically(root / "metrics.json", dumps({**metrics, "differences": {}}))
    page = pages(root, tmp_path).get("/0/run")
    assert page.status_code == 200 and "/compare?side=0:base&amp;side=0:aligned" in page.text


def test_a_run_that_cannot_be_opened_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = tmp_path / "runs"
    small_run(runs / "b")
    kept = Opened([runs], None, tmp_path / "kept", "Ada")
    for name in "acd":
        small_run(runs / name)

    def refusing(path: Path, *given: Any) -> Any:
        if path.name in broken:
            raise InputError("its files are gone")
        return open_collection(path, *given)

    monkeypatch.setattr(serving, "open_collection", refusing)
    broken = {"a"}
    kept.add_new_runs()
    assert [name for name, _ in kept.runs] == ["b", "c", "d"]
    broken.clear()
    kept.add_new_runs()
    assert [name for name, _ in kept.runs] == ["b", "c", "d", "a"]


def test_runs_that_begin_later_are_there_too(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    small_run(runs / "b")
    kept = Opened([runs], None, tmp_path / "kept", "Ada")
    door = Door(application(kept.collections, add_new_runs=kept.add_new_runs), TOKEN, PORT)
    client = TestClient(door, base_url=f"http://127.0.0.1:{PORT}")
    assert client.get("/", params={"token": TOKEN}).url.path == "/0"
    (runs / "notes").mkdir()
    small_run(runs / "a")
    for address, link in (("/", "/1"), ("/runs", "/1/run")):
        page = client.get(address).text
        assert link in page and "notes" not in page, address
    assert client.get("/1/run").status_code == 200
    assert [name for name, _ in kept.runs] == ["b", "a"]
    write_shard(runs / "shard-00000.parquet", ladders(tmp_path)[:1])  # now it cannot be opened, but is open
    assert client.get("/runs").text.count("/run") >= 2
