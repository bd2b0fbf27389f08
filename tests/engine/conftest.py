"""Most tests here start a cluster."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def _one_cluster(one_cluster):
    """Waits for other workers' clusters to end."""
