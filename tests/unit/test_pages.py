"""What the pages mention exists: links, files and tests in backticks, states of a promotion."""

import re
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

from promote.contract import State, WaitsFor

ROOT = Path(__file__).parents[2]
DOCS = sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))
PAGES = [*sorted(page.name for page in ROOT.glob("*.md")), *DOCS]
FOLDERS = (
    ".ci",
    ".github",
    "client_api",
    "dags",
    "docs",
    "examples",
    "gitops",
    "infra",
    "promote",
    "retrain",
    "serving",
    "tests",
)
WRITTEN_BY_READERS = {".github/CODEOWNERS"}
"""`docs/production.md` asks the reader to write these."""


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def prose_of(text: str) -> str:
    """The text without its code blocks."""
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def broken_links(page: str, text: str) -> list[str]:
    """Relative links of a page that lead to no file, or to a heading that its page lacks."""
    links = re.findall(r"\]\((?![a-z]+:)([^)\s]+)\)", prose_of(text))
    return [link for link in links if not leads_somewhere(page, text, link)]


def leads_somewhere(page: str, text: str, link: str) -> bool:
    path, _, heading = link.partition("#")
    target = (ROOT / page).parent / path
    if path and not target.exists():
        return False
    if not heading:
        return True
    content = target.read_text(encoding="utf-8") if path else text
    return heading in {anchor_of(line) for line in re.findall(r"^#+ (.+)$", content, re.MULTILINE)}


def anchor_of(heading: str) -> str:
    """The name that GitHub gives a heading.

    >>> anchor_of("Images, and `registries`")
    'images-and-registries'
    """
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def missing_files(text: str) -> list[str]:
    """Files and tests of this repository that a text names in backticks and that are not there."""
    named = re.findall(r"`([^`\s]+)`", prose_of(text))
    paths = [name for name in named if looks_like_a_file(name) and name not in WRITTEN_BY_READERS]
    return [name for name in paths if not is_there(name)]


def looks_like_a_file(name: str) -> bool:
    """True for a path below one of our folders, and for the bare name of a module or page.

    A path with a placeholder such as `<model>` or `…` names no single file.
    """
    if re.search(r"[<>…$(){}=@]", name):
        return False
    is_module_or_page = re.fullmatch(r"[\w-]+\.(py|md)", name) is not None
    return is_module_or_page or name.startswith(tuple(f"{folder}/" for folder in FOLDERS))


def is_there(name: str) -> bool:
    path, _, test = name.partition("::")
    found = list(ROOT.glob(path)) if "/" in path else files_called(path)
    if not test:
        return bool(found)
    return any(f"def {test}(" in file.read_text(encoding="utf-8") for file in found)


def files_called(name: str) -> list[Path]:
    here = [ROOT / name] if (ROOT / name).exists() else []
    return here + [file for folder in FOLDERS for file in (ROOT / folder).rglob(name)]


def section(text: str, heading: str) -> str:
    """What stands between a heading and the next one."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.DOTALL | re.MULTILINE)
    assert found, f"there is no heading {heading!r}"
    return found[1]


def first_cells(text: str) -> list[str]:
    """The terms in backticks that begin the rows of a table, without its head."""
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_leads_to_a_file_and_a_heading(page: str) -> None:
    assert broken_links(page, text_of(page)) == []


@pytest.mark.parametrize("page", PAGES)
def test_every_file_and_test_that_a_page_names_is_there(page: str) -> None:
    assert missing_files(text_of(page)) == []


@pytest.mark.parametrize("page", DOCS)
def test_no_page_refers_to_a_page_that_is_not_in_the_repository(page: str) -> None:
    pages = set(re.findall(r"\b[\w-]+\.md\b", text_of(page)))
    assert [name for name in pages if not files_called(name)] == []


@pytest.mark.parametrize(
    ("heading", "values"),
    [("States of a promotion", State), ("What a promotion waits for", WaitsFor)],
)
def test_the_words_of_a_promotion_are_those_of_the_code(heading: str, values: object) -> None:
    explained = first_cells(section(text_of("docs/words.md"), heading))
    assert sorted(explained) == sorted(get_args(values))


def test_the_states_are_in_the_order_in_which_they_are_tried() -> None:
    """The contract lists them in that order; tests/unit/promote/loop/test_lifecycle.py compares."""
    states = first_cells(section(text_of("docs/words.md"), "States of a promotion"))
    assert states == list(get_args(State))


def test_every_word_is_explained_once_and_in_the_order_of_the_alphabet() -> None:
    text = text_of("docs/words.md")
    line = re.compile(r"^- \*\*(.+?)\*\*:", re.MULTILINE)
    groups = [line.findall(group) for group in text.split("\n## ")]
    counted = Counter(word for group in groups for word in group)
    assert [word for word, times in counted.items() if times > 1] == []
    assert len(counted) > 100
    for words in groups:
        assert words == sorted(words, key=str.lower)


def test_what_is_not_there_is_found() -> None:
    text = (
        "[a](gone.md) [b](#no-such-heading) [c](#here) [d](https://example.org/gone.md)\n# Here\n"
        "`promote/gone.py` `gone.py` `gate.py` `promote/<name>.py`\n"
        "`tests/unit/test_pages.py::test_gone`\n"
        "```\n[e](gone.md) `promote/gone.py`\n```\n"
    )
    assert broken_links("README.md", text) == ["gone.md", "#no-such-heading"]
    gone = "tests/unit/test_pages.py::test_gone"
    assert missing_files(text) == ["promote/gone.py", "gone.py", gone]
