"""Serving: the BentoML server that verifies one model folder and answers blocks of rows."""

import os

# onnxruntime reports to its maker unless this is set before it is loaded
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
