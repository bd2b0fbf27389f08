"""What every test stands on: a cache of its own, so that none reads what another run has kept."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_session(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:  # for what fixtures of modules run
        patch.setenv("SEELEVEL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _cache_of_the_test(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SEELEVEL_CACHE", str(tmp_path_factory.mktemp("cache")))
