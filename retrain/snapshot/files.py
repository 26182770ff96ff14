"""Where the snapshot store's files lie: named by URI, whole or not there at all. A folder here; S3 in `files_s3`."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pyarrow as pa

from retrain.contract import Digest
from retrain.errors import SnapshotError, StoreRefused, StoreUnavailable

_REFUSALS = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EEXIST,  # a file where a folder should be
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
}
"""Errors of a file system that stay until a person acts; a full disk may get room by itself."""


class Files(Protocol):
    """Files named by URIs of one scheme.

    Every method raises StoreUnavailable when the same call may succeed later, and StoreRefused when somebody has to act first.
    """

    def read(self, uri: str) -> bytes:
        """Return a file's bytes; FileNotFoundError when there is none."""

    def opened(self, uri: str) -> pa.NativeFile:
        """Return a file to read here and there; FileNotFoundError when there is none."""

    def exists(self, uri: str) -> bool:
        """Say whether there is a file."""

    def digest(self, uri: str) -> Digest:
        """Return the sha256 of a file's bytes; FileNotFoundError when there is none."""

    def appearing_whole(self, uri: str) -> AbstractContextManager[BinaryIO]:
        """Give a file to write that takes its name only when it is whole; of two writers at once, either may be the one whose file stays."""


def files_of(uri: str) -> Files:
    """Return the files that a URI is one of.

    Raises:
        StoreRefused: Neither `file:` nor `s3:`.
    """
    scheme = uri.partition(":")[0]
    if scheme == "file":
        return FolderFiles()
    if scheme == "s3":
        from retrain.snapshot.files_s3 import S3Files, s3_client  # noqa: PLC0415 - boto3 takes a moment, and a laptop does without it

        return S3Files(s3_client())
    raise StoreRefused(
        f"{uri} is no place of a snapshot store; it should start with file:// or s3://"
    )


def root_uri(place: Path | str) -> str:
    """Return a store's root as a URI without a slash at its end: `s3://…` and `file://…` as they are, anything else is a folder.

    >>> root_uri("s3://acme-snapshots/weekly/")
    's3://acme-snapshots/weekly'
    """
    text = str(place)
    return (
        text.rstrip("/")
        if text.startswith(("s3://", "file://"))
        else Path(place).absolute().as_uri()
    )


def place_of(uri: str) -> str:
    """Return what people call a file: its path, or its URI."""
    return str(_path_of(uri)) if uri.startswith("file:") else uri


class FolderFiles:
    """Files on this machine's disks: written beside their name, then renamed, so that a killed writer leaves at most a `.writing-…` file."""

    def read(self, uri: str) -> bytes:
        """Return a file's bytes."""
        with _read_errors(uri):
            return _path_of(uri).read_bytes()

    def opened(self, uri: str) -> pa.NativeFile:
        """Return the file as mapped memory, which costs nothing for columns that are not read."""
        with _read_errors(uri):
            return pa.memory_map(str(_path_of(uri)))

    def exists(self, uri: str) -> bool:
        """Say whether there is a file."""
        with _read_errors(uri):
            try:
                _path_of(uri).stat()
            except FileNotFoundError:
                return False
            return True

    def digest(self, uri: str) -> Digest:
        """Return the sha256 of a file's bytes, read anew each time."""
        with _read_errors(uri), _path_of(uri).open("rb") as file:
            return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()

    @contextmanager
    def appearing_whole(self, uri: str) -> Iterator[BinaryIO]:
        """Give a file that is renamed to its name when all of it is on disk; the later of two writers stays."""
        path = _path_of(uri)
        writing = path.with_name(f".writing-{secrets.token_hex(8)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with writing.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            writing.replace(path)
        except OSError as error:
            what_to_do = "Make room, or let this user write there, and run it again"
            raise folder_error(
                f"{path} cannot be written",
                error,
                f"; nothing was left under that name. {what_to_do}",
            ) from error
        finally:
            _remove(writing)


@contextmanager
def _read_errors(uri: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise folder_error(f"{place_of(uri)} cannot be read", error) from error


def folder_error(what: str, error: OSError, advice: str = "") -> SnapshotError:
    """Return what an error of the file system is to a caller: worth another try, or for a person to mend.

    Args:
        what: What failed, such as `/snapshots cannot be written`.
        error: As the system gave it.
        advice: Appended to the sentence.
    """
    kind = StoreRefused if error.errno in _REFUSALS else StoreUnavailable
    return kind(f"{what} ({error.strerror or error}){advice}")


def _path_of(uri: str) -> Path:
    return Path(url2pathname(urlsplit(uri).path))


def _remove(path: Path) -> None:
    """A folder that cannot be written cannot be cleaned either; the first error is the one to tell."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        pass
