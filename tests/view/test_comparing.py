"""Models of opened runs compared in the browser: figures, items side by side, one item over the models."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from seelevel.compare.figures import compare
from seelevel.report.figures import say_change
from seelevel.scorers.refinement import CONVERSATIONS
from seelevel.view import compared
from seelevel.view.collection import open_collection
from seelevel.view.compared import Runs
from tests.formats.made import picture
from tests.test_compare import BETTER, CAPTIONS, caption, dialogue, make, yes_no
from tests.view.shown import browser, ladders, opened, run_folder

pytestmark = pytest.mark.unit
EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>\u202e</style>{{ 7919*7907 }}&?#/..\n\x00"
Files = dict[str, list[dict[str, Any]]]


def client_of(*roots: Path) -> TestClient:
    return browser(*(open_collection(root, root.parent / "kept", "Ada") for root in roots))


def with_pictures(root: Path) -> Path:
    for name in "abc":
        picture(root / "images", f"{name}.png", 9)
    return root


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compared, "PATIENCE", 60.0)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return with_pictures(make(tmp_path / "run", {"base": {"chair": CAPTIONS}, "aligned": {"chair": BETTER}}))


@pytest.fixture
def client(run: Path) -> TestClient:
    return client_of(run)


def plain(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def ids(page: str) -> list[str]:
    """The items of a list, in its order."""
    return re.findall(r'<h2 class="small"><a[^>]*>([^<]*)</a>', page)


def test_a_run_with_an_evaluation_alone_is_opened_and_compared(client: TestClient) -> None:
    page = client.get("/compare").text
    assert 'value="0:base" checked' in page and 'value="0:aligned" checked' in page
    assert "0 of 0 ladders" in client.get("/0").text


def test_the_figures_are_those_of_the_command(run: Path, client: TestClient) -> None:
    page = plain(client.get("/compare").text)
    chair = compare([f"{run}:base", str(run)]).record()["benchmarks"]["chair"]
    for name in ("chair_i", "chair_s", "chair_recall"):
        change = chair["differences"][name]["B"]
        low, high = (say_change(change[end], "rate") for end in ("low", "high"))
        assert f"{say_change(change['value'], 'rate')} no clear change {low} to {high}" in page, name
    assert "chair 3 items" in page and "Words per answer" in page


def test_verdicts_left_out_items_and_mcnemar_are_shown(tmp_path: Path) -> None:
    names = [str(n) for n in range(40)]
    base = [yes_no(n, "yes" if int(n) % 8 else "no") for n in names]
    aligned = [yes_no(n, "yes") for n in names[1:]]
    worse, better = ([caption(n, "a cup", 2, wrong if int(n) % 4 else 0, 1) for n in names] for wrong in (2, 1))
    sides = {"base": {"pope": base, "objhal": CAPTIONS, "chair": worse}, "aligned": {"pope": aligned, "chair": better}}
    make(tmp_path / "run", sides)
    page = plain(client_of(tmp_path / "run").get("/compare").text)
    assert "1 items are left out, which not all models have: B lacks 1." in page
    assert "−37.5 ✓ better" in page and "A at chance" in page
    assert "McNemar's exact test" in page and re.search(r"B random 39 0 4 0\.12", page)
    assert "objhal: left out; no answers in B" in page


def test_of_runs_of_other_questions_the_first_is_compared(tmp_path: Path) -> None:
    roots = []
    for name in ("one", "two"):
        rows = [{**row, "question": f"{name}?"} for row in CAPTIONS]
        roots.append(make(tmp_path / name, {side: {"chair": rows} for side in ("base", "aligned")}))
    client = client_of(*roots)
    for path in ("/compare", "/compare/items"):
        answer = client.get(path)
        assert answer.status_code == 200 and "compare runs of the same questions" not in answer.text
    assert re.findall(r'value="([^"]*)" checked', client.get("/compare").text) == ["0:base", "0:aligned"]


def test_models_are_chosen_and_the_choice_stands_in_every_link(tmp_path: Path) -> None:
    sides: dict[str, Files] = {
        name: {"chair": CAPTIONS} for name in ("control", "aligned", "step-100", "base", "step-20", "round-1")
    }
    first, second = (
        make(tmp_path / "one", sides),
        make(tmp_path / "two", {"base": {"chair": CAPTIONS}, "aligned": {"chair": BETTER}}),
    )
    client = client_of(first, second)
    page = client.get("/compare").text
    order = ["base", "round-1", "step-20", "step-100", "control", "aligned"]
    assert re.findall(r'name="side" value="0:([^"]*)"', page) == order
    assert re.findall(r'value="([^"]*)" checked', page) == ["0:aligned", "1:aligned"]
    assert "A</b> one: aligned" in page and "B</b> two: aligned" in page
    chosen = client.get("/compare?side=0:base&side=0:control&side=1:base&first=0:control").text
    link = "side=0%3Acontrol&amp;side=0%3Abase&amp;side=1%3Abase"
    assert f'href="/compare/items?{link}&amp;benchmark=chair"' in chosen
    assert "A</b> one: control" in chosen and "5 models of one in their order" in chosen


def test_items_are_sorted_filtered_and_searched(client: TestClient) -> None:
    def listed(**query: str) -> list[str]:
        return ids(client.get("/compare/items", params={"benchmark": "chair", **query}).text)

    # invented objects: a 1 → 0, b 1 → 1, c 0 → 0; recalled: c 1 → 0; words: a 4 → 2, b 2 → 2, c 1 → 0
    assert listed() == ["a", "b", "c"]
    assert listed(order="worse") == ["b", "c", "a"]
    assert listed(figure="chair_recall") == ["a", "b", "c"]
    assert listed(figure="chair_recall", order="worse") == ["c", "a", "b"]
    assert listed(figure="chair_recall", change="worse") == ["c"]
    assert listed(change="better") == ["a"] and listed(change="same") == ["b", "c"]
    assert listed(change="answer", order="file") == ["a", "c"]
    assert listed(words="THREE") == ["a"] and listed(words="describe") == ["a", "b", "c"]
    assert listed(words="zebra") == []
    # a caption without a mention has no CHAIR_i
    assert listed(figure="chair_i", change="unscored") == ["c"]
    page = plain(client.get("/compare/items?benchmark=chair").text)
    assert "1 better , 0 worse , 2 unchanged" in page
    assert "In the picture: thing 0, thing 1" in page and "names 2, 1 invented; finds 1 of 4" in page
    assert "more counts as better here" in client.get("/compare/items?benchmark=chair&figure=words").text


def test_unknown_filters_count_as_none_and_pages_have_twenty_items(tmp_path: Path) -> None:
    items = [caption(f"n{n:02}", "one", 1, 0, 1) for n in range(45)]
    client = client_of(make(tmp_path / "run", {"base": {"chair": items}, "aligned": {"chair": items}}))
    page = client.get("/compare/items?order=zebra&change=zebra&figure=zebra&page=2&benchmark=chair").text
    assert ids(page) == [f"n{n}" for n in range(20, 40)] and "Page 2 of 3" in page
    assert 'rel="prev"' in page and 'rel="next"' in page
    assert "Page 3 of 3" in client.get("/compare/items?page=99").text
    assert "Page 1 of 3" in client.get("/compare/items?page=" + "9" * 20).text


def test_an_item_shows_each_model_on_a_slider_and_by_links(tmp_path: Path) -> None:
    middle = [{**item, "answer": f"middle {item['id']}"} for item in CAPTIONS]
    root = make(
        tmp_path / "run", {"base": {"chair": CAPTIONS}, "step-100": {"chair": middle}, "aligned": {"chair": BETTER}}
    )
    client = client_of(with_pictures(root))
    two = client.get("/compare/item?benchmark=chair&id=a").text
    whole = "side=0%3Abase&amp;side=0%3Astep-100&amp;side=0%3Aaligned"
    assert f'href="/compare/item?{whole}&amp;benchmark=chair&amp;id=a">3 models of this run in their order' in two
    models = "side=0:base&side=0:step-100&side=0:aligned"
    client.get(f"/compare?{models}")  # it waits for the figures
    address = f"/compare/item?{models}&benchmark=chair&id=a"
    page = client.get(address + "&at=1").text
    assert '<input type="range" min="0" max="2" step="1" value="1"' in page
    assert 'aria-valuetext="B step-100"' in page and page.count("hidden><h2>") == 2
    assert "CHAIRi over the models" in plain(page) and page.count("<img") == 1
    assert ">step-100</text>" in page and "n, model" in page
    stops = re.findall(r'<li><a href="([^"]*)"(?: aria-current="true")?>[A-C] ', page)
    assert len(stops) == 3
    last = client.get(stops[2].replace("&amp;", "&")).text
    assert re.search(r'<section class="stop aligned"[^>]*(?<!hidden)><h2>C aligned</h2>', last)
    columns = client.get(address + "&show=all").text
    assert columns.count("<li tabindex") == 3 and "middle a" in columns and "CHAIRi 50.0%" in plain(columns)
    assert '<a rel="next" href="/compare/item?' in page and 'rel="prev"' not in page


def test_dialogues_show_every_round_and_unscored_answers_say_so(tmp_path: Path) -> None:
    base = [dialogue("d", ["A cup.", "Yes."], 2.0), dialogue("e", ["A cup.", "Yes."], 2.0)]
    unrated = {**dialogue("e", ["", ""], 2.0), "ratings": None, "mean": None, "sum": 0, "note": "cut off"}
    root = make(
        tmp_path / "run",
        {"base": {"mrhal": base}, "aligned": {"mrhal": [dialogue("d", ["A mug.", "No."], 5.0), unrated]}},
    )
    client = client_of(root)
    page = plain(client.get("/compare/items?benchmark=mrhal").text)
    assert "Is there a bus?" in page and "A mug." in page and "Standard answer: No." in page and "rated 5 of 6" in page
    assert "(cut off)" in page and "not scored" in page
    assert "Is there a bus?" in client.get("/compare/item?benchmark=mrhal&id=d").text


def test_pictures_of_compared_items_are_served_and_nothing_else(client: TestClient, run: Path) -> None:
    good = "/compare/picture?benchmark=chair&id=a&size=320"
    answer = client.get(good)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/webp")
    source = re.search(r'<img src="([^"]*)"', client.get("/compare/items?benchmark=chair").text)
    assert source and client.get(source[1].replace("&amp;", "&")).status_code == 200
    for query in (
        *("id=a&size=321", "id=a", "id=zebra&size=320", "id=../../a&size=320", "id=a&nth=1&size=320"),
        *("id=a&size=320&benchmark=../chair", "id=a&size=320&side=0:../base&side=0:base", "id=images/a.png&size=320"),
    ):
        given = query if "benchmark=" in query else f"benchmark=chair&{query}"
        assert client.get(f"/compare/picture?{given}").status_code == 404, query
    (run / "images" / "a.png").unlink()
    assert client_of(run).get(good).status_code == 404


def test_texts_and_ids_with_any_characters_are_shown_and_never_run(tmp_path: Path) -> None:
    names = [EVIL, EVIL, "\ud800", "a b+c%20", "", "日本"]
    items = [{**caption("x", EVIL, 1, 1, 0), "id": name, "question": EVIL, "hallucinated": [EVIL]} for name in names]
    client = client_of(with_pictures(make(tmp_path / "run", {"base": {"chair": items}, "aligned": {"chair": items}})))
    page = client.get("/compare/items?benchmark=chair").text
    links = re.findall(r'<h2 class="small"><a href="([^"]*)"', page)
    assert len(links) == len(set(links)) == len(names)
    pages = [page, client.get("/compare").text]
    for link in links:
        answer = client.get(link.replace("&amp;", "&"))
        assert answer.status_code == 200, link
        pages.append(answer.text)
    pages.append(client.get("/compare/items", params={"words": EVIL, "benchmark": EVIL, "side": EVIL}).text)
    pages.append(client.get("/compare/items", params={"words": EVIL, "figure": EVIL}).text)
    for page in pages:
        assert "alert(1)</script" not in page and "<img src=x" not in page and "\u202e" not in page
        assert not re.search(r"<script(?![^>]*\bsrc=)|<[^>]*\sstyle=|<style", page)


def test_errors_are_one_line_and_go_with_their_cause(tmp_path: Path) -> None:
    root = run_folder(tmp_path / "run")
    client = browser(opened(root, tmp_path / "kept"))
    assert "evaluate is not run; run `seelevel evaluate`" in plain(client.get("/compare").text)
    assert client.get("/compare/items?benchmark=chair").status_code == 404
    make(root, {"base": {"chair": CAPTIONS}, "aligned": {"chair": BETTER}})
    assert "chair 3 items" in plain(client.get("/compare").text)
    file = root / "evaluate" / "aligned" / "chair.jsonl"
    good = file.read_text()
    for bad, told in (
        (good.replace('"id": "b"', "zebra", 1), "line 2 is not JSON"),
        (good.replace("Describe", "Count"), "compare runs of the same questions"),
        ("5\n" + good, "a record without id or answer"),
        (json.dumps({"id": "a", "answer": "one"}) + "\n", "nothing to compare|compare runs of the same questions"),
    ):
        file.write_text(bad)
        page = client.get("/compare")
        assert page.status_code == 200 and re.search(told, plain(page.text)), told
    file.write_bytes(b"\xff\xfe\n" + good.encode())
    assert "is not UTF-8 text" in client.get("/compare").text
    file.write_text(good)
    assert "chair 3 items" in plain(client.get("/compare").text)


def test_records_of_another_version_are_told(tmp_path: Path) -> None:
    old = [{key: value for key, value in item.items() if key != "hallucinated"} for item in CAPTIONS]
    client = client_of(make(tmp_path / "run", {"base": {"chair": old}, "aligned": {"chair": old}}))
    page = client.get("/compare/items?benchmark=chair")
    assert page.status_code == 404 and "of another version" in page.text


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("side=0:base", "a comparison needs two models"),
        ("side=0:base&side=0:zebra", "no model '0:zebra'"),
        ("side=9:base&side=0:base", "no model '9:base'"),
        ("side=0:../../etc&side=0:base", "no model"),
    ],
)
def test_a_choice_that_cannot_be_is_told_beside_the_form(client: TestClient, query: str, told: str) -> None:
    page = client.get(f"/compare?{query}")
    assert page.status_code == 200 and told in page.text.replace("&#39;", "'") and '<form class="choose"' in page.text


def test_a_comparison_is_made_once_and_again_after_a_change(
    run: Path, monkeypatch: pytest.MonkeyPatch, client: TestClient
) -> None:
    made: list[int] = []
    really: Callable[..., Any] = Runs._make

    def counting(self: Runs, choice: Any) -> Any:
        made.append(1)
        return really(self, choice)

    monkeypatch.setattr(Runs, "_make", counting)
    for path in ("/compare", "/compare/items?benchmark=chair", "/compare/item?benchmark=chair&id=a", "/compare"):
        assert client.get(path).status_code == 200
    assert len(made) == 1
    file = run / "evaluate" / "aligned" / "chair.jsonl"
    file.write_text(file.read_text().replace("one two", "one new"))
    os.utime(file, ns=(1, 1))
    assert "one new" in client.get("/compare/items?benchmark=chair").text
    assert len(made) == 2


def test_without_a_run_there_is_no_link_and_a_line_says_why(tmp_path: Path) -> None:
    run_folder(tmp_path / "run", ladders(tmp_path))
    client = browser(opened(tmp_path / "run" / "check", tmp_path / "kept"))
    assert 'href="/compare"' not in client.get("/0").text
    assert "nothing is evaluated" in client.get("/compare").text


def test_answers_are_shown_before_the_figures_are_there(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    go, really = threading.Event(), compared.measured

    def late(*args: Any) -> Any:
        assert go.wait(60)
        return really(*args)

    monkeypatch.setattr(compared, "measured", late)
    monkeypatch.setattr(compared, "PATIENCE", 0.0)
    page = client.get("/compare").text
    assert "figures are being computed" in page and 'http-equiv="refresh"' in page
    assert ids(client.get("/compare/items?benchmark=chair").text) == ["a", "b", "c"]
    assert client.get("/compare/item?benchmark=chair&id=a").status_code == 200
    go.set()
    monkeypatch.setattr(compared, "PATIENCE", 60.0)
    page = client.get("/compare").text
    assert "chair 3 items" in plain(page) and 'http-equiv="refresh"' not in page


def test_a_conversation_with_itself_lists_its_qualities_once() -> None:
    item = {
        "question": "What is there?",
        "feedback_answers": ["A cup.", "A mug."],
        "feedback": [2.0, 3.0],
        "again": [2.0, 2.5],
        "criteria": {},
    }
    last = CONVERSATIONS.rounds(item, item)[-1].expected
    assert last == "Quality of answers 1 to 2: 2.0 · 3.0, with ‘try again’ 2.0 · 2.5"
    assert "aligned 2.0 · 3.0" in CONVERSATIONS.rounds(item, dict(item))[-1].expected


def test_of_many_snapshots_evenly_many_are_offered_together(tmp_path: Path) -> None:
    sides: dict[str, Files] = {
        name: {"chair": CAPTIONS} for name in ("base", *(f"step-{n}" for n in range(1, 41)), "aligned")
    }
    page = client_of(make(tmp_path / "run", sides)).get("/compare").text
    link = re.search(r'href="([^"]*)">26 models of run in their order', page)
    assert link and "side=0%3Abase" in link[1] and link[1].endswith("side=0%3Aaligned")
    assert link[1].count("side=") == len(set(re.findall("side=[^&]*", link[1]))) == 26
