"""Runs the programs that build images. For a missing program the error says how to install it."""

from __future__ import annotations

import shutil
import subprocess

PACKAGES = {"buildah": "buildah", "mmdebstrap": "mmdebstrap", "git": "git"}


class ProgramFailed(RuntimeError):
    """A program is missing or failed. The message has its name and its last output."""


def run(*command: str) -> None:
    """Run a program to its end.

    Raises:
        ProgramFailed: The program is missing or failed.
    """
    said(*command)


def said(*command: str) -> str:
    """Return the output of a program.

    Raises:
        ProgramFailed: The program is missing or failed.
    """
    if shutil.which(command[0]) is None:
        package = PACKAGES.get(command[0])
        raise ProgramFailed(
            f"{command[0]} is missing" + (f": apt-get install {package}" if package else "")
        )
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ProgramFailed(
            f"{' '.join(command[:3])} … ended with {done.returncode}:\n"
            f"{done.stderr.strip()[-3000:]}"
        )
    return done.stdout.strip()
