"""Runs the programs that images are made with; a missing one is said with how to get it."""

from __future__ import annotations

import shutil
import subprocess

PACKAGES = {"buildah": "buildah", "mmdebstrap": "mmdebstrap", "git": "git"}


class ProgramFailed(RuntimeError):
    """A program is missing or ended with an error; the message says which, and what it said last."""


def run(*command: str) -> None:
    """Run to the end.

    Raises:
        ProgramFailed: It is missing, or failed.
    """
    said(*command)


def said(*command: str) -> str:
    """Return what a program wrote to stdout.

    Raises:
        ProgramFailed: It is missing, or failed.
    """
    if shutil.which(command[0]) is None:
        package = PACKAGES.get(command[0])
        raise ProgramFailed(
            f"{command[0]} is missing" + (f": apt-get install {package}" if package else "")
        )
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ProgramFailed(
            f"{' '.join(command[:3])} … ended with {done.returncode}:\n{done.stderr.strip()[-3000:]}"
        )
    return done.stdout.strip()
