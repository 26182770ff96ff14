"""An image names the commit of its content.

The tests build small images with the last lines of retrain's Dockerfile.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from infra.images import build as building
from infra.images.build import DOCKERFILES, build
from infra.images.programs import ProgramFailed, run, said

MARK = "canary-7f3a"
LAST = (DOCKERFILES / "retrain.Dockerfile").read_text().rpartition("\nFROM ")[2].partition("\n")[2]


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one image, and a store of its own for what is built."""
    if os.geteuid() != 0 or not shutil.which("buildah"):
        pytest.skip("images are made as root, with buildah: apt-get install buildah")
    root, store = tmp_path / "tree", tmp_path / "store"
    root.mkdir()
    store.mkdir()
    (store / "storage.conf").write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{store}/images"\nrunroot = "{store}/running"\n'
    )
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(store / "storage.conf"))
    for name in (
        "PROMOTE_FORGE_TOKEN",
        "SERVING_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "MLFLOW_TRACKING_PASSWORD",
    ):
        monkeypatch.setenv(name, MARK)
    for name, value in (("ROOT", root), ("DOCKERFILES", root), ("LOCKS", root)):
        monkeypatch.setattr(building, name, value)
    monkeypatch.setattr(building, "fetch", lambda _: None)
    (root / "Dockerfile.base").write_text("FROM scratch\nCOPY uv.txt /uv.txt\n")
    (root / "uv.txt").write_text("uv\n")
    (root / "code").mkdir()
    (root / "code" / "one.py").write_text("1\n")
    (root / "it.Dockerfile").write_text(
        f"ARG BASE\nFROM ${{BASE}} AS build\nCOPY code /app/code\nFROM ${{BASE}}\n{LAST}"
    )
    git(root, "init", "--quiet", "--initial-branch=main")
    commit(root, "the first commit")
    run(
        "buildah",
        "bud",
        "--quiet",
        "--layers=false",
        "--timestamp",
        "0",
        "--tag",
        "localhost/base",
        "--file",
        str(root / "Dockerfile.base"),
        str(root),
    )
    monkeypatch.setattr(building, "base_image", lambda: "localhost/base:latest")
    return root


def git(root: Path, *words: str) -> str:
    person = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", "-C", str(root), *person, *words], capture_output=True, text=True, check=True
    ).stdout.strip()


def commit(root: Path, subject: str) -> str:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--allow-empty", "--message", subject)
    return git(root, "rev-parse", "HEAD")


def built() -> tuple[str, str]:
    """Build; return the image's id and the commit that it names."""
    local = build("it").local
    config = json.loads(said("buildah", "inspect", "--type", "image", local))["OCIv1"]["config"]
    settings = dict(line.split("=", 1) for line in config["Env"])
    return said("buildah", "images", "--quiet", "--no-trunc", local), settings[
        "RETRAIN_GIT_REVISION"
    ]


@pytest.mark.e2e
def test_an_image_names_the_commit_that_changed_its_content_last(tree: Path) -> None:
    first = git(tree, "rev-parse", "HEAD")
    image, revision = built()
    assert revision == first
    run("buildah", "rmi", "localhost/ratchet/it:latest")
    assert built() == (image, first), "built twice from one commit"
    (tree / "README.md").write_text("beside\n")
    commit(tree, "nothing of the image")
    assert built() == (image, first), "another commit of the same content"
    (tree / "code" / "one.py").write_text("2\n")
    assert built()[1] == f"{first}-dirty"
    second = commit(tree, "the code")
    assert built()[1] == second
    (tree / "code" / "two.py").write_text("not yet added\n")
    assert built()[1] == f"{second}-dirty"
    (tree / "code" / "two.py").unlink()
    assert built()[1] == second
    git(tree, "rm", "--quiet", "code/one.py")
    (tree / "code").mkdir()
    assert built()[1] == f"{second}-dirty"


def test_the_same_content_of_another_commit_differs_in_that_value_only(tree: Path) -> None:
    _, first = built()
    layers = said(
        "buildah",
        "inspect",
        "--type",
        "image",
        "--format",
        "{{.OCIv1.RootFS.DiffIDs}}",
        "localhost/ratchet/it:latest",
    )
    (tree / "code" / "one.py").write_text("2\n")
    commit(tree, "there")
    (tree / "code" / "one.py").write_text("1\n")
    second = commit(tree, "and back")
    assert built()[1] == second != first
    assert (
        said(
            "buildah",
            "inspect",
            "--type",
            "image",
            "--format",
            "{{.OCIv1.RootFS.DiffIDs}}",
            "localhost/ratchet/it:latest",
        )
        == layers
    )


def test_a_tree_without_git_is_unknown_and_one_that_git_cannot_read_is_an_error(tree: Path) -> None:
    (tree / ".git" / "HEAD").write_text("nothing\n")
    with pytest.raises(ProgramFailed, match=r"(?s)git -C .*not a git repository"):
        build("it")
    shutil.rmtree(tree / ".git")
    assert built()[1] == "unknown"


def test_no_secret_of_the_builders_environment_is_in_the_image_or_its_store(
    tree: Path, tmp_path: Path
) -> None:
    built()
    files = [
        path for path in (tmp_path / "store").rglob("*") if path.is_file() and not path.is_symlink()
    ]
    assert any(b"RETRAIN_GIT_REVISION" in path.read_bytes() for path in files)
    assert not [path for path in files if MARK.encode() in path.read_bytes()]
