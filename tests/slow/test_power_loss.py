"""A run killed at any moment and started again ends as one that was never killed."""

import random
import time

import pytest

from tests.slow import running

pytestmark = pytest.mark.slow
SEED = 20261120
# a checkpoint after every short step, so that few ladders give more than nine checkpoints
STEPS = ["--set", "align.save_steps=1", "--set", "align.ladders_per_step=4"]
RECIPE = ["run", "world-quick", "--set", "data.limit=64", "--set", "evaluate.limit=20", *STEPS]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A run that nobody stopped: its folder, and the seconds that it took."""
    out = tmp_path_factory.mktemp("unbroken") / "run"
    begin = time.monotonic()
    code, output = running.finish([*RECIPE, "--out", out])
    assert code == 0, output
    return out, time.monotonic() - begin


def goes_on_as_unbroken(out, expected):
    code, output = running.finish([*RECIPE, "--out", out])
    assert code == 0, output
    assert running.differences(expected, running.outcome(out)) == []


def test_five_kills_at_random_times_change_nothing(unbroken, tmp_path):
    reference, total = unbroken
    expected = running.outcome(reference)
    draw = random.Random(SEED)
    for number in range(5):
        seconds = draw.uniform(0.2, total)
        out = tmp_path / f"run-{number}"
        stage = running.stage_at_work(out) if running.kill_after([*RECIPE, "--out", out], seconds) else "ended"
        print(f"seed {SEED} kill {number}: {seconds:.2f} s, {stage}")
        goes_on_as_unbroken(out, expected)


@pytest.mark.parametrize("stage", running.STAGES)
def test_a_kill_at_the_beginning_of_a_stage_changes_nothing(unbroken, tmp_path, stage):
    out = tmp_path / "run"

    def begun():
        return running.stage_at_work(out) == stage and (out / stage).is_dir()

    assert running.kill_when([*RECIPE, "--out", out], begun)
    assert begun()
    goes_on_as_unbroken(out, running.outcome(unbroken[0]))


@pytest.mark.parametrize("checkpoint", ["checkpoint-1", "checkpoint-9"])
def test_a_kill_inside_the_writing_of_a_checkpoint_changes_nothing(unbroken, tmp_path, checkpoint):
    out = tmp_path / "run"

    def half_written():
        return running.holds(out / "align", f"writing-{checkpoint}")

    assert running.kill_when([*RECIPE, "--out", out], half_written)
    assert half_written()
    goes_on_as_unbroken(out, running.outcome(unbroken[0]))


def test_the_same_command_again_runs_nothing(unbroken):
    out, _ = unbroken
    code, output = running.finish([*RECIPE, "--out", out])
    assert code == 0
    assert output.count("unchanged, kept") == 7
