"""What a registry over HTTP holds, every byte checked against the digest that it was asked for by."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, BinaryIO

from promote.errors import InvalidImage
from promote.images.image import MANIFEST_TYPE, BaseImage, read_object
from promote.images.names import check_digest, is_digest
from promote.images.session import RegistrySession

_INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
ACCEPT = {
    "Accept": ", ".join(
        (MANIFEST_TYPE, "application/vnd.docker.distribution.manifest.v2+json", *_INDEX_TYPES)
    )
}
"""All that a tag may name: a registry may convert what is not accepted, and then the digest is another."""


@dataclass(frozen=True)
class BaseSource:
    """Where the base image lies."""

    session: RegistrySession
    """That of the registry of the models when it is the same one: layers are then mounted, not sent."""
    name: str
    digest: str
    """Of a manifest, or of an index that has one for linux/amd64."""


def fetch_base(base: BaseSource) -> BaseImage:
    """Return manifest and configuration of the base for linux/amd64.

    Raises:
        InvalidImage: There is none, or it is for another platform.
    """
    what = f"the base image {base.name}@{base.digest}"
    content = _read_manifest_bytes(base.session, base.name, base.digest)
    if "manifests" in (index := read_object(content, what)):
        listed = index["manifests"] if isinstance(index["manifests"], list) else []
        entries = [entry for entry in listed if isinstance(entry, dict)]
        fitting = [str(entry.get("digest")) for entry in entries if _is_ours(entry.get("platform"))]
        if not fitting:
            raise InvalidImage(
                f"{what} has no linux/amd64. Name another one in PROMOTE_BASE_IMAGE."
            )
        content = _read_manifest_bytes(base.session, base.name, check_digest(fitting[0]))
    config = read_blob(base.session, base.name, _image_manifest(content, what)["config"]["digest"])
    if not _is_ours(read_object(config, what)):
        raise InvalidImage(
            f"{what} is not for linux/amd64. Name another one in PROMOTE_BASE_IMAGE."
        )
    return BaseImage(content, config)


def read_manifest(session: RegistrySession, name: str, digest: str) -> dict[str, Any]:
    """Return an image's manifest; `config` and each of `layers` have a digest.

    Raises:
        InvalidImage: It is not there, or not one image's.
    """
    return _image_manifest(
        _read_manifest_bytes(session, name, digest), f"{digest} of {session.host}/{name}"
    )


def read_blob(session: RegistrySession, name: str, digest: str) -> bytes:
    """Return a blob; raises as `read_manifest` does."""
    return _checked(session, f"/v2/{name}/blobs/{check_digest(digest)}", digest)


def copy_blob(session: RegistrySession, name: str, digest: str, file: BinaryIO) -> None:
    """Write a blob, which may be large, to a file; raises as `read_manifest` does."""
    _checked(session, f"/v2/{name}/blobs/{check_digest(digest)}", digest, into=file)


def _read_manifest_bytes(session: RegistrySession, name: str, digest: str) -> bytes:
    return _checked(session, f"/v2/{name}/manifests/{digest}", digest, headers=ACCEPT)


def _checked(
    session: RegistrySession,
    path: str,
    digest: str,
    *,
    headers: dict[str, str] | None = None,
    into: BinaryIO | None = None,
) -> bytes:
    answer = session.send("GET", path, answers={200, 404}, headers=headers, into=into)
    if answer.status_code == 404:
        raise InvalidImage(
            f"{session.host}{path} is not there. A model's image is pushed again by promote reconcile --once; a base is PROMOTE_BASE_IMAGE's."
        )
    found = hashlib.sha256(answer.content if into is None else b"")
    if into is not None:
        into.seek(0)
        while part := into.read(2**20):
            found.update(part)
    if f"sha256:{found.hexdigest()}" != digest:
        raise InvalidImage(
            f"{session.host}{path} should be {digest} and is sha256:{found.hexdigest()}: what stores or carries it is damaged."
        )
    return answer.content if into is None else b""


def _image_manifest(content: bytes, what: str) -> dict[str, Any]:
    manifest = read_object(content, what)
    layers = manifest.get("layers")
    parts = (manifest.get("config"), *(layers if isinstance(layers, list) else (None,)))
    if not all(isinstance(part, dict) and is_digest(str(part.get("digest"))) for part in parts):
        raise InvalidImage(f"{what} is not an image manifest ({MANIFEST_TYPE}).")
    return manifest


def _is_ours(platform: object) -> bool:
    return isinstance(platform, dict) and (platform.get("os"), platform.get("architecture")) == (
        "linux",
        "amd64",
    )
