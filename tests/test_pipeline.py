"""A run folder that lost something makes it again."""

import json

import pytest

from seelevel import evaluate
from seelevel.pipeline import Run
from seelevel.recipe import load_recipe
from seelevel.store import StageFolder, write_json

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("damage", [None, b"", b"{", b"[]"])
def test_figures_that_are_lost_or_garbled_are_made_again(tmp_path, monkeypatch, damage):
    made = []

    def figures(stage, settings, data, base, aligned, judge, root, seed):
        made.append(stage.path)
        write_json(root / "metrics.json", {"base": {}})
        return {}

    monkeypatch.setattr(evaluate, "run", figures)
    run = Run(load_recipe("world-quick", ["evaluate.limit=1"]), tmp_path)
    for stage, part in (("align", "model"), ("check", None)):
        folder = StageFolder(tmp_path / stage, "one")
        folder.begin()
        if part is not None:
            (folder.path / part).mkdir()
        folder.finish()
    run.evaluate()
    run.evaluate()
    assert len(made) == 1
    (tmp_path / "metrics.json").unlink()
    if damage is not None:
        (tmp_path / "metrics.json").write_bytes(damage)
    run.evaluate()
    assert len(made) == 2
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"base": {}}
