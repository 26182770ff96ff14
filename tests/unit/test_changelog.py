"""CHANGELOG.md has the form of Keep a Changelog, which programs and people read alike."""

import re
from pathlib import Path

TEXT = (Path(__file__).parents[2] / "CHANGELOG.md").read_text(encoding="utf-8")
SECTIONS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
RELEASE = r"\[Unreleased\]|\[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}"


def releases() -> list[tuple[str, str]]:
    """The heading and the text of each release."""
    pieces = re.split(r"^## (.*)$", TEXT, flags=re.MULTILINE)[1:]
    return list(zip(pieces[::2], pieces[1::2], strict=True))


def test_unreleased_comes_first_and_every_release_has_a_version_and_a_date() -> None:
    headings = [heading for heading, _ in releases()]
    assert headings[0] == "[Unreleased]"
    assert [heading for heading in headings if not re.fullmatch(RELEASE, heading)] == []


def test_each_section_stands_once_in_a_release_and_in_order() -> None:
    for heading, text in releases():
        named = re.findall(r"^### (.*)$", text, flags=re.MULTILINE)
        assert named == [section for section in SECTIONS if section in named], heading


def test_every_line_stands_in_a_section() -> None:
    for heading, text in releases():
        before_sections = text.split("### ", 1)[0]
        assert "- " not in before_sections, heading
