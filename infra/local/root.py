"""Where the files are that our programs start with, beside their own code."""

from __future__ import annotations

from pathlib import Path

_AROUND = Path(__file__).parents[2]
_WHEEL = _AROUND / "ratchet_template"
ROOT = _WHEEL if _WHEEL.is_dir() else _AROUND
"""This repository; of an installed wheel the copy of some of its files (setup.py)."""
