"""What git does not hold: pull requests, comments, labels, reviews and statuses, in SQLite."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar


@dataclass(frozen=True)
class Pull:
    """A pull request; its id is its number. Moments are texts, as GitHub writes them."""

    id: int
    title: str
    body: str | None
    author: str
    head_ref: str
    base_ref: str
    head_sha: str
    base_sha: str
    """The base branch when it was opened."""
    created_at: str
    updated_at: str
    closed_at: str | None = None
    closed_by: str | None = None
    merged_at: str | None = None
    merge_commit_sha: str | None = None
    """Written before the base branch moves, so that a merge cut short is recognised."""

    @property
    def state(self) -> str:
        """`open` or `closed`."""
        return "open" if self.closed_at is None else "closed"


@dataclass(frozen=True)
class Comment:
    """What somebody said about a pull request."""

    id: int
    pull: int
    author: str
    body: str
    created_at: str
    updated_at: str


@dataclass(frozen=True)
class Label:
    """A label of the repository."""

    id: int
    name: str
    color: str
    description: str


@dataclass(frozen=True)
class LabelUse:
    """A label on a pull request."""

    id: int
    pull: int
    label: int


@dataclass(frozen=True)
class ReviewRequest:
    """A person or team asked to review."""

    id: int
    pull: int
    name: str
    is_team: int


@dataclass(frozen=True)
class Review:
    """A person's approval of one commit of a pull request."""

    id: int
    pull: int
    author: str
    sha: str
    created_at: str


@dataclass(frozen=True)
class Status:
    """A status of a commit; of one context the last counts."""

    id: int
    sha: str
    state: str
    context: str
    description: str | None
    target_url: str | None
    author: str
    created_at: str


Row = Pull | Comment | Label | LabelUse | ReviewRequest | Review | Status
AnyRow = TypeVar("AnyRow", Pull, Comment, Label, LabelUse, ReviewRequest, Review, Status)
_KINDS: tuple[type[Row], ...] = (Pull, Comment, Label, LabelUse, ReviewRequest, Review, Status)
_UNIQUE = (
    "CREATE UNIQUE INDEX IF NOT EXISTS label_name ON Label (name COLLATE NOCASE);"
    "CREATE UNIQUE INDEX IF NOT EXISTS label_use ON LabelUse (pull, label);"
)


class Store:
    """One connection behind a lock; each `transaction` happens whole or not at all."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        tables = (
            f"CREATE TABLE IF NOT EXISTS {kind.__name__} (id INTEGER PRIMARY KEY AUTOINCREMENT,"
            f" {_columns(kind)});"
            for kind in _KINDS
        )
        self._connection.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;" + "".join(tables) + _UNIQUE
        )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the lock; commit at the end of the outermost block, roll back when it raises."""
        with self._lock:
            if self._depth == 0:
                self._connection.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:  # an interrupt too: undo all, then let it go on
                self._depth -= 1
                if self._depth == 0:
                    self._connection.execute("ROLLBACK")
                raise
            self._depth -= 1
            if self._depth == 0:
                self._connection.execute("COMMIT")

    def rows(self, kind: type[AnyRow], **equal: object) -> list[AnyRow]:
        """The rows whose columns equal what is given, oldest first."""
        condition = " AND ".join(f"{name} IS ?" for name in equal) or "1"
        names = ", ".join(field.name for field in fields(kind))
        table = f"{kind.__name__} WHERE {condition}"
        statement = f"SELECT {names} FROM {table} ORDER BY id"  # noqa: S608 - our classes' names
        with self._lock:
            return [
                kind(*row) for row in self._connection.execute(statement, tuple(equal.values()))
            ]

    def add(self, kind: type[AnyRow], **values: object) -> AnyRow:
        """Insert a row, which gets the next id."""
        table = f"{kind.__name__} ({', '.join(values)})"
        marks = ", ".join("?" * len(values))
        statement = f"INSERT INTO {table} VALUES ({marks})"  # noqa: S608 - our classes' names
        with self.transaction():
            added = self._connection.execute(statement, tuple(values.values())).lastrowid
            return self.rows(kind, id=added)[0]

    def change(self, row: AnyRow, **values: object) -> AnyRow:
        """Write some columns of a row."""
        table, sets = type(row).__name__, ", ".join(f"{name} = ?" for name in values)
        statement = f"UPDATE {table} SET {sets} WHERE id = ?"  # noqa: S608 - our classes' names
        with self.transaction():
            self._connection.execute(statement, (*values.values(), row.id))
            return self.rows(type(row), id=row.id)[0]

    def remove(self, row: Row) -> None:
        """Delete a row."""
        with self.transaction():
            self._connection.execute(f"DELETE FROM {type(row).__name__} WHERE id = ?", (row.id,))  # noqa: S608 - names of our classes

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _columns(kind: type[Row]) -> str:
    return ", ".join(field.name for field in fields(kind) if field.name != "id")
