"""Follows a branch of a git repository in a clone of its own, as Flux's source-controller would."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import threading
from dataclasses import dataclass
from pathlib import Path

from infra.local.cluster.desired import Tree


class SourceUnavailable(RuntimeError):
    """git did not answer: nothing is known about main, and what runs goes on."""


@dataclass(frozen=True)
class Commit:
    """A commit of main and its files below gitops/."""

    revision: str
    tree: Tree


class Source:
    """Looks for a new commit in the background; a slow or broken forge never holds up what runs."""

    def __init__(
        self, repository: str, branch: str, clone: Path, *, interval_seconds: float = 1.0
    ) -> None:
        self._repository, self._branch, self._clone = repository, branch, clone
        self._interval_seconds = interval_seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="source", daemon=True)
        self.latest: Commit | None = None
        self.problem: str | None = "main was not read yet"

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self) -> None:
        """Cease to follow; a git in flight ends by its own time limit."""
        self._stopped.set()

    def look(self) -> None:
        """Read main once; after that `latest` or `problem` is new."""
        try:
            known = self.latest.revision if self.latest else None
            if (revision := self._fetch()) != known:
                self.latest = Commit(revision, self._files(revision))
            self.problem = None
        except (SourceUnavailable, OSError, tarfile.TarError) as problem:
            self.problem = f"{self._repository} cannot be read: {problem}"

    def _follow(self) -> None:
        while not self._stopped.is_set():
            self.look()
            self._stopped.wait(self._interval_seconds)

    def _fetch(self) -> str:
        if not (self._clone / "HEAD").exists():
            self._clone.mkdir(parents=True, exist_ok=True)
            self._git("init", "--quiet", "--bare", ".")
        self._git(
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-auto-gc",
            self._repository,
            f"+refs/heads/{self._branch}:refs/heads/{self._branch}",
        )
        return self._git("rev-parse", f"refs/heads/{self._branch}").decode().strip()

    def _files(self, revision: str) -> Tree:
        archive = self._git("archive", "--format=tar", revision, "gitops")
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            return {
                member.name: content.read()
                for member in files
                if member.isreg() and (content := files.extractfile(member))
            }

    def _git(self, *arguments: str) -> bytes:
        environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        for inherited in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
            environment.pop(inherited, None)  # a hook's own
        try:
            done = subprocess.run(
                ["git", *arguments],
                cwd=self._clone,
                env=environment,
                capture_output=True,
                timeout=20,
                check=False,
            )
        except subprocess.TimeoutExpired as problem:
            raise SourceUnavailable(
                f"git {arguments[0]} took longer than {problem.timeout:.0f} s"
            ) from problem
        if done.returncode != 0:
            raise SourceUnavailable(
                f"git {arguments[0]}: {done.stderr.decode(errors='replace').strip()[-300:]}"
            )
        return done.stdout
