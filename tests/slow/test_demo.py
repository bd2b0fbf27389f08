"""A wheel in a fresh environment runs the whole demo from another folder, and the demo keeps its promises."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
GIB = 2**30


class Memory(threading.Thread):
    """Peak resident bytes of a process and all its children, sampled five times a second."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.root, self.peak = psutil.Process(pid), 0

    def run(self):
        while True:
            try:
                tree = [self.root, *self.root.children(recursive=True)]
                self.peak = max(self.peak, sum(p.memory_info().rss for p in tree))
            except psutil.NoSuchProcess:
                return
            time.sleep(0.2)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo's run folder, its seconds and its peak memory."""
    place = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--outdir", place, ROOT], check=True, capture_output=True)
    (wheel,) = place.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", place / "venv"], check=True)
    begin = time.monotonic()
    pip = [place / "venv/bin/python", "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", wheel]
    installed = subprocess.run(pip, capture_output=True, text=True)
    assert installed.returncode == 0, installed.stderr
    install_seconds = time.monotonic() - begin
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    begin = time.monotonic()
    process = subprocess.Popen(
        [place / "venv/bin/seelevel", "run", "world-amp-meg"],
        cwd=elsewhere,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    memory = Memory(process.pid)
    memory.start()
    output, _ = process.communicate()
    assert process.returncode == 0, output
    seconds = time.monotonic() - begin
    print(output)
    print(f"install {install_seconds:.0f} s, run {seconds:.0f} s, peak {memory.peak / GIB:.2f} GiB")
    return elsewhere / "runs" / "world-amp-meg", output, install_seconds, seconds, memory.peak


def test_the_demo_ends_by_naming_its_report(demo):
    out, output, *_ = demo
    assert output.strip().splitlines()[-1] == f"report: {out / 'report.html'}"
    assert (out / "report.html").exists()


def test_the_demo_fits_its_time_and_memory(demo):
    *_, install_seconds, seconds, peak = demo
    assert install_seconds <= 240
    assert seconds <= 480
    assert peak <= 6 * GIB


def test_the_demo_invents_less_and_sees_as_much(demo):
    differences = json.loads((demo[0] / "metrics.json").read_text())["differences"]
    for name in ("chair_i", "chair_s"):
        assert differences[name]["high"] < 0, (name, differences[name])
    for name in ("chair_recall", "pope_f1"):
        assert differences[name]["high"] >= 0, (name, differences[name])
        assert differences[name]["value"] >= -0.01, (name, differences[name])
