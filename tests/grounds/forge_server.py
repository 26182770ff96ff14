"""A real forge for tests: `python -m infra.local.forge` over a bare repository in a folder."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from infra.local.forge.app import seed
from infra.local.processes import Program, free_port, start, wait_until_answers

REPOSITORY = "acme/ratchet"
TOKEN = "a-token-of-the-test"
REVIEWER_TOKEN = "a-person-of-the-test"
ROOT = Path(__file__).parents[2]


def start_forge(
    folder: Path, *, files: Mapping[str, bytes] | None = None, port: int | None = None
) -> tuple[Program, str, str, str]:
    """Start one over `folder`; an empty repository gets a main that holds `files` (none: a README).

    Returns:
        The program (stop it), the REST root, the address for git, and the token that both take.
    """
    seed(folder, files or {"README.md": b"# Production\n"})
    port = port or free_port()
    command = [
        sys.executable,
        "-m",
        "infra.local.forge",
        "--repository",
        REPOSITORY,
        "--folder",
        str(folder),
        "--port",
        str(port),
    ]
    program = start(
        "forge",
        command,
        log=folder.with_name(f"{folder.name}.log"),
        env={"FORGE_TOKEN": TOKEN, "FORGE_REVIEWER_TOKEN": REVIEWER_TOKEN},
        cwd=ROOT,
    )
    root = f"http://127.0.0.1:{port}"
    wait_until_answers(program, root)
    return program, f"{root}/api/v3", f"{root}/{REPOSITORY}.git", TOKEN
