"""A full disk loses nothing: one line, exit 1, and the same end once there is space."""

import os
import re
import subprocess

import pytest

from tests.slow import running

pytestmark = pytest.mark.slow
QUICK = ["run", "world-quick", "--set", "data.limit=48", "--set", "evaluate.limit=12"]


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", place]).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_is_one_line_and_more_space_ends_as_an_unbroken_run(small_disk, tmp_path):
    out = small_disk / "run"
    seen = set()
    for size in ("1m", "2m", "3m", "5m", "8m", "12m"):
        subprocess.run(["mount", "-o", f"remount,size={size}", small_disk], check=True)
        code, output = running.finish([*QUICK, "--out", out])
        if code == 0:
            break
        assert code == 1, output
        assert "Traceback" not in output
        line = output.strip().splitlines()[-1]
        assert re.search(rf"disk full: {small_disk}\S* needs [\d,]+ more bytes", line), output
        seen.add(running.stage_at_work(out))
    assert seen, "the first size was not too small"
    subprocess.run(["mount", "-o", "remount,size=500m", small_disk], check=True)
    assert running.finish([*QUICK, "--out", out])[0] == 0
    assert running.finish([*QUICK, "--out", tmp_path / "plain"])[0] == 0
    assert running.differences(running.outcome(out), running.outcome(tmp_path / "plain")) == []
