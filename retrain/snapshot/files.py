"""The files of a snapshot store: the port, and a folder of this machine. `files_s3` has S3.

A URI names a file. A file is whole, or it does not exist.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pyarrow as pa

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
"""Errors of a file system that stay until a person acts. A full disk may get room by itself."""


class Files(Protocol):
    """Files named by URIs of one scheme.

    Every method raises StoreUnavailable when the same call may succeed later, and StoreRefused
    when a person has to act first.
    """

    def read(self, uri: str) -> bytes:
        """Return a file's bytes; FileNotFoundError when there is no file."""

    def opened(self, uri: str) -> pa.NativeFile:
        """Return a file for reads at any position; FileNotFoundError when there is no file."""

    def exists(self, uri: str) -> bool:
        """Say whether there is a file."""

    def write(self, uri: str, content: bytes) -> None:
        """Write a whole file. When two writers meet, the file of either may stay."""


def files_of(uri: str) -> Files:
    """Return the files that hold a URI.

    Raises:
        StoreRefused: The URI begins with neither `file:` nor `s3:`.
    """
    scheme = uri.partition(":")[0]
    if scheme == "file":
        return FolderFiles()
    if scheme == "s3":  # boto3 takes a moment to load, and a folder does not need it
        return cast("Files", import_module("retrain.snapshot.files_s3").s3_files())
    raise StoreRefused(
        f"{uri} is no place of a snapshot store; it should start with file:// or s3://"
    )


def root_uri(place: Path | str) -> str:
    """Return a store's root as a URI without a slash at its end.

    Args:
        place: `s3://…`, `file://…`, or else a folder's path.

    >>> root_uri("s3://acme-snapshots/weekly/")
    's3://acme-snapshots/weekly'
    """
    text = str(place)
    is_uri = text.startswith(("s3://", "file://"))
    return text.rstrip("/") if is_uri else Path(place).absolute().as_uri()


def place_of(uri: str) -> str:
    """Return what people call a file: its path, or its URI."""
    return str(_path_of(uri)) if uri.startswith("file:") else uri


class FolderFiles:
    """Files of this machine, written under a temporary name and then renamed.

    A killed writer leaves at most a `.writing-…` file.
    """

    def read(self, uri: str) -> bytes:
        """Return a file's bytes."""
        with _read_errors(uri):
            return _path_of(uri).read_bytes()

    def opened(self, uri: str) -> pa.NativeFile:
        """Return the file as mapped memory: columns that are not read cost nothing."""
        with _read_errors(uri):
            return pa.memory_map(str(_path_of(uri)))

    def exists(self, uri: str) -> bool:
        """Say whether there is a file."""
        with suppress(FileNotFoundError), _read_errors(uri):
            _path_of(uri).stat()
            return True
        return False

    def write(self, uri: str, content: bytes) -> None:
        """Write a file and rename it when all of it is on disk. The later of two writers stays."""
        path = _path_of(uri)
        writing = path.with_name(f".writing-{secrets.token_hex(8)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with writing.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            writing.replace(path)
        except OSError as error:
            advice = "Make room, or let this user write there, and run it again"
            raise folder_error(
                f"{path} cannot be written", error, f"; nothing was left under that name. {advice}"
            ) from error
        finally:
            with suppress(OSError):  # a failure here would hide the error that matters
                writing.unlink(missing_ok=True)


@contextmanager
def _read_errors(uri: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise folder_error(f"{place_of(uri)} cannot be read", error) from error


def folder_error(what: str, error: OSError, advice: str = "") -> SnapshotError:
    """Return an error of the file system as an outage or a refusal.

    Args:
        what: What failed, such as `/snapshots cannot be written`.
        error: The system's error.
        advice: The end of the sentence.
    """
    kind = StoreRefused if error.errno in _REFUSALS else StoreUnavailable
    return kind(f"{what} ({error.strerror or error}){advice}")


def _path_of(uri: str) -> Path:
    return Path(url2pathname(urlsplit(uri).path))
