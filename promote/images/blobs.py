"""The files of one OCI layout folder: blobs, whole writes, the lock of a push, OS errors."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from promote.errors import (
    ImageFolderFull,
    ImageFolderUnwritable,
    ImageRegistryUnavailable,
    InvalidImage,
)
from promote.images.image import Blob
from promote.images.names import check_digest, digest_of

_UNFINISHED = ".unfinished-"
_POLL_SECONDS = 0.02


def read_blob(layout: Path, digest: str) -> bytes:
    """Return a blob.

    Raises:
        InvalidImage: The blob is absent or damaged.
    """
    path = _blob_path(layout, digest)
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise InvalidImage(
            f"{layout} has no blob {digest}. Push the image again: promote reconcile --once"
        ) from error
    if digest_of(content) != digest:
        raise InvalidImage(
            f"{path} is damaged: its content has another digest. "
            "Push the image again: promote reconcile --once"
        )
    return content


def has_blob(layout: Path, digest: str) -> bool:
    """Return whether the folder has a blob with the right bytes. A file name proves nothing."""
    try:
        with _blob_path(layout, digest).open("rb") as file:
            return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest() == digest
    except FileNotFoundError:
        return False


def put_blobs(layout: Path, *blobs: Blob) -> None:
    """Write the blobs that the folder lacks."""
    for blob in blobs:
        if not has_blob(layout, blob.digest):
            write(layout, _blob_path(layout, blob.digest), blob.content)
    _sync_folder(layout / "blobs")


def write(layout: Path, path: Path, content: bytes) -> None:
    """Replace a file. After a crash the file has its old content or all of the new content."""
    descriptor, unfinished = tempfile.mkstemp(prefix=_UNFINISHED, dir=layout)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o644)  # mkstemp's 0600 hides the image from a cluster's user
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        Path(unfinished).replace(path)
    except BaseException:  # also an interrupt: remove the unfinished file, then pass the error on
        Path(unfinished).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


@contextmanager
def locked(layout: Path, timeout_seconds: float) -> Iterator[None]:
    """Make the folder if needed and lock it. The kernel releases the lock of a dead process.

    Unfinished files of killed pushes are removed, since only the holder of the lock writes.

    Raises:
        ImageRegistryUnavailable: Another process held the lock for too long.
    """
    (layout / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
    descriptor = os.open(layout, os.O_RDONLY | os.O_DIRECTORY)
    try:
        deadline = time.monotonic() + timeout_seconds
        while not _try_lock(descriptor):
            if time.monotonic() >= deadline:
                raise ImageRegistryUnavailable(
                    f"another process has been writing {layout} for over {timeout_seconds:g} s. "
                    f"Find the process: fuser -v {layout}"
                )
            time.sleep(_POLL_SECONDS)  # flock has no timeout
        for leftover in layout.glob(f"{_UNFINISHED}*"):
            leftover.unlink()
        yield
    finally:
        os.close(descriptor)


@contextmanager
def reading(layout: Path) -> Iterator[None]:
    """Translate the errors of the operating system.

    Raises:
        ImageRegistryUnavailable: The folder is not readable.
    """
    try:
        yield
    except OSError as error:
        raise ImageRegistryUnavailable(
            f"cannot read the images in {layout}: {error.strerror}. "
            "Check that PROMOTE_IMAGES names a readable folder."
        ) from error


@contextmanager
def writing(layout: Path) -> Iterator[None]:
    """Translate the errors of the operating system.

    Raises:
        ImageFolderFull: No space is left.
        ImageFolderUnwritable: The folder is not writable.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ImageFolderFull(
                f"cannot write an image to {layout}: {error.strerror}. "
                "Free space there. The push then continues without further action."
            ) from error
        raise ImageFolderUnwritable(
            f"cannot write an image to {layout}: {error.strerror} ({error.filename}). "
            "Give this user write access, or set PROMOTE_IMAGES to another folder."
        ) from error


def _blob_path(layout: Path, digest: str) -> Path:
    return layout / "blobs" / "sha256" / check_digest(digest).removeprefix("sha256:")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
