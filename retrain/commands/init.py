"""`retrain init`: writes a user's repository: gitops/, the gate's workflow, and no model yet.

The files are those of this version: in a checkout the repository's own, else the wheel's copy.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NoReturn

import typer

from retrain.commands.terminal import EXIT_FAILED, EXIT_USAGE, say
from retrain.spec.model_file import published_schema

COPIED = (
    ".github/gate.py",
    ".github/workflows/gate.yaml",
    "gitops/clusters/**/*.yaml",
    "gitops/models/base/*.yaml",
    "gitops/models/release/*.yaml",
    "gitops/platform/**/*.yaml",
)
"""setup.py puts these files into the wheel, in the folder `ratchet_template`."""
_THEIRS = {".demo", ".git", ".gitignore", "CHANGELOG.md", "LICENSE", "README.md"}
"""What a repository may have beside our files: a forge makes some of them."""
_OURS = {".github", "CODEOWNERS", "dags", "gitops"}
_OWNERS = """\
# The ruleset asks for an approval by one of these. A status can be set by whoever may push: this
# review is what protects production. Put your own team here, without the bot.
/dags/models/ @your-team
/gitops/ @your-team
/.github/ @your-team
/CODEOWNERS @your-team
"""
_NEXT = """\
Next:
1. Put your team into {folder}/CODEOWNERS.
2. git -C {folder} init --initial-branch main
   git -C {folder} add . && git -C {folder} commit --message Start
3. Name your warehouse and write a first model file:
   export RETRAIN_MODELS={folder}/dags/models RETRAIN_SOURCES='{{"warehouse": "duckdb:////…"}}'
   retrain new MODEL --query FILE.sql
4. On a laptop, from Ratchet's repository: make up REPO={folder}
   In production: docs/production.md, with this repository in place of acme/ratchet."""


def make_repository(folder: Path) -> None:
    """Write the missing files. Files that are there stay as they are, and are named when other."""
    try:
        _refuse_other_content(folder)
        written, other = _write_missing(folder.absolute())
    except OSError as error:
        say(f"{error.filename or folder} cannot be written or read ({error.strerror})")
        raise typer.Exit(EXIT_FAILED) from error
    for name in other:
        say(f"{name} differs from this version's file; yours stays")
    print(f"{folder}: {written} files written" if written else f"{folder}: nothing is missing")
    say(_NEXT.format(folder=folder.absolute()))


def template() -> dict[str, bytes]:
    """Return the files of a new repository, by path."""
    root = Path(__file__).parents[2]
    wheel = root / "ratchet_template"
    root = wheel if wheel.is_dir() else root
    paths = [path for pattern in COPIED for path in sorted(root.glob(pattern))]
    if not paths:
        _refuse("this installation has no files of a repository; install the wheel of Ratchet")
    schema = json.dumps(published_schema(), indent=2, ensure_ascii=False) + "\n"
    return {
        **{str(path.relative_to(root)): path.read_bytes() for path in paths},
        "CODEOWNERS": _OWNERS.encode(),
        "dags/models/model.schema.json": schema.encode(),
    }


def _refuse_other_content(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        _refuse(f"{folder} is a file; name a folder")
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if others := sorted(names - _THEIRS - _OURS):
        _refuse(
            f"{folder} has other content: {', '.join(others[:5])}. Name a new or an empty folder,"
            " or a repository that has a README only."
        )


def _write_missing(folder: Path) -> tuple[int, list[str]]:
    """Return how many files were written, and the names of those with another content."""
    written, other = 0, []
    files = template()
    if (folder / ".github/CODEOWNERS").exists():
        del files["CODEOWNERS"]  # a forge reads one of the two
    for name, content in files.items():
        path = folder / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            written += 1
        elif path.read_bytes() != content and name != "CODEOWNERS":
            other.append(name)
    return written, other


def _refuse(sentence: str) -> NoReturn:
    say(sentence)
    raise typer.Exit(EXIT_USAGE)
