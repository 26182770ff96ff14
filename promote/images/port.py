"""Where images are pushed and looked up: the port, and the choice by URL."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import httpx2

from promote.errors import UnsupportedRegistry
from promote.images.content import BaseSource
from promote.images.ecr import EcrAccount
from promote.images.http import HttpRegistry
from promote.images.image import BaseImage, Image
from promote.images.layout import LayoutRegistry
from promote.images.names import check_repository, split_reference
from promote.images.session import Credentials, RegistrySession

_SCHEME = "oci-layout:"
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class ImageRegistry(Protocol):
    """Where images lie."""

    def base_image(self) -> BaseImage | None:
        """Return what every image here is built on; None for the empty image.

        Raises:
            InvalidImage: It is not there, or not for linux/amd64.
            ImageRegistryUnavailable: Its registry could not be asked.
        """
        ...

    def reference(self, repository: str, digest: str) -> str:
        """Return how a release names an image: the host the cluster pulls from (none for a folder), the repository and the digest."""
        ...

    def find(self, repository: str, tag: str) -> str | None:
        """Return the digest of the whole image that a tag names; None when the registry answered that there is none.

        Raises:
            ImageRegistryUnavailable: The registry could not be asked, which says nothing about the image.
        """
        ...

    def push(self, repository: str, image: Image, *, tag: str) -> str:
        """Send what the registry lacks of an image, then the tag; return the image's digest.

        Raises:
            ImageRegistryRefused: The tag names another image already (tags are written once), or a layer of the base is not there.
            ImageRegistryUnavailable: Another push did not end, or the registry did not answer.
            ImageFolderUnwritable: Only of a folder: not writable, or full.
        """
        ...

    def model_folder(self, repository: str, digest: str) -> dict[str, bytes]:
        """Return the files of an image's model layer, each digest on the way checked.

        Raises:
            InvalidImage: There is no such image, or its bytes are not what their digests say.
        """
        ...


def open_image_registry(
    url: str,
    *,
    lock_timeout_seconds: float = 30.0,
    base_image: str = "",
    user: str = "",
    password: str = "",
    pull_host: str = "",
    transport: httpx2.BaseTransport | None = None,
) -> ImageRegistry:
    """Return the registry that PROMOTE_IMAGES names; nothing is asked of it yet.

    `base_image` is `<repository>@sha256:…` in the same registry, or in another one `http(s)://<host>/<repository>@sha256:…`, read without a login.
    A registry over HTTP is told `user` and `password` when it asks; for ECR the login is AWS's. The cluster pulls from `pull_host`, or from the URL's host.

    Raises:
        UnsupportedRegistry: Not `oci-layout:` and an absolute path, `http(s)://` and a host, or `ecr:` and an address of ECR; a login in the URL.
        InvalidName: The prefix, or the name or digest of the base image.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "ecr":
        return _ecr(rest, base_image, pull_host, transport)
    if scheme in ("http", "https"):
        session, prefix = _session(
            url, credentials=(lambda: (user, password)) if user else None, transport=transport
        )
        return HttpRegistry(
            session, prefix=_prefix(prefix), base=_base(base_image, session), pull_host=pull_host
        )
    if scheme != "oci-layout":  # nothing of it in a message: it may carry a password
        raise UnsupportedRegistry(
            "PROMOTE_IMAGES is of no kind that promote knows. Set it to oci-layout:/an/absolute/folder, https://<host> or ecr:<host>."
        )
    root = Path(rest)
    if not root.is_absolute() or ".." in root.parts or "\0" in url:
        raise UnsupportedRegistry(
            "PROMOTE_IMAGES is no folder; write oci-layout: and an absolute path without `..`, such as oci-layout:/srv/images."
        )
    if base_image:
        raise UnsupportedRegistry(
            "PROMOTE_BASE_IMAGE is set; a folder of images has the empty base only. Leave it unset."
        )
    return LayoutRegistry(root, lock_timeout_seconds=lock_timeout_seconds)


def _ecr(
    rest: str, base_image: str, pull_host: str, transport: httpx2.BaseTransport | None
) -> HttpRegistry:
    host, _, prefix = rest.partition("/")
    account = EcrAccount(host)
    session = RegistrySession(
        f"https://{host}", credentials=account.credentials, transport=transport
    )
    return HttpRegistry(
        session,
        prefix=_prefix(prefix),
        base=_base(base_image, session),
        pull_host=pull_host,
        before_push=account.make_repository,
        chunk_bytes=None,  # as docker pushes there: after a second chunk ECR says that it has the first one only (aws/containers-roadmap#2831)
    )


def _session(
    url: str,
    *,
    credentials: Credentials | None = None,
    transport: httpx2.BaseTransport | None = None,
) -> tuple[RegistrySession, str]:
    """Return a session with the registry of a URL, and the URL's path."""
    try:
        parts = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise UnsupportedRegistry(
            "a registry's URL cannot be read; write https://<host> or https://<host>:<port>, and perhaps /prefix."
        ) from error
    if not parts.host or parts.userinfo or parts.query or parts.fragment:
        raise UnsupportedRegistry(
            "a registry's URL is https://<host> and perhaps /prefix; a login goes to PROMOTE_IMAGES_USER and PROMOTE_IMAGES_PASSWORD."
        )
    if credentials and parts.scheme == "http" and parts.host not in _LOOPBACK:
        raise UnsupportedRegistry(
            f"PROMOTE_IMAGES would send a password to {parts.host} in the clear. Use https://."
        )
    return RegistrySession(
        str(parts.copy_with(path="/")), credentials=credentials, transport=transport
    ), parts.path


def _prefix(path: str) -> str:
    prefix = path.strip("/")
    return f"{check_repository(prefix)}/" if prefix else ""


def _base(reference: str, models: RegistrySession) -> BaseSource | None:
    if not reference:
        return None
    if not reference.startswith(("http://", "https://")):
        return BaseSource(models, *split_reference(reference))
    address, at, digest = reference.rpartition("@")
    session, path = _session(address if at else digest)
    return BaseSource(session, *split_reference(f"{path.strip('/')}@{digest}"))
