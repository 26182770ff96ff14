"""An OCI layout folder as an image registry (image-spec 1.1, image-layout.md): what the laptop uses, and skopeo reads.

A push is harmless when repeated, run twice at once or killed: the tag is written last, and every file appears whole or not at all.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from promote.errors import (
    ImageFolderFull,
    ImageFolderUnwritable,
    ImageRegistryRefused,
    ImageRegistryUnavailable,
    InvalidImage,
)
from promote.images.image import MANIFEST_TYPE, Blob, Image, read_model_layer
from promote.images.names import (
    check_digest,
    check_repository,
    check_tag,
    image_reference,
    is_digest,
)

_INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
_TAG_ANNOTATION = "org.opencontainers.image.ref.name"
_UNFINISHED = ".unfinished-"


class LayoutRegistry:
    """An OCI layout folder for each repository, below one root."""

    def __init__(self, root: Path, *, lock_timeout_seconds: float = 30.0) -> None:
        self._root = root
        self._lock_timeout_seconds = lock_timeout_seconds

    def base_image(self) -> None:
        """The empty one."""

    def reference(self, repository: str, digest: str) -> str:
        """Repository and digest."""
        return image_reference(repository, digest)

    def find(self, repository: str, tag: str) -> str | None:
        """See image_registry.ImageRegistry. An image with a missing or damaged blob counts as not there: the next push mends it."""
        layout = self._layout(repository)
        with _reading(layout):
            return _find_whole(layout, check_tag(tag))

    def push(self, repository: str, image: Image, *, tag: str) -> str:
        """See image_registry.ImageRegistry."""
        layout = self._layout(repository)
        check_tag(tag)
        with _writing(layout):
            _blobs(layout).mkdir(parents=True, exist_ok=True)
            with _locked(layout, self._lock_timeout_seconds):
                _push(layout, image, tag)
        return image.digest

    def model_folder(self, repository: str, digest: str) -> dict[str, bytes]:
        """See image_registry.ImageRegistry."""
        layout = self._layout(repository)
        with _reading(layout):
            layers = _read_manifest(layout, digest)["layers"]
            if not layers:
                raise InvalidImage(f"image {digest} in {layout} has no layer, so no model.")
            return read_model_layer(_read_blob(layout, layers[-1]["digest"]))

    def _layout(self, repository: str) -> Path:
        return self._root / check_repository(repository)


def _push(layout: Path, image: Image, tag: str) -> None:
    for leftover in layout.glob(f"{_UNFINISHED}*"):
        leftover.unlink()  # of a killed push: whoever writes holds the lock
    present = _find_whole(layout, tag)
    if present not in (None, image.digest):
        raise ImageRegistryRefused(
            f"tag {tag} in {layout} already names {present}, not {image.digest}. A tag is written once. Release another version."
        )
    for layer in image.base_layers:
        if not _has_blob(layout, layer["digest"]):
            raise ImageRegistryRefused(
                f"{layout} lacks layer {layer['digest']} of the base image. Copy the base there first: skopeo copy … oci:{layout}:base"
            )
    for blob in (image.model_layer, image.config, image.manifest):
        _put_blob(layout, blob)
    _sync_folder(layout / "blobs")
    _write(layout / "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    _name(layout, image.manifest, tag)


def _put_blob(layout: Path, blob: Blob) -> None:
    if not _has_blob(layout, blob.digest):
        _write(_blob_path(layout, blob.digest), blob.content)


def _name(layout: Path, manifest: Blob, tag: str) -> None:
    """Let a tag name a manifest: the commit point of a push."""
    index = _read_index(layout)
    others = [entry for entry in index["manifests"] if _tag_of(entry) != tag]
    index["manifests"] = [*others, {**manifest.descriptor, "annotations": {_TAG_ANNOTATION: tag}}]
    _write(layout / "index.json", json.dumps(index, sort_keys=True, separators=(",", ":")).encode())


def _find_whole(layout: Path, tag: str) -> str | None:
    named = [entry["digest"] for entry in _read_index(layout)["manifests"] if _tag_of(entry) == tag]
    if not named:
        return None
    try:
        manifest = _read_manifest(layout, named[-1])
    except InvalidImage:
        return None
    whole = all(
        _has_blob(layout, part["digest"]) for part in (manifest["config"], *manifest["layers"])
    )
    return str(named[-1]) if whole else None


def _tag_of(entry: dict[str, Any]) -> object:
    return (entry.get("annotations") or {}).get(_TAG_ANNOTATION)


def _read_index(layout: Path) -> dict[str, Any]:
    path = layout / "index.json"
    try:
        index = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {"schemaVersion": 2, "mediaType": _INDEX_TYPE, "manifests": []}
    except ValueError as error:
        raise InvalidImage(
            f"{path} is not JSON ({error}). Remove the file: the next push writes it again."
        ) from error
    if (
        not isinstance(index, dict)
        or not isinstance(index.get("manifests"), list)
        or not all(_is_descriptor(entry) for entry in index["manifests"])
    ):
        raise InvalidImage(
            f"{path} is not the index of an OCI layout. Remove the file: the next push writes it again."
        )
    return index


def _read_manifest(layout: Path, digest: str) -> dict[str, Any]:
    try:
        manifest = json.loads(_read_blob(layout, digest))
    except ValueError as error:
        raise InvalidImage(f"{digest} in {layout} is not a manifest ({error}).") from error
    whole = isinstance(manifest, dict) and isinstance(manifest.get("layers"), list)
    if not whole or not all(
        _is_descriptor(part) for part in (manifest.get("config"), *manifest["layers"])
    ):
        raise InvalidImage(f"{digest} in {layout} is not an image manifest ({MANIFEST_TYPE}).")
    return dict(manifest)


def _is_descriptor(value: object) -> bool:
    return isinstance(value, dict) and is_digest(str(value.get("digest")))


def _read_blob(layout: Path, digest: str) -> bytes:
    path = _blob_path(layout, digest)
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise InvalidImage(
            f"{layout} has no blob {digest}. Push the image again: promote reconcile --once"
        ) from error
    if "sha256:" + hashlib.sha256(content).hexdigest() != digest:
        raise InvalidImage(
            f"{path} is damaged: its content has another digest. Push the image again: promote reconcile --once"
        )
    return content


def _has_blob(layout: Path, digest: str) -> bool:
    """True when the blob is there and its bytes are right: a name alone proves nothing."""
    path = _blob_path(layout, digest)
    try:
        with path.open("rb") as file:
            return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest() == digest
    except FileNotFoundError:
        return False


def _blob_path(layout: Path, digest: str) -> Path:
    return _blobs(layout) / check_digest(digest).removeprefix("sha256:")


def _blobs(layout: Path) -> Path:
    return layout / "blobs" / "sha256"


def _write(path: Path, content: bytes) -> None:
    """Replace a file; after a crash it has its old content or all of the new."""
    layout = path.parent if path.parent.name != "sha256" else path.parent.parent.parent
    descriptor, unfinished = tempfile.mkstemp(prefix=_UNFINISHED, dir=layout)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(
                descriptor, 0o644
            )  # mkstemp's 0600 would hide the image from a cluster run by another user
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        Path(unfinished).replace(path)
    except BaseException:  # an interrupt too: leave no half file, then let it go on
        Path(unfinished).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _locked(layout: Path, timeout_seconds: float) -> Iterator[None]:
    """Hold the layout; the kernel lets go of it when we die."""
    descriptor = os.open(layout, os.O_RDONLY | os.O_DIRECTORY)
    try:
        deadline = time.monotonic() + timeout_seconds
        while not _try_lock(descriptor):
            if time.monotonic() >= deadline:
                raise ImageRegistryUnavailable(
                    f"another process has been writing {layout} for over {timeout_seconds:g} s. See which: fuser -v {layout}"
                )
            time.sleep(0.02)  # flock has no timeout of its own
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _reading(layout: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ImageRegistryUnavailable(
            f"cannot read the images in {layout}: {error.strerror}. See that PROMOTE_IMAGES names a readable folder."
        ) from error


@contextmanager
def _writing(layout: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ImageFolderFull(
                f"cannot write an image to {layout}: {error.strerror}. Free space there; the push then goes on by itself."
            ) from error
        raise ImageFolderUnwritable(
            f"cannot write an image to {layout}: {error.strerror} ({error.filename}). Give this user write access, or set PROMOTE_IMAGES to another folder."
        ) from error
