"""What every test stands on: a cache of its own, so that none reads what another run has kept; and a processor that is
the same for all libraries."""

import fcntl
import os
import tempfile
from pathlib import Path

import pytest

if os.environ.get("ATEN_CPU_CAPABILITY") in ("default", "avx2"):
    # Told to use no AVX-512, torch still asks oneDNN about the processor, and packs bfloat16 in a way it then refuses.
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_session(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:  # for what fixtures of modules run
        patch.setenv("SEELEVEL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _cache_of_the_test(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SEELEVEL_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def one_cluster():
    """Workers of the tests that start Ray wait for each other: its clusters disturb one another on a machine."""
    with (Path(tempfile.gettempdir()) / f"seelevel-tests-ray-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
