"""Retrain: rows of a sliding window become a registered challenger."""

import os

__version__ = "0.1.0"
"""Of Ratchet: of the wheel and of every image. `pyproject.toml` has the same."""

# onnxruntime reports to its maker unless this is set before it is loaded
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def main() -> None:
    """Run the command `retrain`, or say how to install its libraries."""
    try:
        from retrain.cli import app  # noqa: PLC0415 - `import retrain` must need no library

        app()
    except ModuleNotFoundError as missing:
        advice = 'pip install "ratchet[retrain]"'
        raise SystemExit(
            f"{missing.name} is not installed. Install all libraries: {advice}"
        ) from None
