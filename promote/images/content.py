"""Reads manifests and blobs from a registry over HTTP, and checks every byte against its digest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, BinaryIO

from promote.errors import InvalidImage
from promote.images.image import BaseImage
from promote.images.manifest import MANIFEST_TYPE, read_manifest_object, read_object
from promote.images.names import check_digest
from promote.images.session import RegistrySession

_DOCKER_MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
_INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
ACCEPT = {"Accept": ", ".join((MANIFEST_TYPE, _DOCKER_MANIFEST_TYPE, *_INDEX_TYPES))}
"""Every type that a tag may name. A registry may convert other types, which changes the digest."""
_PLATFORM = ("linux", "amd64")


@dataclass(frozen=True)
class BaseSource:
    """Where the base image is stored."""

    session: RegistrySession
    """The models' own session when the base is in the same registry. Then layers are mounted."""
    name: str
    digest: str
    """Of a manifest, or of an index with a manifest for linux/amd64."""


def fetch_base(base: BaseSource) -> BaseImage:
    """Return the base's manifest and configuration for linux/amd64.

    Raises:
        InvalidImage: The base is absent, or is for another platform.
    """
    what = f"the base image {base.name}@{base.digest}"
    content = _read_manifest_bytes(base.session, base.name, base.digest)
    if "manifests" in (index := read_object(content, what)):
        entries = index["manifests"] if isinstance(index["manifests"], list) else []
        digests = [
            str(entry.get("digest"))
            for entry in entries
            if isinstance(entry, dict) and _is_our_platform(entry.get("platform"))
        ]
        if not digests:
            raise InvalidImage(
                f"{what} has no linux/amd64. Name another image in PROMOTE_BASE_IMAGE."
            )
        content = _read_manifest_bytes(base.session, base.name, check_digest(digests[0]))
    digest = read_manifest_object(content, what)["config"]["digest"]
    config = read_blob(base.session, base.name, digest)
    if not _is_our_platform(read_object(config, what)):
        raise InvalidImage(
            f"{what} is not for linux/amd64. Name another image in PROMOTE_BASE_IMAGE."
        )
    return BaseImage(content, config)


def read_manifest(session: RegistrySession, name: str, digest: str) -> dict[str, Any]:
    """Return an image's manifest; `config` and each of `layers` have a digest.

    Raises:
        InvalidImage: The manifest is absent, or is not the manifest of one image.
    """
    content = _read_manifest_bytes(session, name, digest)
    return read_manifest_object(content, f"{digest} of {session.host}/{name}")


def read_blob(session: RegistrySession, name: str, digest: str) -> bytes:
    """Return a blob; raises as `read_manifest` does."""
    return _read(session, f"/v2/{name}/blobs/{check_digest(digest)}", digest)


def copy_blob(session: RegistrySession, name: str, digest: str, file: BinaryIO) -> None:
    """Write a blob, which may be large, to a file; raises as `read_manifest` does."""
    _read(session, f"/v2/{name}/blobs/{check_digest(digest)}", digest, into=file)


def _read_manifest_bytes(session: RegistrySession, name: str, digest: str) -> bytes:
    return _read(session, f"/v2/{name}/manifests/{digest}", digest, headers=ACCEPT)


def _read(
    session: RegistrySession,
    path: str,
    digest: str,
    *,
    headers: dict[str, str] | None = None,
    into: BinaryIO | None = None,
) -> bytes:
    """Return the content of a path, or write the content to `into` and return nothing."""
    answer = session.send("GET", path, answers={200, 404}, headers=headers, into=into)
    if answer.status_code == 404:
        raise InvalidImage(
            f"{session.host}{path} is absent. For a model's image run promote reconcile --once, "
            "which pushes the image again. For a base check PROMOTE_BASE_IMAGE."
        )
    content = answer.content if into is None else b""
    checksum = hashlib.sha256(content)
    if into is not None:
        into.seek(0)
        while part := into.read(2**20):
            checksum.update(part)
    if f"sha256:{checksum.hexdigest()}" != digest:
        raise InvalidImage(
            f"{session.host}{path} should be {digest} and is sha256:{checksum.hexdigest()}. "
            "The registry, or something before it, damages the content."
        )
    return content


def _is_our_platform(platform: object) -> bool:
    return (
        isinstance(platform, dict)
        and (platform.get("os"), platform.get("architecture")) == _PLATFORM
    )
