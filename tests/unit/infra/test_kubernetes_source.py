"""The stand-in for Flux's source-controller: its archives and statuses. The API is in memory."""

import gzip
import io
import os
import subprocess
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from infra.local.kubernetes.archive import Clone, GitUnavailable
from infra.local.kubernetes.source import Source, serve_repository

URL = "https://github.com/acme/ratchet"


class Objects:
    """The API server as far as `Source` knows it: GitRepositories whose status is merged."""

    def __init__(self, *repositories: dict[str, Any]) -> None:
        self.items = list(repositories)
        self.writes = 0

    def get(self, _path: str) -> dict[str, Any]:
        return {"items": self.items}

    def merge(self, path: str, content: dict[str, Any]) -> dict[str, Any]:
        self.writes += 1
        one = next(
            item for item in self.items if path.endswith(f"/{item['metadata']['name']}/status")
        )
        one["status"] = {**one.get("status", {}), **content["status"]}
        return one


def git_repository(**spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "ratchet", "namespace": "flux-system", "generation": 1},
        "spec": {"url": URL, "ref": {"branch": "main"}, **spec},
    }


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, {"gitops/a.yaml": "a", "src/b.py": "b"})
    return folder


@pytest.fixture
def cluster(tmp_path: Path, work: Path) -> Path:
    folder = tmp_path / "cluster"
    folder.mkdir()
    serve_repository(folder, URL, str(work))
    return folder


def git(folder: Path, *arguments: str) -> None:
    names = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
        "GIT_CONFIG_GLOBAL": os.devnull,
    }
    subprocess.run(
        ["git", *arguments],
        cwd=folder,
        check=True,
        capture_output=True,
        env={**os.environ, **names},
    )


def commit(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "change")


def source(objects: Objects, cluster: Path) -> Source:
    return Source(
        objects,
        cluster / "source",
        "http://10.87.0.1:9090",
        now=lambda: datetime(2026, 11, 21, tzinfo=UTC),
    )  # type: ignore[arg-type]  # a fake


def names(artifact: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(artifact))) as tar:
        return tar.getnames()


class TestArchive:
    def test_the_same_commit_has_the_same_bytes_in_another_clone_and_umask(
        self, tmp_path: Path, work: Path
    ) -> None:
        first = Clone(tmp_path / "one", str(work))
        second = Clone(tmp_path / "two", str(work))
        before = os.umask(0o077)
        try:
            one = first.archive(first.fetch("main"), "")
        finally:
            os.umask(before)
        assert one == second.archive(second.fetch("main"), "")

    def test_what_the_object_ignores_stays_out(self, tmp_path: Path, work: Path) -> None:
        clone = Clone(tmp_path / "clone", str(work))
        assert names(clone.archive(clone.fetch("main"), "/*\n!/gitops\n")) == ["gitops/a.yaml"]

    def test_a_link_out_of_the_repository_is_no_file_of_it(
        self, tmp_path: Path, work: Path
    ) -> None:
        (work / "gitops/link").symlink_to("/etc/passwd")
        commit(work, {})
        clone = Clone(tmp_path / "clone", str(work))
        assert "gitops/link" not in names(clone.archive(clone.fetch("main"), ""))

    def test_a_repository_that_is_not_there_is_unavailable(self, tmp_path: Path) -> None:
        with pytest.raises(GitUnavailable, match="cannot be read"):
            Clone(tmp_path / "clone", str(tmp_path / "none")).fetch("main")


class TestSource:
    def test_a_new_commit_becomes_the_artifact_with_its_digest(self, cluster: Path) -> None:
        objects = Objects(git_repository())
        source(objects, cluster).look()
        status = objects.items[0]["status"]
        artifact = status["artifact"]
        packed = (cluster / "source/artifacts" / artifact["path"]).read_bytes()
        assert names(packed) == ["gitops/a.yaml", "src/b.py"]
        assert artifact["revision"].startswith("main@sha1:")
        assert artifact["size"] == len(packed)
        assert artifact["url"] == f"http://10.87.0.1:9090/{artifact['path']}"
        assert status["conditions"][0]["status"] == "True"

    def test_nothing_new_writes_nothing(self, cluster: Path) -> None:
        objects = Objects(git_repository())
        for _look in range(3):
            source(objects, cluster).look()
        assert objects.writes == 1

    def test_a_forge_that_is_away_leaves_the_artifact_and_says_so_once(
        self, cluster: Path, work: Path
    ) -> None:
        objects = Objects(git_repository())
        source(objects, cluster).look()
        artifact = objects.items[0]["status"]["artifact"]
        work.rename(work.with_name("elsewhere"))
        source(objects, cluster).look()
        source(objects, cluster).look()
        status = objects.items[0]["status"]
        assert (status["artifact"], status["conditions"][0]["reason"]) == (
            artifact,
            "GitOperationFailed",
        )
        assert objects.writes == 2

    def test_when_the_forge_is_back_the_object_is_ready_again(
        self, cluster: Path, work: Path
    ) -> None:
        objects = Objects(git_repository())
        source(objects, cluster).look()
        work.rename(work.with_name("elsewhere"))
        source(objects, cluster).look()
        work.with_name("elsewhere").rename(work)
        source(objects, cluster).look()
        assert objects.items[0]["status"]["conditions"][0]["status"] == "True"

    def test_a_suspended_object_is_left_alone(self, cluster: Path) -> None:
        objects = Objects(git_repository(suspend=True))
        source(objects, cluster).look()
        assert objects.writes == 0

    def test_another_ignore_is_another_artifact_of_the_same_commit(self, cluster: Path) -> None:
        objects = Objects(git_repository())
        source(objects, cluster).look()
        before = objects.items[0]["status"]["artifact"]
        objects.items[0]["spec"]["ignore"] = "/src"
        source(objects, cluster).look()
        after = objects.items[0]["status"]["artifact"]
        assert after["revision"] == before["revision"]
        assert after["digest"] != before["digest"]

    def test_one_broken_repository_does_not_hold_up_the_other(self, cluster: Path) -> None:
        broken = git_repository(url="https://github.com/acme/none", ref={"branch": "main"})
        broken["metadata"] = {**broken["metadata"], "name": "broken"}
        serve_repository(cluster, "https://github.com/acme/none", str(cluster / "none"))
        objects = Objects(broken, git_repository())
        source(objects, cluster).look()
        assert [item["status"]["conditions"][0]["status"] for item in objects.items] == [
            "False",
            "True",
        ]

    def test_old_artifacts_are_removed_and_the_newest_stays(
        self, cluster: Path, work: Path
    ) -> None:
        objects = Objects(git_repository())
        for number in range(6):
            commit(work, {"gitops/a.yaml": str(number)})
            source(objects, cluster).look()
        kept = sorted((cluster / "source/artifacts").rglob("*.tar.gz"))
        assert len(kept) == 3
        assert cluster / "source/artifacts" / objects.items[0]["status"]["artifact"]["path"] in kept
