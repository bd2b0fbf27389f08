"""What DeepSpeed is asked to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from seelevel.errors import InputError
from seelevel.training import zero

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("stage", [2, 3])
def test_what_a_launcher_writes_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: int) -> None:
    file = tmp_path / "zero.json"
    file.write_text(json.dumps(zero.configuration(stage)))
    for name, value in zero.environment(file).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(zero, "find_spec", lambda name: object())
    monkeypatch.setenv("WORLD_SIZE", "2")
    with zero.taken_over() as asked:
        assert asked == zero.configuration(stage)
        assert zero.ASKED not in os.environ  # accelerate would take another way
    assert os.environ[zero.ASKED] == "true"


def test_nothing_is_asked_without_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(zero.ASKED, raising=False)
    with zero.taken_over() as asked:
        assert asked is None


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(zero.ASKED, "true")
    monkeypatch.setattr(zero, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"seelevel\[deepspeed\]"), zero.taken_over():
        pass


def changed(stage: int, name: str, value: Any) -> dict[str, Any]:
    configuration = zero.configuration(stage)
    *folders, key = name.split(".")
    place = configuration
    for folder in folders:
        place = place.setdefault(folder, {})
    place[key] = value
    return configuration


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("zero_optimization.stage", 1),
        ("optimizer", {"type": "AdamW"}),
        ("scheduler", {"type": "WarmupLR"}),
        ("zero_optimization.offload_param", {"device": "cpu"}),
        ("gradient_accumulation_steps", 4),
        ("bf16.enabled", True),
        ("zero_optimization.stage3_max_reuse_distance", 10**9),
        ("gradient_clipping", 0.5),
    ],
)
def test_a_file_that_would_change_the_training_is_refused(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=name):
        zero.check(changed(3, name, value), "my.json")


@pytest.mark.parametrize("given", [[], {}, {"zero_optimization": 3}, "text"])
def test_a_file_of_another_shape_is_refused(given: Any) -> None:
    with pytest.raises(InputError, match=r"zero_optimization\.stage"):
        zero.check(given, "my.json")


def test_a_file_may_set_what_the_training_does_not_depend_on() -> None:
    zero.check(changed(2, "zero_optimization.reduce_bucket_size", 10**6), "my.json")
    zero.check(changed(2, "wall_clock_breakdown", True), "my.json")


def test_weights_that_deepspeed_would_round_otherwise_are_refused() -> None:
    for dtype, adapters in (("float64", False), ("float64", True), ("bfloat16", False)):
        with pytest.raises(InputError, match="dtype"):
            zero.check_dtype(dtype, adapters)
    zero.check_dtype("bfloat16", adapters=True)
    zero.check_dtype("float32", adapters=False)


def test_the_configuration_needs_neither_torch_nor_deepspeed() -> None:
    script = "import sys, seelevel.training.zero; print(sorted({'torch', 'deepspeed'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.skipif(find_spec("deepspeed") is None, reason="DeepSpeed is not installed")
@pytest.mark.parametrize("stage", [2, 3])
def test_deepspeed_reads_the_configuration(stage: int) -> None:
    script = (
        "import os, sys, json; os.environ['DS_ACCELERATOR'] = 'cpu'\n"
        "from deepspeed.runtime.config import DeepSpeedConfig\n"
        "given = json.loads(sys.argv[1]) | {'train_batch_size': 4, 'train_micro_batch_size_per_gpu': 4}\n"
        "read = DeepSpeedConfig(given | {'gradient_clipping': 1.0})\n"
        "zero = read.zero_config; print(zero.stage, zero.prefetch_bucket_size, zero.max_reuse_distance)"
    )
    given = json.dumps(zero.configuration(stage))
    done = subprocess.run([sys.executable, "-c", script, given], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    stage_read, prefetched, kept = done.stdout.split()[-3:]
    assert int(stage_read) == stage
    if stage == 3:
        assert (prefetched, kept) == ("0", "0")
