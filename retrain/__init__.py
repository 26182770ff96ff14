"""Retrain: rows of a sliding window become a registered challenger."""

import os

# onnxruntime reports to its maker unless this is set before it is loaded
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
