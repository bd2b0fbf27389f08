"""Running the real command line in a process group of its own, and comparing what two runs left."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from seelevel import load_ladders

COMMAND = [str(Path(sys.executable).with_name("seelevel"))]
STAGES = ("data", "generate", "check", "align", "evaluate")


def start(arguments, **options):
    """The command line in a new process group."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        **options,
    )


def finish(arguments, **options):
    """Run to the end; returns (exit code, output)."""
    process = start(arguments, **options)
    output, _ = process.communicate()
    return process.returncode, output


def kill_after(arguments, seconds):
    """SIGKILL the whole process group after so many seconds; True if it was still at work."""
    end = time.monotonic() + seconds
    return kill_when(arguments, lambda: time.monotonic() >= end)


def kill_when(arguments, condition):
    """SIGKILL the whole process group as soon as a condition holds; True if it was still at work."""
    process = start(arguments)
    while process.poll() is None and not condition():
        time.sleep(0.002)
    alive = process.poll() is None
    if alive:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return alive


def holds(folder, name):
    """Whether a file or folder of that name is anywhere inside; folders that go while it looks are passed over."""
    return any(name in folders or name in files for _, folders, files in os.walk(folder))


def stage_at_work(out):
    """The first stage without a manifest, or 'report' when all have one."""
    for stage in STAGES:
        if not (out / stage / "manifest.json").exists():
            return stage
    return "report"


def outcome(out):
    """All that must not depend on how often a run was stopped: ladder rows, weights, curves, answers, metrics."""
    files = [*(out / "align").glob("model/*.safetensors"), *(out / "align").glob("adapter/*.safetensors")]
    files += [out / "align" / "log.jsonl", *sorted(out.glob("evaluate/*/*.jsonl"))]
    found = {str(path.relative_to(out)): path.read_bytes() for path in files}
    for stage in ("data", "generate", "check"):
        found[stage] = [relative(ladder, out) for ladder in load_ladders(out / stage)]
    found["metrics"] = json.loads((out / "metrics.json").read_text())
    return found


def relative(ladder, out):
    return repr(ladder).replace(str(out.resolve()), "")


def differences(a, b):
    """Names of what is not equal in two runs."""
    return sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))
