"""A cluster that adds machines while workers wait for room, and takes them back when no shard needs them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from seelevel.engine import each_job, engine_of
from seelevel.engine.settings import EngineSettings
from tests.engine.instant import notes_its_machine

ray = pytest.importorskip("ray", reason="seelevel[ray] is not installed")


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A head without processors, and Ray's provider of pretended machines with one each: from one to three. Ray's
    `AutoscalingCluster` would stop every other cluster of this computer."""
    machine = {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 1, "max_workers": 3}
    head = {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}
    from ray._private.services import get_node_ip_address

    with socket.socket() as free:
        free.bind(("", 0))
        place = f"{get_node_ip_address()}:{free.getsockname()[1]}"
    provider = {"type": "fake_multinode", "gcs_address": place, "use_node_id_as_ip": True}
    provider |= {"disable_node_updaters": True, "disable_launch_config_check": True}
    config = {
        "cluster_name": "pretended",
        "max_workers": 3,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 0.05,
        "provider": provider,
        "available_node_types": {"machine": machine, "ray.head.default": head},
        "head_node_type": "ray.head.default",
        "auth": {},
        **{key: [] for key in ("setup_commands", "initialization_commands")},
        **{key: [] for key in ("head_setup_commands", "worker_setup_commands", "head_start_ray_commands")},
        "worker_start_ray_commands": [],
        "file_mounts": {},
        "cluster_synced_files": [],
        "rsync_exclude": [],
        "rsync_filter": [],
        "docker": {},
    }
    (tmp_path / "scaling.json").write_text(json.dumps(config))
    folder = tempfile.mkdtemp(prefix="r")  # sockets need a short path
    begin = [
        str(Path(sys.executable).parent / "ray"),
        "start",
        "--head",
        f"--port={place.rpartition(':')[2]}",
        "--num-cpus=0",
    ]
    begin += ["--include-dashboard=false", f"--temp-dir={folder}", "--disable-usage-stats"]
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    env = {**os.environ, "AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1"}
    subprocess.run([*begin, f"--autoscaling-config={tmp_path / 'scaling.json'}"], check=True, env=env)
    try:
        yield place
    finally:
        ray.shutdown()
        mine = [p for p in psutil.process_iter(["cmdline"]) if any(folder in word for word in p.info["cmdline"] or [])]
        for process in mine:
            process.kill()
        psutil.wait_procs(mine, 10)
        shutil.rmtree(folder, ignore_errors=True)


def machines() -> int:
    return int(ray.cluster_resources().get("CPU", 0))


@pytest.mark.slow
def test_a_cluster_grows_to_the_workers_of_the_settings_and_shrinks(address: str, tmp_path: Path) -> None:
    ray.init(address=address, logging_level="error")
    assert machines() <= 1
    most = []
    with engine_of(EngineSettings(name="ray", workers=3)):
        each_job(range(6), notes_its_machine(tmp_path), lambda *_: most.append(machines()))
    assert len(list(tmp_path.glob("machine-*"))) == max(most) == 3
    until = time.monotonic() + 60
    while machines() > 1 and time.monotonic() < until:
        time.sleep(0.5)
    assert machines() == 1
