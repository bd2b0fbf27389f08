"""The align stage: shards in, a model folder out, the same after a kill."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from transformers import AutoModelForImageTextToText, AutoProcessor

from seelevel import align
from seelevel.formats.parquet import write_shard
from seelevel.models.base import ModelRef
from seelevel.store import StageFolder
from seelevel.training.settings import AlignSettings
from tests.training.tiny import make_ladder, save_model

STAGE = """
import sys
from pathlib import Path
from seelevel import align
from seelevel.training.settings import AlignSettings
from seelevel.models.base import ModelRef
from seelevel.store import StageFolder

root, base, out = map(Path, sys.argv[1:])
stage = StageFolder(out, "same")
stage.begin()
settings = AlignSettings(model="tiny", ladders_per_step=2, epochs=6, save_steps=1, device="cpu")
align.run(root / "check", stage, settings, ModelRef("tiny", str(base)), root, seed=0)
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder whose check stage is done."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "images").mkdir()
    (folder / "check").mkdir()
    ladders = [make_ladder(folder / "images", seed, k=2 + seed % 3) for seed in range(8)]
    write_shard(folder / "check" / "shard-00000.parquet", ladders[:5], root=folder)
    write_shard(folder / "check" / "shard-00001.parquet", ladders[5:], root=folder)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("base"))


def test_the_stage_leaves_a_model_that_loads_and_a_log_line_a_step(root: Path, base: Path, tmp_path: Path) -> None:
    stage = StageFolder(tmp_path / "align", "one")
    stage.begin()
    settings = AlignSettings(model="tiny", ladders_per_step=4, epochs=2, device="cpu")
    facts = align.run(root / "check", stage, settings, ModelRef("tiny", str(base)), root, seed=0)
    assert (facts.ladders, facts.steps, facts.layout) == (8, 4, "shared")
    lines = [json.loads(line) for line in (stage.path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert lines[0].keys() >= {"loss", "preference", "penalty", "margin", "accuracy", "best_logprob", "best_change"}
    AutoModelForImageTextToText.from_pretrained(stage.path / "model")
    AutoProcessor.from_pretrained(stage.path / "model")
    assert not list((stage.path / "model").glob("*.bin")) + list((stage.path / "model").glob("*.pt"))


@pytest.mark.slow
def test_a_stage_killed_at_any_moment_and_started_again_ends_in_the_same_files(
    root: Path, base: Path, tmp_path: Path
) -> None:
    def start(out: Path) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": str(Path(align.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", STAGE, str(root), str(base), str(out)]
        return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)

    def files(out: Path) -> dict[str, str]:
        found = [p for p in out.rglob("*") if p.is_file()]
        return {p.relative_to(out).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in found}

    whole = start(tmp_path / "whole")
    assert whole.wait() == 0
    kills = 0
    for number, moment in enumerate((0.3, 1.1, 1.9)):
        out = tmp_path / f"killed-{number}"
        process = start(out)
        # Start-up takes seconds; the clock starts when the stage has begun to train.
        while process.poll() is None and not list(out.glob("checkpoints/*checkpoint-*")):
            time.sleep(0.01)
        time.sleep(moment)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
        assert start(out).wait() == 0
        assert files(out) == files(tmp_path / "whole")
    assert kills >= 1
