"""What README and CONTRIBUTING name exists: the example is a model, commands and targets are there, links lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from promote.cli import app as promote_app
from retrain.cli import app as retrain_app
from retrain.spec import parse_spec

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", "DECISIONS.md", "CHANGELOG.md", "gitops/README.md", "docs/production.md", "infra/local/kubernetes/README.md")
APPS = {"retrain": retrain_app, "promote": promote_app}


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The README's code blocks in a language."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", text_of("README.md"), re.DOTALL | re.MULTILINE)
    return [block for name, block in found if name == language]


def commands() -> list[str]:
    """Lines of code blocks that begin with one of our commands."""
    return [line for block in blocks("") for line in block.splitlines() if line.startswith(tuple(f"{name} " for name in APPS))]


def test_the_whole_model_file_of_the_readme_has_no_mistakes() -> None:
    (example,) = blocks("yaml")
    spec = parse_spec(example, path="README.md", query_text="SELECT 1")
    assert spec.name == "baggage-lost"
    assert spec.window_months == 3
    assert set(spec.techniques) == {"boosted_trees", "logistic"}


@pytest.mark.parametrize("line", commands())
def test_every_command_of_the_readme_parses(line: str) -> None:
    words = shlex.split(line, comments=True)
    app, subcommand = APPS[words[0]], words[1]
    shown = CliRunner().invoke(app, [subcommand, "--help"])
    assert shown.exit_code == 0, shown.output
    for option in (word for word in words if word.startswith("--")):
        assert option in shown.output


def test_the_readme_shows_commands() -> None:
    assert len(commands()) >= 6


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
