"""The demo trains in `shared`, whatever vector instructions its processor has."""

import json
import shutil
from pathlib import Path

import pytest

from .running import finish

pytestmark = pytest.mark.slow
RECIPE = ["world-amp-meg", "--set", "data.limit=160", "--set", "align.epochs=1"]  # 10 steps
FLAGS = {"default": set(), "avx2": {"avx2", "fma"}, "avx512": {"avx512f", "avx512bw", "avx512dq", "avx512vl"}}


def flags():
    """What this processor can do, as Linux names it; nothing on another system."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    return {flag for line in lines if line.startswith("flags") for flag in line.split()}


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """A run folder with everything that training needs."""
    out = tmp_path_factory.mktemp("demo") / "run"
    for stage in ("generate", "check"):
        code, output = finish([stage, *RECIPE, "--out", out])
        assert code == 0, output
    return out


@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize("capability", FLAGS)
def test_the_demo_trains_in_shared(checked, tmp_path, monkeypatch, capability, threads):
    if not FLAGS[capability] <= flags():
        pytest.skip(f"this processor lacks {', '.join(sorted(FLAGS[capability] - flags()))}")
    out = tmp_path / "run"
    shutil.copytree(checked, out)
    for name, value in {"ATEN_CPU_CAPABILITY": capability, "OMP_NUM_THREADS": threads}.items():
        monkeypatch.setenv(name, value)
    code, output = finish(["align", *RECIPE, "--out", out])
    assert code == 0, output
    assert "layout shared" in output
    assert json.loads((out / "align" / "training.json").read_text())["layout"] == "shared"
    first, *_ = (json.loads(line) for line in (out / "align" / "log.jsonl").read_text().splitlines())
    assert first["accuracy"] == pytest.approx(0.5)  # the policy is still the reference
