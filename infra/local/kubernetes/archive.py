"""A commit as the tar.gz that Flux's source-controller makes of it. Same commit, same bytes."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path


class GitUnavailable(Exception):
    """git did not answer, or does not know the branch."""


class Clone:
    """A bare copy of one repository."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder, self._url = folder, url
        if not (folder / "HEAD").exists():
            folder.mkdir(parents=True, exist_ok=True)
            self._git("init", "--quiet", "--bare", ".")

    def fetch(self, branch: str) -> str:
        """Return the commit that `branch` names now.

        Raises:
            GitUnavailable: It cannot be read.
        """
        self._git(
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-auto-gc",
            self._url,
            f"+refs/heads/{branch}:refs/heads/{branch}",
        )
        return self._git("rev-parse", f"refs/heads/{branch}").decode().strip()

    def archive(self, commit: str, ignore: str) -> bytes:
        """Return a tar.gz of the commit's regular files, without files that match `ignore`.

        `ignore` has the syntax of .gitignore.
        """
        written = io.BytesIO()
        with tarfile.open(fileobj=io.BytesIO(self._git("archive", "--format=tar", commit))) as tree:
            files = {entry.name: tree.extractfile(entry) for entry in tree if entry.isreg()}
            left_out = self._ignored(sorted(files), ignore)
            with tarfile.open(fileobj=written, mode="w", format=tarfile.GNU_FORMAT) as tar:
                for name in sorted(files.keys() - left_out):
                    content = files[name]
                    _add(tar, name, content.read() if content else b"")
        return gzip.compress(written.getvalue(), compresslevel=0, mtime=0)

    def _ignored(self, names: list[str], ignore: str) -> set[str]:
        if not ignore or not names:
            return set()
        with tempfile.TemporaryDirectory() as empty:
            rules = Path(empty, "rules")
            rules.write_text(ignore, encoding="utf-8")
            arguments = [
                "-c",
                f"core.excludesFile={rules}",
                "-c",
                "core.bare=false",
                f"--work-tree={empty}",
                "check-ignore",
                "--no-index",
                "--stdin",
                "-z",
            ]
            said = self._git(*arguments, stdin="\0".join(names).encode(), fine=(0, 1))
        return set(said.decode().split("\0"))

    def _git(self, *arguments: str, stdin: bytes = b"", fine: tuple[int, ...] = (0,)) -> bytes:
        outer = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        environment = {
            **outer,
            "GIT_DIR": str(self._folder),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "LC_ALL": "C",
        }
        try:
            done = subprocess.run(
                ["git", *arguments],
                cwd=self._folder,
                env=environment,
                input=stdin,
                capture_output=True,
                timeout=20,
                check=False,
            )
        except subprocess.TimeoutExpired as problem:
            raise GitUnavailable(
                f"git took longer than {problem.timeout:.0f} s to read {self._url}"
            ) from problem
        if done.returncode not in fine:
            raise GitUnavailable(
                f"{self._url} cannot be read: {done.stderr.decode(errors='replace').strip()[-300:]}"
            )
        return done.stdout


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o644
    tar.addfile(entry, io.BytesIO(content))
