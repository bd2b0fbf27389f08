"""`--launch` trains in real processes. One that dies or hangs ends the run, by its rank, and nothing is lost."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from seelevel.formats.parquet import write_shard
from seelevel.recipe import load_recipe
from seelevel.stages import settings_digest
from seelevel.store import StageFolder
from tests.export.made import world_ladders

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
KEYS = ["align.model=world:xs", "align.ladders_per_step=2", "align.epochs=20", "align.save_steps=2"]
KEYS += ["align.device=cpu", "align.cache=false", "align.lora={r: 4}"]
LAUNCH = ["--launch", "ddp", "--gpus", "2"]
SECONDS = 60
"""So soon after a rank's death must a run have ended."""
WHOLE = 900
"""For what takes 20 seconds on an idle machine."""
ENVIRONMENT = {
    **{key: value for key, value in os.environ.items() if not key.startswith("ACCELERATE_")},
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
}


def words(command, out, *more):
    return [command, "world-quick", "--out", str(out), *(word for key in KEYS for word in ("--set", key)), *more]


def start(out, *more):
    """`seelevel align --launch` in a process, with what it prints in `<out>.txt`."""
    with Path(f"{out}.txt").open("w") as printed:
        command = [sys.executable, "-m", "seelevel", *words("align", out, *more, *LAUNCH)]
        return subprocess.Popen(command, env=ENVIRONMENT, stdout=printed, stderr=printed)


def ended(process, out, seconds=WHOLE):
    """The exit code and the lines printed."""
    try:
        return process.wait(timeout=seconds), Path(f"{out}.txt").read_text().splitlines()
    finally:
        process.kill()


def weights(out):
    return (out / "align" / "adapter" / "adapter_model.safetensors").read_bytes()


def rank_of(process):
    try:
        return process.environ().get("RANK")
    except psutil.Error:
        return None


def in_training(launcher, out):
    """Wait for the first checkpoint; returns the processes, by rank."""
    for _ in range(10 * WHOLE):
        if any((out / "align" / "checkpoints").glob("checkpoint-*")):
            break
        assert launcher.poll() is None, Path(f"{out}.txt").read_text()
        time.sleep(0.1)
    return {rank: child for child in psutil.Process(launcher.pid).children() if (rank := rank_of(child))}


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """A run folder whose stages before `align` are done."""
    out = tmp_path_factory.mktemp("launched") / "generated"
    recipe = load_recipe("world-quick", KEYS)
    for name in ("data", "generate", "check"):
        stage = StageFolder(out / name, name)
        stage.begin()
        if name == "check":
            write_shard(stage.shard(0), list(world_ladders(out)), out)
        stage.finish(settings=settings_digest(recipe, "generate" if name == "data" else name))
    return out


@pytest.fixture(scope="module")
def unbroken(generated):
    """A run that nothing has disturbed, and what it printed."""
    out = generated.with_name("unbroken")
    shutil.copytree(generated, out)
    code, lines = ended(start(out), out)
    assert code == 0, lines
    return out, lines


@pytest.fixture
def out(generated, tmp_path):
    return shutil.copytree(generated, tmp_path / "run")


def test_the_printed_commands_train_the_same(unbroken, out):
    done, lines = unbroken
    assert lines[0] == "launch: 2 processes on the CPU, ddp"
    assert sum(line.startswith("align: /") for line in lines) == 1  # the first process alone says where it is
    for way in ("torchrun", "accelerate"):
        (command,) = [line.partition(": with ")[2] for line in lines if line.startswith(f"launch: with {way}: ")]
        command = command.removeprefix(f"{way}: ").replace(
            "accelerate launch", f"{sys.executable} -m accelerate.commands.launch"
        )
        command = command.replace(f"--out {done}", f"--out {out}")
        subprocess.run(command, shell=True, env=ENVIRONMENT, check=True, timeout=WHOLE)
        assert weights(out) == weights(done)
        shutil.rmtree(out / "align")


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_rank_that_is_killed_ends_the_run_and_the_same_command_continues(rank, unbroken, out):
    launcher = start(out)
    in_training(launcher, out)[rank].kill()
    code, lines = ended(launcher, out, SECONDS)
    assert code == 1
    assert lines[-1].startswith(f"seelevel: rank {rank} of 2 was killed (SIGKILL")
    code, lines = ended(start(out), out)
    assert code == 0 and any("goes on from checkpoint-" in line for line in lines)
    assert weights(out) == weights(unbroken[0])


def test_a_rank_without_memory_ends_the_run(out):
    code, lines = ended(start(out, "--set", "align.objective={name: 'tests.slow.breaking:Breaking'}"), out)
    assert code == 1
    assert lines[-1] == "seelevel: rank 1 of 2: no memory for this test"


def test_a_rank_that_hangs_ends_the_run(out):
    launcher = start(out, "--set", "align.process_timeout=5")
    stopped = in_training(launcher, out)["1"]
    stopped.suspend()
    code, lines = ended(launcher, out, SECONDS)  # 5, and 30 that torchrun gives it
    assert code == 1 and not stopped.is_running()
    assert lines[-1].startswith("seelevel: rank 1 of 2 stopped answering")


def test_ranks_end_with_their_launcher(out):
    launcher = start(out)
    ranks = list(in_training(launcher, out).values())
    assert len(ranks) == 2
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    assert psutil.wait_procs(ranks, timeout=SECONDS)[1] == []


def test_what_accelerate_starts_as_one_process_is_refused(out):
    start = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "-m", "seelevel"]
    done = subprocess.run(
        [sys.executable, *start, *words("align", out)], env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "seelevel: accelerate launch was asked for several processes and has started one" in done.stderr
