"""Recipes train in `shared`, whatever vector instructions the processor has and however many threads, also resumed."""

import itertools
import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from .running import finish, start

pytestmark = pytest.mark.slow
DEMO = ["world-amp-meg", "--set", "data.limit=160", "--set", "align.epochs=1"]  # 10 steps
QUICK = ["world-quick"]
FLAGS = {"default": set(), "avx2": {"avx2", "fma"}, "avx512": {"avx512f", "avx512bw", "avx512dq", "avx512vl"}}


def flags():
    """What this processor can do, as Linux names it; nothing on another system."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    return {flag for line in lines if line.startswith("flags") for flag in line.split()}


EACH = [
    pytest.param((capability, threads), marks=pytest.mark.everywhere if threads == "2" else ())
    for capability, threads in itertools.product(FLAGS, ("1", "2"))
]
"""With two threads beside another test a training takes five times as long, so `make everywhere` has these."""


@pytest.fixture(scope="module", params=EACH)
def processor(request):
    """The settings of an environment in which this processor acts as another."""
    capability, threads = request.param
    if not FLAGS[capability] <= flags():
        pytest.skip(f"this processor lacks {', '.join(sorted(FLAGS[capability] - flags()))}")
    return {"ATEN_CPU_CAPABILITY": capability, "OMP_NUM_THREADS": threads}


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """A run folder with everything that training needs, for each recipe."""
    folder = tmp_path_factory.mktemp("runs")
    for recipe in (DEMO, QUICK):
        for stage in ("generate", "check"):
            code, output = finish([stage, *recipe, "--out", folder / recipe[0]])
            assert code == 0, output
    return folder


@pytest.fixture
def run(checked, processor, tmp_path, monkeypatch):
    """Folders like `checked`, and an environment in which the processor acts as another."""
    shutil.copytree(checked, tmp_path / "runs")
    for name, value in processor.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "runs"


def layout(out):
    return json.loads((out / "align" / "training.json").read_text())["layout"]


def test_the_demo_trains_in_shared(run):
    out = run / DEMO[0]
    code, output = finish(["align", *DEMO, "--out", out])
    assert code == 0, output
    assert "layout shared" in output
    assert layout(out) == "shared"
    first, *_ = (json.loads(line) for line in (out / "align" / "log.jsonl").read_text().splitlines())
    assert first["accuracy"] == pytest.approx(0.5)  # the policy is still the reference


def test_a_killed_training_goes_on_in_shared(run):
    out = run / QUICK[0]
    process = start(["align", *QUICK, "--out", out])
    while process.poll() is None and not list(out.glob("align/checkpoints/checkpoint-*")):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (out / "align" / "training.json").exists()
    saved = max(out.glob("align/checkpoints/checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    code, output = finish(["align", *QUICK, "--out", out])
    assert code == 0, output
    assert "layout shared" in output and "layout: rows" not in output
    assert f"align: goes on from {saved.name}" in output
    assert layout(out) == "shared"
