"""Two processes under torchrun train what one trains."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from seelevel import save_ladders
from seelevel.training.margins import read_table
from tests.training.tiny import make_interaction, make_ladder, save_model

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
SETTINGS = {"ladders_per_step": 4, "epochs": 1.5, "save_steps": 2, "learning_rate": 1e-3, "device": "cpu"}


def train(folder, out, settings, processes):
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)] * (processes > 1)
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "tests.slow.train_once", str(folder), str(out), json.dumps(settings)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("answers", ["all", 1], ids=["at-once", "one-by-one"])
@pytest.mark.parametrize("lora", [{"r": 4, "alpha": 8}, None], ids=["lora", "full"])
def test_two_processes_end_in_the_weights_of_one(tmp_path, lora, answers):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    # unequal K and rounds, so that the processes' shares and passes differ
    save_ladders([make_ladder(pictures, n, 2 + n % 3, 1 + n % 2) for n in range(8)], tmp_path / "ladders.parquet")
    save_model(tmp_path / "base")
    settings = {**SETTINGS, "lora": lora, "tokens_per_batch": 300, "answers_per_pass": answers}
    train(tmp_path, tmp_path / "one", {**settings, "cache": str(tmp_path / "cache-one")}, 1)
    said = train(tmp_path, tmp_path / "two", {**settings, "cache": str(tmp_path / "cache-two")}, 2)
    kind = "adapter/adapter_model.safetensors" if lora else "model/model.safetensors"
    one, two = (load_file(tmp_path / name / kind) for name in ("one", "two"))
    assert one.keys() == two.keys()
    assert max(float((one[name] - two[name]).abs().max()) for name in one) <= 1e-6
    logs = [
        [json.loads(line) for line in (tmp_path / n / "log.jsonl").read_text().splitlines()] for n in ("one", "two")
    ]
    for alone, together in zip(*logs, strict=True):
        assert together == pytest.approx(alone, rel=1e-4, abs=1e-6)
    assert "reference" in said
    # each process computed its share of the reference, and wrote it to its own file
    assert len(list((tmp_path / "cache-two").rglob("*.safetensors"))) == 2


def test_two_processes_share_the_log_probs_and_keep_the_snapshots_of_one(tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    save_ladders([make_ladder(pictures, n, 2 + n % 3, 1 + n % 2) for n in range(7)], tmp_path / "ladders.parquet")
    save_model(tmp_path / "base")
    settings = {**SETTINGS, "tokens_per_batch": 300, "snapshots": 1}  # 300: several passes, an odd number of them
    for name, processes in (("one", 1), ("two", 2)):
        train(tmp_path, tmp_path / name, settings, processes)
    one, two = (read_table(tmp_path / name / "logprobs.parquet").to_pylist() for name in ("one", "two"))
    assert [row["ladder"] for row in one] == [row["ladder"] for row in two] == [f"tiny-{n}" for n in range(7)]
    for alone, together in zip(one, two, strict=True):
        assert together["margin"] == pytest.approx(alone["margin"], abs=1e-4)
        sums = [[response["trained"] for response in row["responses"]] for row in (alone, together)]
        assert sums[1] == pytest.approx(sums[0], abs=1e-4)
    (place,) = (path.relative_to(tmp_path / "one") for path in (tmp_path / "one").glob("snapshots/*/*.safetensors"))
    one, two = (load_file(tmp_path / name / place) for name in ("one", "two"))
    assert max(float((one[name] - two[name]).abs().max()) for name in one) <= 1e-6


def test_two_processes_that_cut_interactions_end_in_the_weights_of_one(tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    rounds = [ladder for n in range(5) for ladder in make_interaction(pictures, n, k=2, rounds=1 + n % 4)]
    save_ladders(rounds, tmp_path / "ladders.parquet")
    save_model(tmp_path / "base")
    for name, processes in (("one", 1), ("two", 2)):
        train(tmp_path, tmp_path / name, {**SETTINGS, "objective": {"name": "conditional"}}, processes)
    one, two = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("one", "two"))
    assert max(float((one[name] - two[name]).abs().max()) for name in one) <= 1e-6


def test_a_whole_run_under_torchrun_ends_where_one_process_does(tmp_path):
    keys = ["data.limit=24", "evaluate.limit=4", "align.ladders_per_step=4", "align.epochs=1", "align.lora={r: 4}"]
    keys += ["align.control=true"]
    recipe = ["run", "world-quick", *(word for key in keys for word in ("--set", key))]
    command = str(Path(sys.executable).with_name("seelevel"))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    for name, start in (("one", []), ("two", launcher)):
        done = subprocess.run(
            [*start, command, *recipe, "--out", str(tmp_path / name)],
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert (tmp_path / name / "report.html").exists()
    for stage in ("align", "control"):
        one, two = (
            load_file(tmp_path / name / stage / "adapter" / "adapter_model.safetensors") for name in ("one", "two")
        )
        assert max(float((one[name] - two[name]).abs().max()) for name in one) <= 1e-5


def test_what_a_process_says_stands_at_the_end_of_what_torchrun_says(tmp_path):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = str(Path(sys.executable).with_name("seelevel"))
    done = subprocess.run(
        [*launcher, command, "run", "world-quick", "--out", str(tmp_path), "--set", "align.model=nonsense"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "traceback : seelevel: model folder nonsense does not exist" in done.stderr.splitlines()[-2]
