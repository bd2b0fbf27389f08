"""A wheel holds all that a run needs: unpacked alone, it runs a recipe from another folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def test_a_wheel_runs_a_recipe_from_another_folder(tmp_path):
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, ROOT], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", tmp_path / "site", wheel]
    subprocess.run(pip, check=True)
    (tmp_path / "elsewhere").mkdir()
    settings = ["--set", "data.limit=32", "--set", "evaluate.limit=10"]
    start = "import seelevel.cli; print(seelevel.__file__); seelevel.cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", start, "run", "world-quick", *settings],
        cwd=tmp_path / "elsewhere",
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path / "site"))
    assert (tmp_path / "elsewhere" / "runs" / "world-quick" / "report.html").exists()
