"""The model registry: a port and its implementation on MLflow."""
