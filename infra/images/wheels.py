"""Fetches the wheels that a lock names, once for each state of the lock. Every file's hash is the lock's; no source is ever built."""

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
        ProgramFailed: No fitting pip is there, or a wheel is not to be had with the lock's hash.
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
    """Return a Python of the base's version that has pip: wheels are chosen for the Python that asks."""
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
        f"no Python {PYTHON} with pip is here, and the base has {PYTHON}: make setup PYTHON=python{PYTHON}"
    )
