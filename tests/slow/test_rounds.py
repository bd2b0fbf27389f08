"""Two rounds, reduced: the adapter of the first trains on in the second, and a kill in either changes nothing."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from seelevel import load_ladders
from seelevel.models.folders import adapter_base
from seelevel.naming import Names
from seelevel.recipe import load_recipe
from seelevel.training.fit import fit
from tests.slow import running

pytestmark = pytest.mark.slow
KEYS = [
    *("data.limit=16", "generate={method: samples, model: 'world:xs', n: 2, sampling: {max_new_tokens: 24}}"),
    *("align.model=world:xs", "align.lora={r: 4}", "align.epochs=1", "align.ladders_per_step=4", "align.save_steps=1"),
    "align.control=false",
    *("evaluate.data=world:dev", "evaluate.limit=4", "evaluate.benchmarks=[chair]"),
]
COMMAND = ["run", "world-samples", *(word for key in KEYS for word in ("--set", key))]
ADAPTER = "adapter/adapter_model.safetensors"


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    out = tmp_path_factory.mktemp("rounds") / "run"
    code, output = running.finish([*COMMAND, "--out", out])
    assert code == 0, output
    assert output.index("round 1 of 2") < output.index("round 2 of 2")
    return out


def outcome(out):
    first, found = out / "rounds" / "1", running.outcome(out)
    for stage in ("generate", "check"):
        found[f"first {stage}"] = [running.relative(ladder, out) for ladder in load_ladders(first / stage)]
    found |= {name: (first / "align" / name).read_bytes() for name in (ADAPTER, "log.jsonl")}
    return found


def test_a_kill_in_each_round_changes_nothing(out, tmp_path):
    killed = tmp_path / "run"
    arguments = [*COMMAND, "--out", killed]
    assert running.kill_when(
        arguments, lambda: running.holds(killed / "rounds" / "1" / "align", "writing-checkpoint-2")
    )
    assert not (killed / "rounds" / "1" / "align" / "manifest.json").exists()
    assert running.kill_when(arguments, lambda: running.holds(killed / "align", "writing-checkpoint-2"))
    assert not (killed / "align" / "manifest.json").exists()
    code, output = running.finish(arguments)
    assert code == 0, output
    assert running.differences(outcome(out), outcome(killed)) == []


def test_the_second_round_is_of_the_first_ones_model(out):
    first, second = (load_ladders(folder / "generate") for folder in (out / "rounds" / "1", out))
    sampled = [
        {r.origin.get("model") for ladder in ladders for r in ladder.responses[1:]} for ladders in (first, second)
    ]
    assert sampled == [{"world:xs"}, {"run:round-1"}]
    assert [ladder.id for ladder in first] == [ladder.id for ladder in second]
    texts = [[r.text for ladder in ladders for r in ladder.responses[1:]] for ladders in (first, second)]
    assert texts[0] != texts[1]


def test_the_second_round_starts_at_the_first_ones_weights(out, tmp_path):
    recipe = load_recipe(str(out / "recipe.yaml"))
    settings = recipe.of_round(2).align.model_copy(update={"learning_rate": 1e-30, "epochs": 0.5, "cache": False})
    fit(load_ladders(out / "check"), Names(recipe, out).model("run:round-1").path, settings, tmp_path)
    before, after = load_file(out / "rounds" / "1" / "align" / ADAPTER), load_file(tmp_path / ADAPTER)
    assert before.keys() == after.keys() == load_file(out / "align" / ADAPTER).keys()
    assert all(torch.allclose(before[name], after[name], rtol=0, atol=1e-12) for name in before)
    assert adapter_base(out / "align" / "adapter") == adapter_base(out / "rounds" / "1" / "align" / "adapter")


def test_the_reference_of_the_second_round_is_the_model_at_its_start(out):
    changes = [json.loads(line) for line in (out / "align" / "log.jsonl").read_text().splitlines()]
    assert abs(changes[0]["best_change"]) < 1e-4 < abs(changes[-1]["best_change"])


def test_every_round_has_figures(out):
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["base"].keys() == metrics["round-1"].keys() == metrics["aligned"].keys()
    assert set(metrics["differences_by_round"]) == {"round-1", "aligned"}
    assert "By round" in (out / "report.html").read_text()


def test_two_processes_end_where_one_does(out, tmp_path):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*launcher, *running.COMMAND, *COMMAND, "--out", str(tmp_path / "run")],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    one, two = (load_file(folder / "align" / ADAPTER) for folder in (out, tmp_path / "run"))
    assert one.keys() == two.keys()
    assert max(float((one[name] - two[name]).abs().max()) for name in one) <= 1e-5
