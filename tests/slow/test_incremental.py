"""The recipe of incremental generation, reduced: it runs to its end, and a kill while it fine-tunes changes nothing."""

import json
import random
import time

import pytest

from seelevel import load_ladders
from tests.slow import running

pytestmark = pytest.mark.slow
SEED = 20261120
SMALL = {
    "data.limit": 48,
    "generate.finetune.limit": 96,
    "generate.finetune.save_steps": 1,
    "generate.sampling.max_new_tokens": 32,
    "align.epochs": 1,
    "evaluate.data": "world:dev",
    "evaluate.limit": 12,
}
RECIPE = ["run", "world-amp-ig", *(part for key, value in SMALL.items() for part in ("--set", f"{key}={value}"))]
KILLS = 2


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A run that nobody stopped, and the seconds after its start between which it generates."""
    out = tmp_path_factory.mktemp("unbroken") / "run"
    begin = time.time()
    code, output = running.finish([*RECIPE, "--out", out])
    assert code == 0, output
    return out, [(out / name / "manifest.json").stat().st_mtime - begin for name in ("finetune", "generate")]


def outcome(out):
    weights = {str(p.relative_to(out)): p.read_bytes() for p in out.glob("generate/finetunes/*/model/*.safetensors")}
    assert len(weights) == 2
    return {**running.outcome(out), **weights}


def test_more_data_stands_above_less_and_less_above_none(unbroken):
    out, _ = unbroken
    order = ["standard", "world:s on parts 1 to 2 of 2", "world:s on part 1 of 2", "world:s"]
    ladders = load_ladders(out / "generate")
    assert len(ladders) == 48
    for ladder in ladders:
        names = [r.origin.get("model", r.origin["kind"]) for r in ladder.responses]
        assert names == [name for name in order if name in names]
        assert names[0] == "standard"
    facts = json.loads((out / "generate" / "manifest.json").read_text())
    assert facts["finetune"]["overlap"] == 0
    assert facts["finetune"]["parts"] == [48, 48]
    records = {ladder.id for ladder in load_ladders(out / "finetune")}
    assert len(records) == 96 and not records & {ladder.id for ladder in ladders}
    assert "chair_i" in json.loads((out / "metrics.json").read_text())["aligned"]
    assert "fine-tuned on growing parts of" in (out / "report.html").read_text()


def test_kills_while_it_generates_change_nothing(unbroken, tmp_path):
    reference, (start, end) = unbroken
    expected = outcome(reference)
    draw = random.Random(SEED)
    for number in range(KILLS):
        out = tmp_path / f"run-{number}"
        seconds = draw.uniform(start, end)
        killed = running.kill_after([*RECIPE, "--out", out], seconds)
        stage = running.stage_at_work(out) if killed else "ended"
        tuned = sorted(p.parent.name for p in out.glob("generate/finetunes/*/model"))
        print(f"seed {SEED} kill {number}: {seconds:.2f} s, {stage}, fine-tunes whole: {tuned}")
        code, output = running.finish([*RECIPE, "--out", out])
        assert code == 0, output
        assert running.differences(expected, outcome(out)) == [], (seconds, stage)


def test_the_same_command_again_runs_nothing(unbroken):
    code, output = running.finish([*RECIPE, "--out", unbroken[0]])
    assert code == 0
    assert output.count("unchanged, kept") == 9
