"""The files that say "Pure" are the files that import-linter keeps pure."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SERVICES = ("retrain", "promote", "serving", "client_api", "infra")


def files_that_say_pure() -> Iterator[str]:
    """The modules whose docstring has the word "Pure"."""
    for service in SERVICES:
        for path in (ROOT / service).rglob("*.py"):
            docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            if re.search(r"\bPure\b", docstring):
                module = path.relative_to(ROOT).with_suffix("")
                yield ".".join(module.parts).removesuffix(".__init__")


def files_held_to_it() -> Iterator[str]:
    """The modules of the contracts whose name begins with "pure files"."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for contract in project["tool"]["importlinter"]["contracts"]:
        if contract["name"].startswith("pure files"):
            yield from contract["source_modules"]


def test_every_file_that_says_pure_is_in_the_pure_contract_and_no_other() -> None:
    say, held = set(files_that_say_pure()), set(files_held_to_it())
    assert say - held == set(), "add these files to the pure contract in pyproject.toml"
    assert held - say == set(), "these files are in the pure contract; their docstring must say so"
