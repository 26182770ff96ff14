"""How a registry is opened; what a registry does is in the conformance suite."""

from __future__ import annotations

import subprocess
import sys

import pytest

from promote.errors import ModelRegistryRefused
from promote.registry.mlflow import open_model_registry


def test_an_empty_address_says_what_to_set() -> None:
    with pytest.raises(
        ModelRegistryRefused,
        match=r"PROMOTE_TRACKING_URL is empty.*such as http://127\.0\.0\.1:5000",
    ):
        open_model_registry("")


def test_the_port_is_known_without_importing_mlflow() -> None:
    program = "import sys, promote.registry.port; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
