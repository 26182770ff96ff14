"""Opens the image registry that PROMOTE_IMAGES names: a folder, an OCI registry, or ECR."""

from __future__ import annotations

from pathlib import Path

import httpx2

from promote.errors import UnsupportedRegistry
from promote.images.content import BaseSource
from promote.images.ecr import EcrAccount
from promote.images.http import HttpRegistry
from promote.images.layout import LayoutRegistry
from promote.images.names import check_repository, split_reference
from promote.images.port import ImageRegistry
from promote.images.session import Credentials, RegistrySession

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


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
    """Return the registry that PROMOTE_IMAGES names. This sends no request.

    Args:
        url: `oci-layout:/a/folder`, `http(s)://<host>`, or `ecr:<host>`; the last two with a
            prefix of repositories if wanted.
        lock_timeout_seconds: How long a push to a folder waits for another push.
        base_image: `<repository>@sha256:…` in the same registry, or
            `http(s)://<host>/<repository>@sha256:…` in another registry, read without a login.
        user: Of a registry over HTTP; sent when the registry asks. ECR's login comes from AWS.
        password: The user's.
        pull_host: Where the cluster pulls from; empty for the URL's host.
        transport: For tests.

    Raises:
        UnsupportedRegistry: The URL has another form, or contains a login.
        InvalidName: The prefix, or the base image's name or digest, is wrong.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "ecr":
        return _ecr(rest, base_image, pull_host, transport)
    if scheme in ("http", "https"):
        credentials = (lambda: (user, password)) if user else None
        session, prefix = _session(url, credentials=credentials, transport=transport)
        return HttpRegistry(
            session, prefix=_prefix(prefix), base=_base(base_image, session), pull_host=pull_host
        )
    if scheme != "oci-layout":  # the message must not repeat the URL, which may hold a password
        raise UnsupportedRegistry(
            "PROMOTE_IMAGES has an unknown form. "
            "Write oci-layout:/an/absolute/folder, https://<host> or ecr:<host>."
        )
    root = Path(rest)
    if not root.is_absolute() or ".." in root.parts or "\0" in url:
        raise UnsupportedRegistry(
            "PROMOTE_IMAGES is no usable folder. Write oci-layout: and an absolute path without "
            "`..`, such as oci-layout:/srv/images."
        )
    if base_image:
        raise UnsupportedRegistry(
            "PROMOTE_BASE_IMAGE is set, but PROMOTE_IMAGES is a folder. "
            "Images in a folder have the empty base. Remove PROMOTE_BASE_IMAGE."
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
        # Docker sends whole blobs, too. After a second chunk ECR reports the range of the first
        # chunk only (aws/containers-roadmap#2831).
        chunk_bytes=None,
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
            "a registry's URL is not readable. "
            "Write https://<host> or https://<host>:<port>, with /prefix if needed."
        ) from error
    if not parts.host or parts.userinfo or parts.query or parts.fragment:
        raise UnsupportedRegistry(
            "a registry's URL is https://<host>, with /prefix if needed. "
            "Write a login into PROMOTE_IMAGES_USER and PROMOTE_IMAGES_PASSWORD."
        )
    if credentials and parts.scheme == "http" and parts.host not in _LOOPBACK:
        raise UnsupportedRegistry(
            f"PROMOTE_IMAGES would send a password to {parts.host} without encryption. "
            "Use https://."
        )
    origin = str(parts.copy_with(path="/"))
    return RegistrySession(origin, credentials=credentials, transport=transport), parts.path


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
