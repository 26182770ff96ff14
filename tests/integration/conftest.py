"""Real servers that several integration tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from infra.local.mlflow_server import start_mlflow
from infra.local.processes import free_port


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The tracking URL of a real MLflow server. Give each test its own model name.

    While you write tests, one running server saves its start of about 15 s:
    `python -m infra.local.mlflow_server /tmp/warm 5999 &`, then
    `RATCHET_TEST_MLFLOW=http://127.0.0.1:5999 pytest …`.
    """
    if warm := os.environ.get("RATCHET_TEST_MLFLOW"):
        yield warm
        return
    program, url = start_mlflow(tmp_path_factory.mktemp("mlflow"), free_port())
    yield url
    program.stop()
