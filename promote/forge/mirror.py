"""A local bare mirror of main and of promote's branches: files, history and differences by git.

One process writes at a time, by a lock beside the folder. The token reaches the forge through the
credentials callback only. A mirror that cannot be read is thrown away and fetched again.
"""

from __future__ import annotations

import fcntl
import gc
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import pygit2
from pygit2.enums import DeltaStatus, FetchPrune, FileMode, ObjectType, Option
from pygit2.remotes import PushUpdate

from promote.errors import CommitNotFound, ForgeRefused, ForgeUnavailable
from promote.forge.main_line import MainLine
from promote.forge.port import Difference, FileVersion, NewBranch

Answer = TypeVar("Answer")
_LARGEST_CACHED_TREE_BYTES = 1 << 20
"""libgit2 caches trees of up to 4 KiB by default; a folder of 1,000 models has 37 KB."""
_AUTHOR = ("ratchet", "ratchet@users.noreply.github.com")
_FORBIDDEN = "status code: 403"
"""In libgit2's text, the only place where it names a status."""
_FILES = (FileMode.BLOB, FileMode.BLOB_EXECUTABLE)

pygit2.option(Option.SET_CACHE_OBJECT_LIMIT, ObjectType.TREE, _LARGEST_CACHED_TREE_BYTES)
# The fetch has verified each object's hash. Another check at each reading takes a second.
pygit2.option(Option.ENABLE_STRICT_HASH_VERIFICATION, False)


class Opened(NamedTuple):
    """The local repository as the last fetch left it."""

    repository: pygit2.Repository
    line: MainLine
    head: str


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
        self._opened: Opened | None = None
        # libgit2 has one timeout for the whole process, in milliseconds.
        pygit2.settings.server_timeout = round(timeout_seconds * 1000)
        pygit2.settings.server_connect_timeout = round(timeout_seconds * 1000)

    def fetch(self) -> Opened:
        """Bring main and `ratchet/*` to where they are on the forge, and return them.

        Raises:
            ForgeUnavailable: The fetch failed, or the folder cannot be used.
            ForgeRefused: The forge refused the token.
        """
        with self._lock, self._only_writer(f"for {self._branch} and ratchet/*, to mirror them"):
            try:
                return self._fetch_and_follow()
            except (pygit2.GitError, KeyError, ValueError):
                self._opened = None
                if self._is_readable():
                    raise  # the forge is at fault, not the folder
            # After the except block: its traceback keeps the damaged files open.
            self._throw_away()
            return self._fetch_and_follow()

    def push(self, branch: NewBranch) -> str:
        """Commit on top of the branch's parent, and push the commit as a new branch.

        Raises:
            ForgeRefused: The forge has such a branch, or refused the push.
            ForgeUnavailable: The forge did not answer. The branch may be there.
        """
        with self._lock, self._only_writer(f"to create the branch {branch.name}"):
            repository = (self._opened or self._fetch_and_follow()).repository
            commit = _commit(repository, branch)
            repository.remotes.create_anonymous(self._url).push(
                [f"{commit}:refs/heads/{branch.name}"],
                callbacks=_NewBranchCallbacks(credentials=_login(self._token)),
                proxy=True,
            )
            return commit

    def head(self) -> str:
        """Return the commit that main points at."""
        return self._read("main", lambda opened: opened.head)

    def branch_commit(self, name: str) -> str | None:
        """Return the commit that a branch points at; None when there is no such branch."""
        what = f"the branch {name}"
        return self._read(what, lambda opened: branch_target(opened.repository, name))

    def read_file(self, path: str, commit: str) -> bytes | None:
        """Return a file's bytes; None when there is no such file, or a folder or a link."""

        def read(opened: Opened) -> bytes | None:
            entry = _entry(opened.repository, path, commit)
            is_file = entry is not None and entry.filemode in _FILES
            return entry.data if is_file and isinstance(entry, pygit2.Blob) else None

        return self._read(f"{path} at commit {commit[:12]}", read, commit)

    def list_folder(self, path: str, commit: str) -> tuple[str, ...]:
        """Return the paths of the files directly in a folder, sorted."""

        def read(opened: Opened) -> tuple[str, ...]:
            folder = _entry(opened.repository, path, commit)
            if not isinstance(folder, pygit2.Tree):
                return ()
            return tuple(sorted(f"{path}/{one.name}" for one in folder if one.filemode in _FILES))

        return self._read(f"{path} at commit {commit[:12]}", read, commit)

    def history(self, path: str, head: str) -> tuple[FileVersion, ...]:
        """Return the first-parent commits, from `head` back, that changed a file."""
        what = f"the commits of {self._branch} up to {head[:12]}"
        return self._read(what, lambda opened: opened.line.history(path, head), head)

    def difference(self, base: str, head: str) -> Difference:
        """Return what merging commit `head` into commit `base` changes."""

        def compare(opened: Opened) -> Difference:
            repository = opened.repository
            start = repository.merge_base(base, head)
            if start is None:
                raise ForgeRefused(f"Commits {base[:12]} and {head[:12]} have no common commit.")
            before, after = (repository[one].peel(pygit2.Tree) for one in (start, head))
            files: dict[str, str | None] = {}
            for delta in before.diff_to_tree(after).deltas:
                gone = delta.status == DeltaStatus.DELETED
                files[delta.new_file.path] = None if gone else str(delta.new_file.id)
            return Difference(str(start), files)

        return self._read(f"what {head[:12]} changes in {base[:12]}", compare, base, head)

    def _read(
        self,
        what: str,
        read: Callable[[Opened], Answer],
        *commits: str,
    ) -> Answer:
        with self._lock:
            opened = self._opened or self.fetch()
            for commit in commits:
                _check_commit(opened.repository, commit)
            try:
                return read(opened)
            except (pygit2.GitError, KeyError, ValueError) as error:
                self._throw_away()
                raise ForgeUnavailable(
                    f"Asked the mirror {self._folder} for {what}: it cannot be read ({error!r}). "
                    "Promote fetches it again."
                ) from error

    @contextmanager
    def _only_writer(self, what: str) -> Iterator[None]:
        """Hold the lock beside the folder, and say what a failed fetch or push means."""
        asked = f"Asked {self._url} {what}"
        try:
            self._folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._folder.with_suffix(".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except (pygit2.GitError, KeyError, ValueError) as error:
            if isinstance(error, pygit2.AuthError) or _FORBIDDEN in str(error):
                raise ForgeRefused(
                    f"{asked}: the forge refused the token ({error}). Give PROMOTE_FORGE_TOKEN a "
                    "token that may read and write contents."
                ) from error
            raise ForgeUnavailable(f"{asked}: {error}. Promote asks again later.") from error
        except OSError as error:
            raise ForgeUnavailable(
                f"{asked}: the folder {self._folder.parent} cannot be used ({error}). "
                "Set PROMOTE_MIRROR to a folder that promote may write."
            ) from error

    def _fetch_and_follow(self) -> Opened:
        names = (self._branch, "ratchet/*")
        repository = self._opened.repository if self._opened else self._local_repository()
        repository.remotes.create_anonymous(self._url).fetch(
            [f"+refs/heads/{name}:refs/heads/{name}" for name in names],
            callbacks=pygit2.RemoteCallbacks(credentials=_login(self._token)),
            prune=FetchPrune.PRUNE,
            proxy=True,
        )
        head = branch_target(repository, self._branch)
        if head is None:
            raise ForgeUnavailable(f"{self._url} has no branch {self._branch}. Push the branch.")
        line = self._opened.line if self._opened else None
        if line is None or not line.follow(head):  # main was moved: begin anew
            line = MainLine(repository, head)
        self._opened = Opened(repository, line, head)
        return self._opened

    def _local_repository(self) -> pygit2.Repository:
        """Return the local repository; a folder that holds none is thrown away."""
        try:
            return pygit2.Repository(str(self._folder))
        except pygit2.GitError:
            self._throw_away()
            return pygit2.init_repository(str(self._folder), bare=True)

    def _is_readable(self) -> bool:
        """Return whether the commit and the tree that main points at can be read."""
        try:
            repository = pygit2.Repository(str(self._folder))
            head = branch_target(repository, self._branch)
            return head is None or len(repository[head].peel(pygit2.Tree)) >= 0
        except (pygit2.GitError, KeyError, ValueError):
            return False

    def _throw_away(self) -> None:
        self._opened = None
        gc.collect()  # a pygit2 repository is a cycle, and keeps the damaged files open
        shutil.rmtree(self._folder, ignore_errors=True)


def _login(token: str) -> Callable[..., pygit2.UserPass]:
    """Return the callback that gives the token once: a second question means that it was wrong."""
    logins = [pygit2.UserPass("x-access-token", token)]

    def credentials(*_: object) -> pygit2.UserPass:
        if not logins:
            raise pygit2.AuthError("the forge refused the token")
        return logins.pop()

    return credentials


class _NewBranchCallbacks(pygit2.RemoteCallbacks):
    """Lets a push create a branch, and never change one."""

    def push_negotiation(self, updates: list[PushUpdate]) -> None:
        """Refuse to go on when the forge has the branch already."""
        if int(str(updates[0].src), 16):
            raise ForgeRefused(f"The forge has {updates[0].dst_refname} already.")

    def push_update_reference(self, refname: str, message: str | None) -> None:
        """Raise what the forge says against the branch, such as a rule that forbids it."""
        if message is not None:
            raise ForgeRefused(f"The forge refused to create {refname}: {message}.")


def _commit(repository: pygit2.Repository, branch: NewBranch) -> str:
    parent = repository[branch.parent].peel(pygit2.Commit)
    index = pygit2.Index()
    index.read_tree(parent.tree)
    for path, content in branch.files.items():
        index.add(pygit2.IndexEntry(path, repository.create_blob(content), FileMode.BLOB))
    tree = index.write_tree(repository)
    author = pygit2.Signature(*_AUTHOR, parent.commit_time)
    return str(repository.create_commit(None, author, author, branch.message, tree, [parent.id]))


def branch_target(repository: pygit2.Repository, name: str) -> str | None:
    """Return the commit that a branch of a repository points at; None when there is none."""
    reference = repository.references.get(f"refs/heads/{name}")
    return None if reference is None else str(reference.target)


def _check_commit(repository: pygit2.Repository, commit: str) -> None:
    if not re.fullmatch("[0-9a-f]{40}", commit):
        raise ForgeRefused(f"Promote reads commits by their full hashes, not {commit!r}.")
    if commit not in repository:
        raise CommitNotFound(f"Neither main nor a branch ratchet/* leads to commit {commit}.")


def _entry(repository: pygit2.Repository, path: str, commit: str) -> pygit2.Object | None:
    try:
        return repository[commit].peel(pygit2.Tree)[path]
    except KeyError:
        return None
