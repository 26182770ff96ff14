"""A local bare mirror of main and of promote's branches: files, history and differences by git.

One process writes at a time, by a lock beside the folder. The token reaches the forge through the
credentials callback only. A mirror that cannot be read is thrown away and fetched again.
"""

from __future__ import annotations

import fcntl
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pygit2
from pygit2.enums import CredentialType, FetchPrune, FileMode, ObjectType, Option

from promote.errors import ForgeRefused, ForgeUnavailable
from promote.forge.main_line import MainLine
from promote.forge.port import Difference, FileVersion

_Answer = TypeVar("_Answer")
_LARGEST_CACHED_TREE_BYTES = 1 << 20
"""libgit2 caches trees of up to 4 KiB by default; a folder of 1,000 models has 37 KB."""
_FILES = (FileMode.BLOB, FileMode.BLOB_EXECUTABLE)

pygit2.option(Option.SET_CACHE_OBJECT_LIMIT, ObjectType.TREE, _LARGEST_CACHED_TREE_BYTES)


class _Login(pygit2.RemoteCallbacks):
    """Gives the token once. A second question means that the forge refused the token."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self._token: str | None = token

    def credentials(self, url: str, username: str | None, allowed: CredentialType) -> pygit2.UserPass:  # noqa: ARG002 - libgit2's callback
        if self._token is None:
            raise pygit2.AuthError("the forge refused the token")
        token, self._token = self._token, None
        return pygit2.UserPass("x-access-token", token)


class Mirror:
    """Answers from the last fetch. May be asked from several threads."""

    def __init__(
        self, folder: Path, url: str, token: str, *, branch: str, timeout_seconds: float
    ) -> None:
        """Keep where the mirror lies. Nothing is fetched yet.

        Args:
            folder: The bare repository. It is made when it is absent; its content may be lost.
            url: The forge's address for git, without a login.
            token: The password for the forge.
            branch: The name of main.
            timeout_seconds: The longest wait for the forge's next bytes.
        """
        self._folder, self._url, self._token, self._branch = folder, url, token, branch
        self._lock = threading.RLock()
        self._opened: tuple[pygit2.Repository, MainLine, str] | None = None
        # libgit2 has one timeout for the whole process, in milliseconds.
        pygit2.settings.server_timeout = round(timeout_seconds * 1000)
        pygit2.settings.server_connect_timeout = round(timeout_seconds * 1000)

    def fetch(self) -> None:
        """Bring main and `ratchet/*` to where they are on the forge.

        Raises:
            ForgeUnavailable: The fetch failed, or the folder cannot be used.
            ForgeRefused: The forge refused the token.
        """
        with self._lock, self._only_writer():
            try:
                self._fetch_and_follow()
            except (pygit2.GitError, KeyError, ValueError):
                self._opened = None
                if self._is_readable():
                    raise  # the forge is at fault, not the folder
                shutil.rmtree(self._folder, ignore_errors=True)
                self._fetch_and_follow()

    def head(self) -> str:
        """Return the commit that main points at."""
        return self._read("main", lambda repository, line, head: head)

    def branch_commit(self, name: str) -> str | None:
        """Return the commit that a branch points at; None when there is no such branch."""
        return self._read(f"the branch {name}", lambda it, *_: _target(it, name))

    def read_file(self, path: str, commit: str) -> bytes | None:
        """Return a file's bytes; None when there is no such file, or a folder or a link."""

        def read(repository: pygit2.Repository, *_: object) -> bytes | None:
            entry = _entry(repository, path, commit)
            is_file = entry is not None and entry.filemode in _FILES
            return entry.data if is_file and isinstance(entry, pygit2.Blob) else None

        return self._read(f"{path} at commit {commit[:12]}", read, commit)

    def list_folder(self, path: str, commit: str) -> tuple[str, ...]:
        """Return the paths of the files directly in a folder, sorted."""

        def read(repository: pygit2.Repository, *_: object) -> tuple[str, ...]:
            folder = _entry(repository, path, commit)
            if not isinstance(folder, pygit2.Tree):
                return ()
            return tuple(sorted(f"{path}/{one.name}" for one in folder if one.filemode in _FILES))

        return self._read(f"{path} at commit {commit[:12]}", read, commit)

    def history(self, path: str, head: str) -> tuple[FileVersion, ...]:
        """Return the first-parent commits, from `head` back, that changed a file."""
        what = f"the commits of {self._branch} up to {head[:12]}"
        return self._read(what, lambda _, line, __: line.history(path, head), head)

    def difference(self, base: str, head: str) -> Difference:
        """Return what merging commit `head` into commit `base` changes."""

        def compare(repository: pygit2.Repository, *_: object) -> Difference:
            start = repository.merge_base(base, head)
            if start is None:
                raise ForgeRefused(f"Commits {base[:12]} and {head[:12]} have no common commit.")
            before, after = (repository[one].peel(pygit2.Tree) for one in (start, head))
            files: dict[str, str | None] = {}
            for delta in before.diff_to_tree(after).deltas:
                gone = delta.status == pygit2.enums.DeltaStatus.DELETED
                files[delta.new_file.path] = None if gone else str(delta.new_file.id)
            return Difference(str(start), files)

        return self._read(f"what {head[:12]} changes in {base[:12]}", compare, base, head)

    def _read(
        self,
        what: str,
        read: Callable[[pygit2.Repository, MainLine, str], _Answer],
        *commits: str,
    ) -> _Answer:
        with self._lock:
            if self._opened is None:
                self.fetch()
            for commit in commits:
                self._check_commit(commit)
            try:
                return read(*self._open())
            except (pygit2.GitError, KeyError, ValueError) as error:
                self._opened = None
                shutil.rmtree(self._folder, ignore_errors=True)
                raise ForgeUnavailable(
                    f"Asked the mirror {self._folder} for {what}: it cannot be read ({error}). "
                    "Promote fetches it again."
                ) from error

    def _check_commit(self, commit: str) -> None:
        """Fetch a commit that no branch leads to: the head of a closed pull request."""
        if not re.fullmatch("[0-9a-f]{40}", commit):
            raise ForgeRefused(f"Promote reads commits by their full hashes, not {commit!r}.")
        repository = self._open()[0]
        if commit in repository:
            return
        with self._only_writer():
            try:
                self._remote_fetch(repository, [f"+{commit}:refs/commits/{commit}"])
            except ForgeUnavailable as error:
                raise ForgeRefused(f"{self._url} has no commit {commit}.") from error

    def _open(self) -> tuple[pygit2.Repository, MainLine, str]:
        if self._opened is None:
            raise ForgeUnavailable(f"{self._url} has no branch {self._branch}.")
        return self._opened
