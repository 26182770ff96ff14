"""Fetches the wheels of a lock, once for each state of the lock.

The lock has every file's hash. No wheel is built from source.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

from infra.images.debian import PYTHON
from infra.images.programs import ProgramFailed, run, said

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ROOT / "infra" / "locks"
WHEELS = ROOT / "build" / "wheels"
_MARK = ".lock-digest"


def fetch(group: str) -> Path:
    """Return the folder with all wheels of a lock.

    Raises:
        ProgramFailed: No fitting pip exists, or no wheel with the lock's hash is available.
    """
    lock, folder = LOCKS / f"{group}.txt", WHEELS / group
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    if (folder / _MARK).exists() and (folder / _MARK).read_text() == digest:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pip = (_python_with_pip(), "-m", "pip", "--disable-pip-version-check")
    run(
        *pip,
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--require-hashes",
        "--dest",
        str(folder),
        "--requirement",
        str(lock),
    )
    (folder / _MARK).write_text(digest)
    return folder


def _python_with_pip() -> str:
    """Return a Python of the base's version with pip. pip chooses wheels for its own Python."""
    question = "import sys, pip; print('%d.%d' % sys.version_info[:2])"
    for python in (
        str(ROOT / ".uv" / "bin" / "python"),
        "/usr/bin/python3",
        "python3",
        sys.executable,
    ):
        try:
            if said(python, "-c", question) == PYTHON:
                return python
        except ProgramFailed:
            continue
    raise ProgramFailed(
        f"the base has Python {PYTHON}, and this machine has no Python {PYTHON} with pip. "
        f"Run: make setup PYTHON=python{PYTHON}"
    )
