"""DeepSpeed on two processes trains what one process trains, and resumes what another layout has begun."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from safetensors.torch import load_file

from seelevel import save_ladders
from seelevel.training.zero import configuration
from tests.slow.train_several import train
from tests.training.tiny import make_ladder, save_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("deepspeed") is None, reason="DeepSpeed is not installed"),
]
ROOT = Path(__file__).parents[2]
SECONDS = 900
"""More than the two processes ever need: a process that waits for another one is a failure, and must not hang."""
COMMON = {"ladders_per_step": 4, "epochs": 1.5, "save_steps": 2, "learning_rate": 1e-3, "snapshots": 1}
COMMON |= {"device": "cpu", "tokens_per_batch": 300, "cache": False}
LORA = {"r": 4, "alpha": 8}
KINDS = {
    "full": {},
    "full in groups": {"answers_per_pass": 1},
    "lora": {"lora": LORA},
    "lora in groups": {"lora": LORA, "answers_per_pass": 1},
    "mixed": {"ladders_per_step": 8},  # passes with and without pictures meet; each step has some
}
WAYS = {"zero2": 2, "zero3": 3}
RESUMED = ("full", "lora")


def job(out, kind, way="one", **changes):
    ladders = "mixed.parquet" if kind == "mixed" else "ladders.parquet"
    split = {"zero": f"{way}.json"} if way in WAYS else {}
    return {"out": out, "settings": COMMON | KINDS[kind], "ladders": ladders, "base": "base", **split, **changes}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zero")
    # unequal K and rounds, so that the processes' passes and segments differ
    save_ladders([make_ladder(folder, n, 2 + n % 3, 1 + n % 2) for n in range(7)], folder / "ladders.parquet")
    mixed = [make_ladder(folder, n, 2 + n % 3, pictures=n % 3 == 0) for n in range(8)]
    save_ladders(mixed, folder / "mixed.parquet")
    save_model(folder / "base")
    for way, stage in WAYS.items():
        split = configuration(stage)
        split["zero_optimization"]["stage3_param_persistence_threshold"] = 0  # else a tiny model is not split at all
        (folder / f"{way}.json").write_text(json.dumps(split))
    for kind in KINDS:
        train(folder, job(f"{kind} one", kind))
    for kind in RESUMED:
        train(folder, job(f"{kind} one cut", kind, stop=2))
    together(folder)
    for kind in RESUMED:
        for way in WAYS:
            train(folder, job(f"{kind} {way} then one", kind, after=f"{kind} {way} cut"))
    return folder


def together(folder):
    jobs = [job(f"{kind} {way}", kind, way) for way in WAYS for kind in KINDS]
    jobs += [job(f"{kind} {way} cut", kind, way, stop=2) for way in WAYS for kind in RESUMED]
    for kind in RESUMED:
        jobs += [
            job(f"{kind} {before} then {way}", kind, way, after=f"{kind} {before} cut")
            for way in WAYS
            for before in ("one", *WAYS)
        ]
    (folder / "jobs.json").write_text(json.dumps(jobs))
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "tests.slow.train_several", str(folder)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr[-8000:]


def weights(out):
    [path] = [*out.glob("adapter/*.safetensors"), *out.glob("model/*.safetensors")]
    return load_file(path)


def assert_same(one, other):
    assert weights(one).keys() == weights(other).keys()
    assert max(float((w - weights(other)[name]).abs().max()) for name, w in weights(one).items()) <= 1e-5
    curves = [[json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()] for out in (one, other)]
    for before, after in zip(*curves, strict=True):
        assert after == pytest.approx(before, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_train_what_one_does(folder, kind, way):
    assert_same(folder / f"{kind} one", folder / f"{kind} {way}")


@pytest.mark.parametrize("way", ["one", *WAYS])
@pytest.mark.parametrize("before", ["one", *WAYS])
@pytest.mark.parametrize("kind", RESUMED)
def test_any_layout_goes_on_from_the_checkpoint_of_any_other(folder, kind, before, way):
    if way == before == "one":
        pytest.skip("tests/training/test_trainer.py has it")
    assert (folder / f"{kind} {before} cut" / "checkpoints" / "checkpoint-2").is_dir()
    assert_same(folder / f"{kind} one", folder / f"{kind} {before} then {way}")


@pytest.mark.parametrize("kind", RESUMED)
def test_stage_three_holds_no_whole_model_before_it_trains(folder, kind):
    def held(way, number):
        lines = (folder / f"{kind} {way}" / f"before-{number}.jsonl").read_text().splitlines()
        return {json.loads(line)["weights"] for line in lines}

    [whole] = held("one", 0)
    assert held("zero2", 0) == held("zero2", 1) == {whole}
    shares = held("zero3", 0) | held("zero3", 1)
    assert max(shares) <= 0.55 * whole
