"""What the pages show exists: the example is a model, commands parse, links lead somewhere."""

import argparse
import importlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.main import get_command

from promote.cli import app as promote_app
from retrain.cli import app as retrain_app
from retrain.spec.model_file import parse_spec

ROOT = Path(__file__).parents[2]
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "DECISIONS.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "gitops/README.md",
    "docs/production.md",
    "infra/local/kubernetes/README.md",
)
GUIDES = (
    *("README.md", "CONTRIBUTING.md", "gitops/README.md", "infra/local/kubernetes/README.md"),
    *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")),
)
"""Pages whose commands a reader types today."""
APPS = {"retrain": get_command(retrain_app), "promote": get_command(promote_app)}
USAGE_ERROR: Any = typer.BadParameter.__base__  # typer exports its children only


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The README's code blocks in a language."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", text_of("README.md"), re.DOTALL | re.MULTILINE)
    return [block for name, block in found if name == language]


class Parsed(Exception):
    """A program has read its options; it must do nothing."""


def commands_of(text: str) -> list[str]:
    """Our commands in a page: in code blocks, in backticks, and those that a pod runs."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    lines = [line for block in fenced for line in block.splitlines()] + re.findall(
        r"^ {4}(\S.*)", prose, re.MULTILINE
    )
    code = [*lines, *re.findall(r"`([^`\n]+)`", prose)]
    starts = r"(?:retrain|promote|make|(?:\.venv/bin/)?python -m (?:infra|tests)\.\S+)"
    found = [re.match(rf"(?:kubectl .* -- )?({starts}(?: .+)?)$", piece.strip()) for piece in code]
    return [match[1] for match in found if match and " " in match[1]]


def parse(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read a command's words as its program would, and do nothing else.

    Raises:
        Exception: A word is wrong; the kind depends on the program.
    """
    words = shlex.split(command, comments=True)
    if words[0] in APPS:
        parse_ours(words)
    elif words[0] == "make":
        parse_make(words[1:], monkeypatch)
    else:
        parse_module(words[2], words[3:], monkeypatch)


def parse_ours(words: Sequence[str]) -> None:
    program = APPS[words[0]]
    context = program.make_context(words[0], list(words[1:]))
    name, command, rest = program.resolve_command(context, list(words[1:]))
    if len(words) > 2 or not any(parameter.required for parameter in command.params):
        command.make_context(name, rest)  # else prose names the command and no more


def parse_make(words: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask make what it would run; parse the programs of ours among that."""
    makefile = (ROOT / "Makefile").read_text()
    for variable in (word.partition("=")[0] for word in words if "=" in word):
        assert f"$({variable})" in makefile, f"the Makefile reads no {variable}"
    env = {
        name: value
        for name, value in os.environ.items()
        if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")
    }
    asked = ["make", "--dry-run", "--old-file=.venv/.ready", "--old-file=.uv/bin/uv", *words]
    would_run = subprocess.run(
        asked, cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert would_run.returncode == 0, would_run.stderr
    for line in would_run.stdout.splitlines():
        if re.match(r"\.venv/bin/python -m (infra|tests)\.", line):
            parse(line, monkeypatch)


def parse_module(module: str, words: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    spec = find_spec(module)
    assert spec is not None, f"there is no {module}"
    name = f"{module}.__main__" if spec.submodule_search_locations else module
    original = argparse.ArgumentParser.parse_args

    def parse_and_stop(self: argparse.ArgumentParser, *given: Any) -> None:
        original(self, *given)
        raise Parsed

    with monkeypatch.context() as patched:
        patched.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
        patched.setattr(sys, "argv", [module, *words])
        with pytest.raises(Parsed):
            importlib.import_module(name).main()


def test_the_whole_model_file_of_the_readme_has_no_mistakes() -> None:
    example, regression = blocks("yaml")
    spec = parse_spec(example, path="README.md", query_text="SELECT 1")
    assert spec.name == "baggage-lost"
    assert spec.window_months == 3
    assert set(spec.techniques) == {"boosted_trees", "logistic"}
    other = {**yaml.safe_load(example), **yaml.safe_load(regression)}
    spec = parse_spec(yaml.safe_dump(other), path="README.md", query_text="SELECT 1")
    assert (spec.answer.name, spec.gate.metric) == ("delay", "mae")


ALL = [(page, command) for page in GUIDES for command in commands_of(text_of(page))]


@pytest.mark.parametrize(
    ("page", "command"), ALL, ids=[f"{page}: {command}" for page, command in ALL]
)
def test_every_command_of_a_page_parses(
    page: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert page
    parse(command, monkeypatch)


@pytest.mark.parametrize(
    "command",
    [
        "promote explane flight-delay 8",
        "promote explain flight-delay eight",
        "promote explain flight-delay 8 9",
        "promote rollback flight-delay --raeson x",
        "promote rollback flight-delay",
        "retrain plan flight-delay --ned 2026-11-16",
        "make dmeo",
        "make demo ARGS=--exitt",
        "make demo CLUSTR=kubernetes",
        "make demo CLUSTER=kubernets",
        "make bench ARGS=bench_acu",
        "make images ARGS=serwing",
        "python -m infra.imagess build",
        "python -m infra.images build --pusch REGISTRY/ratchet",
    ],
)
def test_a_misspelled_command_does_not_parse(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises((USAGE_ERROR, AssertionError, SystemExit, ModuleNotFoundError)):
        parse(command, monkeypatch)


def test_a_cluster_of_the_shell_does_not_reach_the_demo() -> None:
    words = ["make", "--dry-run", "--old-file=.venv/.ready", "--old-file=.uv/bin/uv", "demo"]
    env = {**os.environ, "CLUSTER": "the-shells-own", "MAKEFLAGS": ""}
    for given, expected in ([], "process"), (["CLUSTER=kubernetes"], "kubernetes"):
        done = subprocess.run(
            [*words, *given], cwd=ROOT, env=env, capture_output=True, text=True, check=True
        )
        assert f"--cluster {expected}" in done.stdout


def test_commands_are_found_in_every_kind_of_code() -> None:
    block = "```sh\nretrain check --data\nkubectl exec x -- promote status --json\n```\n"
    page = f"Say `promote status`.\n\n    make demo\n\n{block}"
    assert commands_of(page) == [
        "retrain check --data",
        "promote status --json",
        "make demo",
        "promote status",
    ]
    assert {"README.md", "CONTRIBUTING.md", "gitops/README.md", "docs/production.md"} <= {
        page for page, _ in ALL
    }


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_that_a_page_names_is_in_the_makefile_and_its_help(page: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    documented = set(re.findall(r"^([a-z0-9-]+):.*## ", makefile, re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z][a-z0-9-]*)", text_of(page), re.MULTILINE))
    assert named <= documented


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_leads_to_a_file(page: str) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)]+)\)", text_of(page))
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []


def test_every_folder_of_the_layout_is_there() -> None:
    folders = re.findall(r"^\| `([a-z_]+)/` \|", text_of("README.md"), re.MULTILINE)
    assert len(folders) >= 8
    assert all((ROOT / folder).is_dir() for folder in folders)
