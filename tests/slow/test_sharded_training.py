"""DDP and FSDP2 on two processes train what one process trains, and resume what any other layout has begun."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from seelevel import save_ladders
from tests.slow.train_several import train
from tests.training.killing import contents
from tests.training.tiny import make_ladder, make_model, make_processor, save_model

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
SECONDS = 600
"""More than the two processes ever need: a process that waits for another one is a failure, and must not hang."""
COMMON = {"ladders_per_step": 4, "epochs": 1.5, "save_steps": 2, "learning_rate": 1e-3, "weight_decay": 0.1}
COMMON |= {"device": "cpu", "dtype": "float64", "tokens_per_batch": 300, "cache": False, "snapshots": 1}
LORA = {"r": 4, "alpha": 8}
KINDS = {
    "full": {},
    "full in groups": {"answers_per_pass": 1},
    "lora": {"lora": LORA},
    "lora in groups": {"lora": LORA, "answers_per_pass": 1},
    "recomputed": {"gradient_checkpointing": True, "answers_per_pass": 1},
    "tied": {},
}
TEXT = {"mixed": {"ladders_per_step": 2, "freeze_vision": False}, "mixed lora": {"ladders_per_step": 2, "lora": LORA}}
COARSE = {"bfloat16": {"lora": LORA, "dtype": "bfloat16"}}
ALL = KINDS | TEXT | COARSE
WAYS = {"ddp": False, "fsdp2": True}
NOTES = ("bytes-", "before-", "tokenised-")
"""Files that the processes of these tests add."""


def job(out, kind, **changes):
    ladders = "mixed.parquet" if kind in TEXT else "ladders.parquet"
    base = "tied" if kind == "tied" else "base"
    return {"out": out, "settings": COMMON | ALL[kind], "ladders": ladders, "base": base, **changes}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharded")
    # unequal K and rounds, so that the processes' passes and segments differ
    ladders = [make_ladder(folder, n, 2 + n % 3, 1 + n % 2) for n in range(7)]
    save_ladders(ladders, folder / "ladders.parquet")
    mixed = [make_ladder(folder, n, 2 + n % 3, pictures=n % 3 == 0) for n in range(8)]
    save_ladders(mixed, folder / "mixed.parquet")
    save_model(folder / "base")
    tied, processor = make_model(make_processor(), tie_word_embeddings=True), make_processor()
    tied.config.tie_word_embeddings = True
    tied.tie_weights()
    tied.save_pretrained(folder / "tied")
    processor.save_pretrained(folder / "tied")
    alone(folder)
    together(folder)
    for kind in ("full", "lora"):
        for way in WAYS:
            train(folder, job(f"{kind} {way} then one", kind, after=f"{kind} {way} cut"))
    return folder


def alone(folder):
    for kind in ALL:
        train(folder, job(f"{kind} one", kind))
    for kind in ("full", "lora"):
        train(folder, job(f"{kind} one cut", kind, stop=2))


def together(folder):
    jobs = []
    for way, sharded in WAYS.items():
        jobs += [job(f"{kind} {way}", kind, sharded=sharded) for kind in ALL]
        jobs += [job(f"{kind} {way} cut", kind, sharded=sharded, stop=2) for kind in ("full", "lora")]
    for kind in ("full", "lora"):
        for way, sharded in WAYS.items():
            for before in ("one", *WAYS):
                out = f"{kind} {before} then {way}"
                jobs.append(job(out, kind, sharded=sharded, after=f"{kind} {before} cut"))
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
    assert done.returncode == 0, done.stderr


def weights(out):
    [path] = [*out.glob("adapter/*.safetensors"), *out.glob("model/*.safetensors")]
    return load_file(path)


def results(out):
    """The files of a training and their bytes, without what these tests add."""
    return {path: content for path, content in contents(out).items() if not path.startswith(NOTES)}


def log(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def assert_same(one, other):
    assert weights(one).keys() == weights(other).keys()
    assert max(float((w - weights(other)[name]).abs().max()) for name, w in weights(one).items()) <= 1e-5
    for before, after in zip(log(one), log(other), strict=True):
        assert after == pytest.approx(before, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [*KINDS, *TEXT])
def test_two_processes_train_what_one_does(folder, kind, way):
    one, two = folder / f"{kind} one", folder / f"{kind} {way}"
    assert_same(one, two)
    assert results(one).keys() == results(two).keys()


@pytest.mark.parametrize("way", WAYS)
def test_a_base_of_another_number_format_trains_under_adapters(folder, way):
    for before, after in zip(log(folder / "bfloat16 one"), log(folder / f"bfloat16 {way}"), strict=True):
        assert after["loss"] == pytest.approx(before["loss"], rel=0.02)


@pytest.mark.parametrize("way", ["one", *WAYS])
@pytest.mark.parametrize("before", ["one", *WAYS])
@pytest.mark.parametrize("kind", ["full", "lora"])
def test_any_layout_goes_on_from_the_checkpoint_of_any_other(folder, kind, before, way):
    if way == before == "one":
        pytest.skip("tests/training/test_trainer.py has it")
    out = folder / f"{kind} {before} then {way}"
    assert (folder / f"{kind} {before} cut" / "checkpoints" / "checkpoint-2").is_dir()
    assert_same(folder / f"{kind} one", out)
    if way == before:
        unbroken = folder / f"{kind} {way}"
        assert results(unbroken) == results(out)


def test_each_process_holds_its_part_of_weights_gradients_and_moments(folder):
    whole, *parts = (
        json.loads((folder / out / name).read_text())
        for out, name in (("full one", "bytes-0.json"), ("full fsdp2", "bytes-0.json"), ("full fsdp2", "bytes-1.json"))
    )
    for name, size in whole.items():
        assert sum(part[name] for part in parts) == size
        assert max(part[name] for part in parts) <= 0.55 * size


@pytest.mark.parametrize("kind", ["full", "lora", "bfloat16"])
def test_no_process_holds_all_weights_before_it_trains(folder, kind):
    one, *parts = (
        [json.loads(line) for line in (folder / out / f"before-{number}.jsonl").read_text().splitlines()]
        for out, number in ((f"{kind} one", 0), (f"{kind} fsdp2", 0), (f"{kind} fsdp2", 1))
    )
    dtypes = [entry["dtype"] for entry in one]
    assert ("torch.float32" in dtypes) == (kind == "bfloat16")  # layouts are compared in float32 too
    assert [[entry["dtype"] for entry in part[: len(one)]] for part in parts] == [dtypes, dtypes]
    for entry, *shares in zip(one, *parts, strict=False):  # several processes read the reference's cache once more
        assert sum(share["weights"] for share in shares) == entry["weights"]
        assert max(share["weights"] for share in shares) <= 0.55 * entry["weights"]


@pytest.mark.parametrize("way", WAYS)
def test_each_ladder_is_tokenised_by_one_process(folder, way):
    parts = [(folder / f"full {way}" / f"tokenised-{number}.txt").read_text().split() for number in (0, 1)]
    assert [len(part) for part in parts] == [4, 3]
    assert sorted(parts[0] + parts[1]) == sorted((folder / "full one" / "tokenised-0.txt").read_text().split())
