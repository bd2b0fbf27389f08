"""A run killed at any moment and started again ends as one that was never killed."""

import random
import time

import pytest

from tests.slow import running

pytestmark = pytest.mark.slow
SEED = 20261120
# a checkpoint after every short step, so that a kill in training often falls inside the writing of one
RECIPE = ["run", "world-quick", "--set", "align.save_steps=1", "--set", "align.ladders_per_step=4"]
MOST_TRIES = 60


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A run that nobody stopped: its folder, and for each stage the seconds after the start between which it is at work
    (the first from the very start, imports and all)."""
    out = tmp_path_factory.mktemp("unbroken") / "run"
    begin = time.time()
    code, output = running.finish([*RECIPE, "--out", out])
    assert code == 0, output
    ends = [(out / stage / "manifest.json").stat().st_mtime - begin for stage in running.STAGES]
    return out, dict(zip(running.STAGES, zip([0.2, *ends], ends, strict=False), strict=True))


def inside_a_checkpoint(out):
    return any((out / "align").rglob("writing-checkpoint-*"))


def test_ten_kills_at_random_times_change_nothing(unbroken, tmp_path):
    """Ten uniformly random times over the whole run, then more in the stages that those missed, and in training until
    two kills have left a checkpoint half written. Seeds, times and stages are printed."""
    reference, places = unbroken
    total = places["evaluate"][1]
    expected = running.outcome(reference)
    draw = random.Random(SEED)
    hit, torn, tries = {}, 0, 0
    while tries < MOST_TRIES:
        missing = [stage for stage in running.STAGES if stage not in hit]
        if tries < 10:
            seconds = draw.uniform(0.2, total)
        elif missing:
            seconds = draw.uniform(*places[missing[0]])
        elif torn < 2:
            seconds = draw.uniform(*places["align"])
        else:
            break
        tries += 1
        out = tmp_path / f"run-{tries}"
        killed = running.kill_after([*RECIPE, "--out", out], seconds)
        stage = running.stage_at_work(out) if killed else "ended"
        half = killed and inside_a_checkpoint(out)
        torn += half
        hit[stage] = hit.get(stage, 0) + 1
        print(f"seed {SEED} kill {tries}: {seconds:.2f} s of {total:.0f}, {stage}{', inside a checkpoint' * half}")
        if tries > 10 and stage != "align" and stage not in missing:
            continue  # neither a new stage nor training: nothing that was not tested
        if tries > 10 and stage == "align" and not half and "align" not in missing:
            continue
        code, output = running.finish([*RECIPE, "--out", out])
        assert code == 0, output
        assert running.differences(expected, running.outcome(out)) == [], (seconds, stage)
    assert set(running.STAGES) <= set(hit), hit
    assert torn >= 2


def test_the_same_command_again_runs_nothing(unbroken):
    out, _ = unbroken
    code, output = running.finish([*RECIPE, "--out", out])
    assert code == 0
    assert output.count("unchanged, kept") == 7
