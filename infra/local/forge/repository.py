"""A bare git repository: objects, trees and refs, by git's plumbing. No pull requests here."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

ABSENT = "0" * 40
"""As the old value of a ref: it must not exist; as the new one: delete it."""
_COMMIT_FORMAT = "%x1e" + "%x1f".join(
    ["%H", "%T", "%P", "%an", "%ae", "%at", "%cn", "%ce", "%ct", "%B"]
)


class GitFailed(Exception):
    """A git command said no; the message is what it wrote."""


@dataclass(frozen=True)
class Person:
    """Who wrote or committed, and when in seconds since 1970."""

    name: str
    email: str
    at: int


@dataclass(frozen=True)
class Commit:
    """One commit; the message is stripped of line ends at its end."""

    sha: str
    tree: str
    parents: tuple[str, ...]
    author: Person
    committer: Person
    message: str


@dataclass(frozen=True)
class Entry:
    """One path of a tree; `sha` None deletes it."""

    mode: str
    kind: str
    sha: str | None
    path: str
    size: int | None = None


class Repository:
    """The bare repository in `folder`; created, with an unborn main, when nothing is there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        if not (folder / "HEAD").exists():
            folder.mkdir(parents=True, exist_ok=True)
            self.git("init", "-q", "--bare", "--initial-branch=main", ".")
        for setting in (
            "http.receivepack true",
            "receive.hideRefs refs/pull",
            "core.quotePath false",
            "gc.auto 0",
        ):
            self.git("config", *setting.split())

    def git(
        self, *arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None
    ) -> bytes:
        """Run git in the repository and return what it writes.

        Raises:
            GitFailed: It ended with another code than 0.
        """
        outer = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        ended = subprocess.run(
            ["git", "--literal-pathspecs", *arguments],
            input=stdin,
            capture_output=True,
            cwd=self.folder,
            env={
                **outer,
                "GIT_DIR": str(self.folder),
                "GIT_CONFIG_GLOBAL": os.devnull,
                "GIT_CONFIG_NOSYSTEM": "1",
                "LC_ALL": "C",
                **(env or {}),
            },
            check=False,
        )
        if ended.returncode != 0:
            raise GitFailed((ended.stderr or ended.stdout).decode(errors="replace").strip())
        return ended.stdout

    def refs(self, *prefixes: str) -> dict[str, str]:
        """Return the refs below the prefixes: full name to commit, ordered by name."""
        lines = (
            self.git("for-each-ref", "--format=%(refname) %(objectname)", *prefixes)
            .decode()
            .splitlines()
        )
        return dict(line.rsplit(" ", 1) for line in lines)

    def set_ref(self, name: str, new: str, old: str | None = None) -> None:
        """Create, move or delete a ref, if it points at `old` (None: whatever it does).

        Raises:
            GitFailed: It points at something else, or the name cannot be used.
        """
        self.git("update-ref", "--no-deref", name, new, *([] if old is None else [old]))

    def is_ref_name(self, name: str) -> bool:
        """True for a full name that git accepts."""
        return self._succeeds("check-ref-format", name)

    def resolve(self, name: str) -> str | None:
        """The commit that a branch, a full ref or a (short) hash names."""
        for candidate in (f"refs/heads/{name}", name):
            if candidate and not candidate.startswith("-"):
                try:
                    return (
                        self.git("rev-parse", "--verify", "-q", f"{candidate}^{{commit}}")
                        .decode()
                        .strip()
                    )
                except GitFailed:
                    continue
        return None

    def read(self, sha: str) -> tuple[str, bytes] | None:
        """An object's kind and bytes, by its hash; None when there is none."""
        head, _, rest = self.git("cat-file", "--batch", stdin=sha.encode() + b"\n").partition(b"\n")
        _, *found = head.decode(errors="replace").split(" ")
        return (found[0], rest[: int(found[1])]) if len(found) == 2 else None

    def write_blob(self, content: bytes) -> str:
        """Store bytes and return their hash."""
        return self.git("hash-object", "-w", "--stdin", stdin=content).decode().strip()

    def write_tree(self, base: str | None, entries: Sequence[Entry]) -> str:
        """Store `base` with changed entries. An entry that is a tree replaces its whole path."""
        with tempfile.TemporaryDirectory() as scratch:
            env = {"GIT_INDEX_FILE": str(Path(scratch) / "index")}
            if base is not None:
                self.git("read-tree", base, env=env)
            replaced = [
                entry.path for entry in entries if entry.kind == "tree" or entry.sha is None
            ]
            gone = (
                self.git("ls-files", "-z", "--", *replaced, env=env).decode().split("\0")[:-1]
                if replaced
                else []
            )
            lines = [f"0 {ABSENT}\t{path}\0" for path in gone] + [
                f"{leaf.mode} {leaf.sha}\t{leaf.path}\0"
                for entry in entries
                for leaf in self._leaves(entry)
            ]
            self.git(
                "update-index",
                "-z",
                "--add",
                "--replace",
                "--index-info",
                stdin="".join(lines).encode(),
                env=env,
            )
            return self.git("write-tree", env=env).decode().strip()

    def _leaves(self, entry: Entry) -> list[Entry]:
        if entry.sha is None or entry.kind != "tree":
            return [] if entry.sha is None else [entry]
        return [
            replace(leaf, path=f"{entry.path}/{leaf.path}")
            for leaf in self.tree(entry.sha, recursive=True)
            if leaf.kind != "tree"
        ]

    def write_commit(
        self, tree: str, parents: Sequence[str], message: str, author: Person, committer: Person
    ) -> str:
        """Store a commit and return its hash, which is a function of the arguments."""
        env = {
            f"GIT_{role}_{part}": value
            for role, person in (("AUTHOR", author), ("COMMITTER", committer))
            for part, value in (
                ("NAME", person.name),
                ("EMAIL", person.email),
                ("DATE", f"@{person.at} +0000"),
            )
        }
        return (
            self.git(
                "commit-tree",
                tree,
                *(word for parent in parents for word in ("-p", parent)),
                stdin=message.encode(),
                env=env,
            )
            .decode()
            .strip()
        )

    def tree(self, commit_or_tree: str, *, path: str = "", recursive: bool = False) -> list[Entry]:
        """Return the file at `path`, or the entries of a folder, whose path ends with `/`."""
        options = ["-r", "-t"] if recursive else []
        lines = (
            self.git(
                "ls-tree", "-z", "-l", *options, commit_or_tree, "--", *([path] if path else [])
            )
            .decode()
            .split("\0")[:-1]
        )
        found = [(*line.partition("\t")[0].split(), line.partition("\t")[2]) for line in lines]
        return [
            Entry(mode, kind, sha, name, None if size == "-" else int(size))
            for mode, kind, sha, size, name in found
        ]

    def commit(self, sha: str) -> Commit:
        """One commit by its hash."""
        return self.log(sha, limit=1)[0]

    def log(
        self,
        *revisions: str,
        path: str = "",
        skip: int = 0,
        limit: int = -1,
        first_parent: bool = False,
    ) -> list[Commit]:
        """Return the commits reachable from the revisions, newest first; only those of `path`."""
        options = ["--first-parent"] if first_parent else []
        raw = self.git(
            "log",
            *options,
            f"--format={_COMMIT_FORMAT}",
            f"--skip={skip}",
            f"--max-count={limit}",
            *revisions,
            "--",
            *([path] if path else []),
        )
        return [_commit(record) for record in raw.decode(errors="replace").split("\x1e")[1:]]

    def count(self, *revisions: str, path: str = "") -> int:
        """How many commits `log` would list."""
        return int(self.git("rev-list", "--count", *revisions, "--", *([path] if path else [])))

    def is_ancestor(self, old: str, new: str) -> bool:
        """True when `new` contains `old`."""
        return self._succeeds("merge-base", "--is-ancestor", old, new)

    def merge_base(self, one: str, other: str) -> str | None:
        """The commit from which both grew; None when they share nothing."""
        try:
            return self.git("merge-base", one, other).decode().strip()
        except GitFailed:
            return None

    def merge_tree(self, ours: str, theirs: str) -> str | None:
        """The tree of a merge; None when it conflicts or the two share no history."""
        try:
            return self.git("merge-tree", "--write-tree", ours, theirs).decode().split("\n", 1)[0]
        except GitFailed:
            return None

    def _succeeds(self, *arguments: str) -> bool:
        try:
            self.git(*arguments)
        except GitFailed:
            return False
        return True


def _commit(record: str) -> Commit:
    sha, tree, parents, name, email, at, committer, committer_email, committed_at, message = (
        record.split("\x1f", 9)
    )
    author = Person(name, email, int(at))
    return Commit(
        sha,
        tree,
        tuple(parents.split()),
        author,
        Person(committer, committer_email, int(committed_at)),
        message.rstrip("\n"),
    )
