"""Shards on a Ray cluster: the same files as in one process, whoever dies, and no reply is paid for twice."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seelevel.engine import each_job, engine_of
from seelevel.engine.settings import EngineSettings
from seelevel.errors import InputError, ServerError
from seelevel.generate import run
from seelevel.generate.settings import ExpertsSettings
from seelevel.models.base import ApiSettings, ModelRef, Sampling
from seelevel.models.server.spending import LEDGER
from seelevel.pipeline import Run
from seelevel.recipe import load_recipe
from seelevel.store import StageFolder, shards
from tests.engine.instant import last_dies_once, outlasts_the_other_worker, write_prompts
from tests.models.faulty_server import serving

ray = pytest.importorskip("ray", reason="seelevel[ray] is not installed")
INSTANT = ModelRef("instant", "tests.engine.instant:Instant")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two raylets with two processors each, beside the driver's with none."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        made.add_node(num_cpus=2)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEELEVEL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def generated(source: Path, target: Path, *models: ModelRef) -> dict[str, bytes]:
    """The shards that `generate` writes, by name."""
    settings = ExpertsSettings(experts=[model.name for model in models], sampling=Sampling(max_new_tokens=10))
    stage = StageFolder(target, "f")
    stage.begin()
    run(source, stage, settings, models, source.parent, 0)
    return {path.name: path.read_bytes() for path in shards(target)}


def on(cluster: Any, **settings: Any) -> EngineSettings:
    return EngineSettings(name="ray", address=cluster.address, **settings)


def processes(kept: Path) -> set[int]:
    return {int(path.name.partition("-")[0]) for path in (kept / "calls").iterdir()}


def test_the_files_are_those_of_one_process(cluster: Any, kept: Path, tmp_path: Path) -> None:
    source = write_prompts(tmp_path / "data", shards=12, each=4)
    here = generated(source, tmp_path / "local", INSTANT, INSTANT)
    assert processes(kept) == {os.getpid()}
    (kept / "pause").write_text("0.05")
    with engine_of(on(cluster)):
        there = generated(source, tmp_path / "ray", INSTANT, INSTANT)
    assert there == here and len(here) == 12
    assert len(processes(kept) - {os.getpid()}) >= 4


def test_a_budget_holds_over_all_workers(cluster: Any, kept: Path, tmp_path: Path) -> None:
    source = write_prompts(tmp_path / "data", shards=8, each=8)
    with serving() as server, engine_of(on(cluster)):
        before = LEDGER.used()
        settings = ApiSettings(concurrency=2, prices={"m": (0.0, 1000.0)}, budget=0.2)
        model = ModelRef("served", f"{server.address}#m", settings)
        with pytest.raises(ServerError, match=r"the budget of 0.2 is too small for another call"):
            generated(source, tmp_path / "ray", model)
        spent = sum(usage.cost for usage in LEDGER.since(before).values())
    assert 0.1 < spent <= 0.2


def test_an_error_of_the_user_comes_back_as_it_is(cluster: Any, kept: Path, tmp_path: Path) -> None:
    source = write_prompts(tmp_path / "data", shards=2, each=1)
    with engine_of(on(cluster)), pytest.raises(InputError, match="nobody"):
        generated(source, tmp_path / "ray", ModelRef("nobody", str(tmp_path / "nobody")))


def test_another_worker_takes_the_last_shard_of_one_that_died(cluster: Any, kept: Path, tmp_path: Path) -> None:
    done: list[str] = []
    with engine_of(on(cluster, workers=2)):
        each_job(["last", "first"], last_dies_once(tmp_path), lambda job, _: done.append(job))
    assert done == ["first", "last"]


def test_a_worker_ends_when_no_shard_waits(cluster: Any, kept: Path, tmp_path: Path) -> None:
    """So that a machine can be taken back while others are still at work."""
    ended: dict[str, bool] = {}
    with engine_of(on(cluster, workers=2)):
        each_job(["long", "short"], outlasts_the_other_worker(tmp_path), ended.__setitem__)
    assert ended == {"long": True, "short": True}


def test_a_cluster_that_is_not_there_is_refused() -> None:
    ray.shutdown()
    with (
        pytest.raises(InputError, match=r"the Ray cluster 127.0.0.1:9 cannot be reached"),
        engine_of(EngineSettings(name="ray", address="127.0.0.1:9")),
    ):
        each_job([1], lambda: print, print)


@pytest.mark.unit
def test_without_jobs_nothing_starts() -> None:
    each_job([], lambda: pytest.fail("it started"), print)


@pytest.mark.slow
def test_a_recipes_run_on_a_cluster_of_this_machine_writes_what_one_process_writes(kept: Path, tmp_path: Path) -> None:
    """Generate, check and the answers of evaluate, with the world's models; the cluster is started and ended."""
    given = ["data.limit=130", "evaluate.limit=6", "align.epochs=1", "generate.experts=[world:s]"]
    for engine in ("local", "ray"):
        Run(load_recipe("world-quick", [*given, f"engine={engine}"]), tmp_path / engine).everything()
    names = ["generate/shard-00001.parquet", "check/shard-00000.parquet", "check/shard-00001.parquet", "metrics.json"]
    names += ["evaluate/base/chair.jsonl", "evaluate/aligned/chair.jsonl"]
    for name in names:
        assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "local" / name).read_bytes(), name
    assert not ray.is_initialized()
