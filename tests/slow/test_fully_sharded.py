"""FSDP2 shards a policy over two processes: log-probs and gradients are those of one process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def shard(tmp_path):
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "tests.slow.shard_once"]
    done = subprocess.run(
        [sys.executable, *command, str(tmp_path), str(tmp_path / "out.safetensors")],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return load_file(tmp_path / "out.safetensors")


def test_a_sharded_policy_computes_what_a_whole_one_does(tmp_path):
    result = shard(tmp_path)
    assert (result["values"] - result["together"]).abs().max() <= 1e-9
    ends = {kind: {n: g for n, g in result.items() if n.startswith(kind)} for kind in ("sharded ", "whole ")}
    assert {n.split()[1] for n in ends["sharded "]} == {n.split()[1] for n in ends["whole "]}
    one, other = (torch.cat([part[n].flatten() for n in sorted(part)]) for part in ends.values())
    assert (one - other).norm() <= 1e-6 * other.norm()
