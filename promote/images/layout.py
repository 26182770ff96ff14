"""An image registry in a folder: one OCI layout (image-spec 1.1) per repository.

The laptop uses such a folder, and skopeo reads it. The tag is written last and every file appears
whole, so a push may be repeated, killed, or run twice at once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from promote.errors import ImageRegistryRefused, InvalidImage
from promote.images.blobs import has_blob, locked, put_blobs, read_blob, reading, write, writing
from promote.images.image import Blob, Image
from promote.images.layer import read_model_layer
from promote.images.manifest import is_descriptor, read_manifest_object
from promote.images.names import check_repository, check_tag, image_reference

_INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
_TAG_ANNOTATION = "org.opencontainers.image.ref.name"


class LayoutRegistry:
    """An OCI layout folder for each repository, below one root. The port describes the methods."""

    def __init__(self, root: Path, *, lock_timeout_seconds: float = 30.0) -> None:
        self._root = root
        self._lock_timeout_seconds = lock_timeout_seconds

    def base_image(self) -> None:
        """Return None: the base is the empty image."""

    def reference(self, repository: str, digest: str) -> str:
        """Return repository and digest."""
        return image_reference(repository, digest)

    def find(self, repository: str, tag: str) -> str | None:
        """See the port."""
        layout = self._layout(repository)
        with reading(layout):
            return _digest_of_tag(layout, check_tag(tag))

    def push(self, repository: str, image: Image, *, tag: str) -> str:
        """See the port."""
        layout = self._layout(repository)
        check_tag(tag)
        with writing(layout), locked(layout, self._lock_timeout_seconds):
            _push(layout, image, tag)
        return image.digest

    def model_folder(self, repository: str, digest: str) -> dict[str, bytes]:
        """See the port."""
        layout = self._layout(repository)
        with reading(layout):
            layers = _read_manifest(layout, digest)["layers"]
            if not layers:
                raise InvalidImage(f"image {digest} in {layout} has no layer, so no model.")
            return read_model_layer(read_blob(layout, layers[-1]["digest"]))

    def _layout(self, repository: str) -> Path:
        return self._root / check_repository(repository)


def _push(layout: Path, image: Image, tag: str) -> None:
    present = _digest_of_tag(layout, tag)
    if present not in (None, image.digest):
        raise ImageRegistryRefused(
            f"tag {tag} in {layout} already names {present}, not {image.digest}. "
            "A tag is written once. Release another version."
        )
    for layer in image.base_layers:
        if not has_blob(layout, layer["digest"]):
            raise ImageRegistryRefused(
                f"{layout} lacks layer {layer['digest']} of the base image. "
                f"Copy the base there first: skopeo copy … oci:{layout}:base"
            )
    put_blobs(layout, image.model_layer, image.config, image.manifest)
    write(layout, layout / "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    _write_tag(layout, image.manifest, tag)


def _write_tag(layout: Path, manifest: Blob, tag: str) -> None:
    """Let a tag name a manifest. This is the commit point of a push."""
    index = _read_index(layout)
    others = [entry for entry in index["manifests"] if _tag_of(entry) != tag]
    index["manifests"] = [*others, {**manifest.descriptor, "annotations": {_TAG_ANNOTATION: tag}}]
    content = json.dumps(index, sort_keys=True, separators=(",", ":")).encode()
    write(layout, layout / "index.json", content)


def _digest_of_tag(layout: Path, tag: str) -> str | None:
    """Return the digest of a tag's image; None for no tag and for an image that lacks a blob."""
    entries = _read_index(layout)["manifests"]
    digests = [str(entry["digest"]) for entry in entries if _tag_of(entry) == tag]
    if not digests:
        return None
    try:
        manifest = _read_manifest(layout, digests[-1])
    except InvalidImage:
        return None
    parts = (manifest["config"], *manifest["layers"])
    return digests[-1] if all(has_blob(layout, part["digest"]) for part in parts) else None


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
    entries = index.get("manifests") if isinstance(index, dict) else None
    if not isinstance(entries, list) or not all(is_descriptor(entry) for entry in entries):
        raise InvalidImage(
            f"{path} is not the index of an OCI layout. "
            "Remove the file: the next push writes it again."
        )
    return dict(index)


def _read_manifest(layout: Path, digest: str) -> dict[str, Any]:
    return read_manifest_object(read_blob(layout, digest), f"{digest} in {layout}")
