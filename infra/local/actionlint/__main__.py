"""`python -m infra.local.actionlint [FILE…]`: checks GitHub's workflow files with actionlint.

Go builds actionlint once for every state of go.mod and go.sum beside this file, into the cache of
infra/local/kubernetes/build.py. A machine without Go skips the check and prints why. CI=true fails.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from infra.local.kubernetes.build import cache_folder
from infra.local.kubernetes.doctor import go_problems

MODULE = Path(__file__).parent
WORKFLOWS = Path(__file__).parents[3] / ".github" / "workflows"
PACKAGE = "github.com/rhysd/actionlint/cmd/actionlint"
_GO = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
_NO_OTHER_LINTERS = ("-shellcheck=", "-pyflakes=")
"""actionlint runs these two where they are installed. Every machine should give one answer."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the files, or every workflow; 0 when they are right or the check was skipped."""
    about = "Check GitHub's workflow files with actionlint."
    parser = argparse.ArgumentParser(prog="python -m infra.local.actionlint", description=about)
    parser.add_argument(
        "files", nargs="*", help="workflow files; every one of .github/workflows if none"
    )
    files = parser.parse_args(arguments).files
    if problems := go_problems():
        return _without_go(problems)
    try:
        program = build()
    except subprocess.CalledProcessError as problem:
        print(f"go build {PACKAGE} failed:\n{problem.stderr[-2000:]}", file=sys.stderr)
        return 1
    checked = files or [str(path) for path in sorted(WORKFLOWS.glob("*.y*ml"))]
    return subprocess.run([program, *_NO_OTHER_LINTERS, *checked], check=False).returncode


def program_path() -> Path:
    """Return where the program lies, or will."""
    digest = hashlib.sha256()
    for name in ("go.mod", "go.sum"):
        digest.update((MODULE / name).read_bytes())
    return cache_folder() / f"actionlint-{digest.hexdigest()[:16]}"


def build() -> Path:
    """Build the program when it is missing, and return where it lies.

    Raises:
        CalledProcessError: Go failed; `stderr` says why.
    """
    program = program_path()
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        partial = program.with_name(f".{program.name}.{os.getpid()}")
        command = ["go", "build", "-trimpath", "-buildvcs=false", "-o", str(partial), PACKAGE]
        go = {**os.environ, **_GO}
        subprocess.run(command, cwd=MODULE, env=go, capture_output=True, text=True, check=True)
        partial.rename(program)
    return program


def _without_go(problems: Sequence[str]) -> int:
    lacks = "; ".join(problems)
    reason = f"actionlint did not check the workflows. This machine lacks {lacks}"
    if os.environ.get("CI") == "true":
        print(f"error: {reason}", file=sys.stderr)
        return 1
    print(f"skipped: {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
