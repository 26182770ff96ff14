"""Which URLs name a model registry; what a registry does is in the conformance suite."""

from __future__ import annotations

import subprocess
import sys

import pytest

from promote.errors import ModelRegistryRefused
from promote.registry.mlflow import open_model_registry


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:5000",
        "sqlite:///mlflow.db",
        "file:///srv/mlruns",
        "/srv/mlruns",
        "databricks",
        "http://",
        "https:///x",
    ],
)
def test_a_url_that_is_no_server_says_what_is(url: str) -> None:
    with pytest.raises(
        ModelRegistryRefused,
        match=r"PROMOTE_TRACKING_URL should be .*such as http://127\.0\.0\.1:5000",
    ):
        open_model_registry(url)


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(ModelRegistryRefused, match="MLFLOW_TRACKING_PASSWORD") as caught:
        open_model_registry("http://ratchet:hunter2@mlflow.example")
    assert "hunter2" not in str(caught.value)


def test_the_port_is_known_without_importing_mlflow() -> None:
    program = "import sys, promote.registry.port; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
