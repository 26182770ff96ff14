"""Which URLs name a model registry, and which names a model may have; what a registry does is in the conformance suite."""

from __future__ import annotations

import subprocess
import sys

import pytest

from promote.errors import InvalidName, ModelRegistryRefused
from promote.model_registry import check_model_name, open_model_registry


@pytest.mark.parametrize("url", ["", "127.0.0.1:5000", "sqlite:///mlflow.db", "file:///srv/mlruns", "/srv/mlruns", "databricks", "http://", "https:///x"])
def test_a_url_that_is_no_server_says_what_is(url: str) -> None:
    with pytest.raises(ModelRegistryRefused, match=r"PROMOTE_TRACKING_URL should be .*such as http://127\.0\.0\.1:5000"):
        open_model_registry(url)


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(ModelRegistryRefused, match="MLFLOW_TRACKING_PASSWORD") as caught:
        open_model_registry("http://ratchet:hunter2@mlflow.example")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["a", "flight-delay", "v2", "x" * 40])
def test_a_name_that_a_spec_may_have_is_accepted(name: str) -> None:
    assert check_model_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a_b", "a.b", "..", "a/b", "2b", "x" * 41, "a\n", "a b", "é"])
def test_any_other_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidName, match="no model's name"):
        check_model_name(name)


def test_the_port_is_known_without_importing_mlflow() -> None:
    program = "import sys, promote.model_registry; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
