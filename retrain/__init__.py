"""Retrain: rows of a sliding window become a registered challenger."""

import os

__version__ = "0.1.0"
"""Of Ratchet: of the wheel and of every image. `pyproject.toml` has the same."""

# onnxruntime reports to its maker unless this is set before it is loaded
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
