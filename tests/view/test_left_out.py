"""Answers that an earlier check has left out: shown, put back, and there again after the next check."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from seelevel.formats.parquet import read_ladders, write_shard
from seelevel.ladder import Ladder, Response
from seelevel.notes import CheckNote
from seelevel.pipeline import Run
from seelevel.recipe import load_recipe
from seelevel.view.collection import Collection
from tests.view.shown import browser, opened
from tests.view.test_changes import ORIGIN

pytestmark = pytest.mark.unit


class AsGiven:
    """A checker that leaves the levels as they are."""

    @classmethod
    def from_settings(cls, *_: Any) -> AsGiven:
        return cls()

    def __call__(self, ladders: Iterable[Ladder]) -> Iterator[Ladder]:
        for ladder in ladders:
            yield ladder.ordered(ladder.responses, CheckNote("as given", tuple(ladder.levels)))


def given(name: str, *models: str) -> Ladder:
    responses = [
        Response([{"role": "assistant", "content": f"a cup number {n}"}], n, {"kind": "expert", "model": model})
        for n, model in enumerate(models)
    ]
    return Ladder(name, [], [{"role": "user", "content": "What is there?"}], responses)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run whose check has ended: `a` has answers of three models, `b` two of one model and one of another."""
    write_shard(tmp_path / "given.parquet", [given("a", "m0", "m1", "m2"), given("b", "m0", "m0", "m1")])
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        f"name: mine\ndata: {{prompts: {tmp_path / 'given.parquet'}}}\ngenerate: {{method: given}}\n"
        "check: {checker: 'tests.view.test_left_out:AsGiven'}\nalign: {model: 'world:s'}\n"
        "evaluate: {data: 'world:dev', limit: 2}\n"
    )
    run = Run(load_recipe(str(recipe), []), tmp_path / "run")
    with run._lock():
        run.generate()
        run.check()
    return run


def checked(run: Run) -> dict[str, list[str]]:
    """The models of every ladder's answers after another check."""
    with run._lock():
        run.generate()
        run.check()
    ladders = read_ladders(run.out / "check", run.out)
    return {ladder.id: [r.origin["model"] for r in ladder.responses] for ladder in ladders}


def post(collection: Collection, name: str, response: Response, **fields: str) -> int:
    sent = {"id": name, "response": response.id, "version": collection.changes.version(name), **fields}
    return browser(collection).post("/0/change", data=sent, headers=ORIGIN, follow_redirects=False).status_code


def test_an_answer_left_out_by_an_earlier_run_comes_back(run: Run, tmp_path: Path) -> None:
    shown = opened(run.out, tmp_path / "kept")
    dropped = shown.ladder(shown.place_of["a"]).responses[1]
    assert post(shown, "a", dropped, action="drop") == 303
    assert checked(run)["a"] == ["m0", "m2"]
    shown = opened(run.out, tmp_path / "kept")
    page = browser(shown).get("/0/ladder?id=a").text
    assert page.count('class="out"') == 1 and "a cup number 1" in page and "left out by Ada, 20" in page
    assert "Put back" in page and "Put back" not in browser(shown).get("/0/ladder?id=b").text
    assert post(shown, "a", dropped, action="put back") == 303
    page = browser(shown).get("/0/ladder?id=a").text
    assert "put back; it returns with the next run" in page and "Put back" not in page
    assert checked(run)["a"] == ["m0", "m1", "m2"]
    assert "next run</p>" not in browser(opened(run.out, tmp_path / "kept")).get("/0/ladder?id=a").text


def test_an_answer_put_back_by_mistake_is_left_out_again(run: Run, tmp_path: Path) -> None:
    shown = opened(run.out, tmp_path / "kept")
    dropped = shown.ladder(shown.place_of["a"]).responses[1]
    post(shown, "a", dropped, action="drop")
    checked(run)
    shown = opened(run.out, tmp_path / "kept")
    assert post(shown, "a", dropped, action="put back") == post(shown, "a", dropped, action="drop") == 303
    assert checked(run)["a"] == ["m0", "m2"]


def test_another_answer_of_the_same_model_is_still_named_so_that_the_check_knows_it(run: Run, tmp_path: Path) -> None:
    shown = opened(run.out, tmp_path / "kept")
    first, second, _ = shown.ladder(shown.place_of["b"]).responses
    assert post(shown, "b", first, action="drop") == 303
    assert checked(run)["b"] == ["m0", "m1"]
    shown = opened(run.out, tmp_path / "kept")
    assert post(shown, "b", second, action="level", level="5") == 303  # among those that are left, m0 is one answer
    assert checked(run)["b"] == ["m1", "m0"]


def test_a_run_without_its_generated_ladders_shows_those_that_are_left(run: Run, tmp_path: Path) -> None:
    shown = opened(run.out, tmp_path / "kept")
    post(shown, "a", shown.ladder(shown.place_of["a"]).responses[1], action="drop")
    checked(run)
    for shard in (run.out / "generate").glob("*.parquet"):
        shard.unlink()
    page = browser(opened(run.out, tmp_path / "kept")).get("/0/ladder?id=a").text
    assert page.count('class="out"') == 0 and "a cup number 2" in page
