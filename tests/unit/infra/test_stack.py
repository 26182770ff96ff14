"""`make up`: what a user's repository must hold, what a second start keeps, and what is refused."""

import socket
import subprocess
from pathlib import Path

import pytest

from infra.local.forge.repository import Repository
from infra.local.stack.__main__ import main
from infra.local.stack.laptop import Laptop
from infra.local.stack.memory import Memory
from infra.local.stack.users_repository import NotUsable, checked_repository, send_main
from retrain.commands.init import template

SOURCES = '{"warehouse": "duckdb:////nowhere.duckdb"}'


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    command = ["git", "-C", str(folder), *who, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def commit(folder: Path, name: str) -> None:
    (folder / name).write_text(name)
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", name)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository by `retrain init` with one commit on main."""
    folder = tmp_path / "mine"
    for name, content in template().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    git(folder, "init", "--quiet", "--initial-branch", "main")
    commit(folder, "README.md")
    return folder


def test_a_port_and_a_secret_are_the_same_at_the_next_start_and_only_their_owner_reads_them(
    tmp_path: Path,
) -> None:
    first, second = Memory(tmp_path / "memory.json"), Memory(tmp_path / "memory.json")
    ports, secrets = [first.port("a"), first.port("b")], [first.secret("a"), first.secret("b")]
    assert [second.port("a"), second.port("b")] == ports
    assert [second.secret("a"), second.secret("b")] == secrets
    assert secrets[0] != secrets[1]
    assert (tmp_path / "memory.json").stat().st_mode & 0o077 == 0


def test_a_port_that_another_program_has_is_replaced_for_good(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "memory.json")
    with socket.create_server(("127.0.0.1", memory.port("a"))) as other:
        taken = other.getsockname()[1]
        assert memory.port("a") != taken
    assert memory.port("a") != taken


def test_main_reaches_the_forge_as_it_is_and_later_commits_follow(
    repository: Path, tmp_path: Path
) -> None:
    forge = tmp_path / "forge"
    for name in ("first", "second"):
        commit(repository, name)
        assert send_main(repository, forge) == ""
        assert Repository(forge).resolve("refs/heads/main") == git(repository, "rev-parse", "main")


def test_merged_releases_of_the_laptop_are_never_overwritten(
    repository: Path, tmp_path: Path
) -> None:
    forge = tmp_path / "forge"
    send_main(repository, forge)
    git(tmp_path, "clone", "--quiet", str(forge), "merger")
    commit(tmp_path / "merger", "release.yaml")
    git(tmp_path / "merger", "push", "--quiet", "origin", "main")
    merged = Repository(forge).resolve("refs/heads/main")
    commit(repository, "mine")
    assert "the laptop's main has commits that yours lacks" in send_main(repository, forge)
    assert Repository(forge).resolve("refs/heads/main") == merged
    git(repository, "pull", "--quiet", "--rebase", "laptop", "main")
    assert send_main(repository, forge) == ""


def test_a_remote_of_the_users_own_with_that_name_is_not_changed(
    repository: Path, tmp_path: Path
) -> None:
    git(repository, "remote", "add", "laptop", "https://example.org/mine.git")
    with pytest.raises(NotUsable, match="leads to another place"):
        send_main(repository, tmp_path / "forge")
    assert git(repository, "remote", "get-url", "laptop") == "https://example.org/mine.git"


def test_a_change_that_is_not_committed_is_said(repository: Path, tmp_path: Path) -> None:
    (repository / "dags" / "models" / "m.yaml").write_text("name: m\n")
    note = send_main(repository, tmp_path / "forge")
    assert note == "not committed, so not on main: dags/models/m.yaml"


def test_each_thing_that_a_repository_lacks_is_named_with_the_command_that_adds_it(
    repository: Path,
) -> None:
    assert checked_repository(repository) == repository
    with pytest.raises(NotUsable, match=r"has no dags/models, no gitops/platform.*retrain init"):
        checked_repository(repository.parent)
    git(repository, "branch", "--move", "trunk")
    with pytest.raises(NotUsable, match="no commit on a branch main"):
        checked_repository(repository)
    (repository / ".git").rename(repository.parent / "git")
    with pytest.raises(NotUsable, match=r"no git repository.*init --initial-branch main"):
        checked_repository(repository)


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ("", "is not set"),
        ("duckdb:///secret.duckdb", "is no JSON"),
        ('["duckdb:///secret.duckdb"]', "is no JSON"),
        ("{}", "is no JSON"),
    ],
)
def test_without_a_source_nothing_starts_and_no_file_is_written(
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    sources: str,
    said: str,
) -> None:
    monkeypatch.setenv("RETRAIN_SOURCES", sources)
    assert main(["--repo", str(repository)]) == 2
    error = capsys.readouterr().err
    assert f"RETRAIN_SOURCES {said}" in error
    assert "secret" not in error
    assert not (repository / ".demo").exists()


def test_make_up_without_a_repository_does_not_take_the_working_folder(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["--repo", ""])
    assert "as in `make up REPO=FOLDER`" in capsys.readouterr().err


def test_a_second_stack_on_the_same_repository_is_refused(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RETRAIN_SOURCES", SOURCES)
    second: list[int] = []
    monkeypatch.setattr(
        "infra.local.stack.__main__._run",
        lambda *_: second.append(main(["--repo", str(repository)])) or 0,
    )
    assert main(["--repo", str(repository)]) == 0
    assert second == [2]
    assert "Another `make up` runs in" in capsys.readouterr().err
    assert git(repository, "status", "--porcelain") == ""  # git ignores the state


def test_a_users_stack_takes_models_from_her_repository_and_rows_from_her_source(
    repository: Path, tmp_path: Path
) -> None:
    laptop = Laptop(tmp_path / "state", checkout=repository, sources=SOURCES, is_demo=False)
    assert laptop.retrain_env["RETRAIN_SOURCES"] == SOURCES
    assert laptop.retrain_env["RETRAIN_MODELS"] == str(repository / "dags" / "models")
    assert laptop.retrain_env["RETRAIN_GIT_REVISION"] == git(repository, "rev-parse", "HEAD")
    assert SOURCES not in repr(laptop)  # an address may hold a password
