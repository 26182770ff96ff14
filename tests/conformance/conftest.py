"""Real servers that conformance suites run on."""

from tests.integration.conftest import mlflow_server

__all__ = ["mlflow_server"]
