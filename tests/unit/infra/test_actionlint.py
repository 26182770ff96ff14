"""Whether the workflows are checked: what happens without Go, and when Go cannot build."""

from pathlib import Path

import pytest

from infra.local.actionlint import __main__ as actionlint

NEW_GO = 'case "$1" in env) echo go1.99.0 ;; *) echo "no such module" >&2; exit 1 ;; esac'


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in PATH, and a cache without a program."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("RATCHET_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CI", raising=False)
    return folder


def put(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.mark.usefixtures("programs")
def test_a_machine_without_go_skips_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert actionlint.main([]) == 0
    assert capsys.readouterr().out.startswith("skipped: ")


@pytest.mark.usefixtures("programs")
def test_ci_without_go_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CI", "true")
    assert actionlint.main([]) == 1
    assert "https://go.dev/dl" in capsys.readouterr().err


def test_an_old_go_is_like_none(programs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(programs, "go", "echo go1.19.8")
    assert actionlint.main([]) == 0
    assert "found: go1.19.8" in capsys.readouterr().out


def test_a_failed_build_fails_with_what_go_said(
    programs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(programs, "go", NEW_GO)
    assert actionlint.main([]) == 1
    assert "no such module" in capsys.readouterr().err


def test_every_workflow_is_checked_and_the_answer_is_actionlints(
    programs: Path, tmp_path: Path
) -> None:
    put(programs, "go", NEW_GO)
    actionlint.program_path().parent.mkdir()
    put(tmp_path / "cache", actionlint.program_path().name, f'echo "$@" > {tmp_path}/asked; exit 3')
    assert actionlint.main([]) == 3
    asked = (tmp_path / "asked").read_text()
    assert all(f"/{name}.yaml" in asked for name in ("gate", "ci"))
