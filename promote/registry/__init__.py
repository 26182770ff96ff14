"""The model registry: a port, and MLflow behind the port."""

import retrain.runs  # noqa: F401 - sets the client's settings before MLflow is imported
