"""Where images are pushed and looked up: the port, and the choice by URL. Registries over HTTP come with a later issue."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from promote.errors import UnsupportedRegistry
from promote.image import Image
from promote.image_layout import LayoutRegistry

_SCHEME = "oci-layout:"


class ImageRegistry(Protocol):
    """Where images lie."""

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


def open_image_registry(url: str, *, lock_timeout_seconds: float = 30.0) -> ImageRegistry:
    """Return the registry that PROMOTE_IMAGES names.

    Raises:
        UnsupportedRegistry: Not `oci-layout:` and an absolute path.
    """
    if not url.startswith(_SCHEME):
        kind = url.partition(":")[0][:20]  # no more: a URL may carry a password
        raise UnsupportedRegistry(f"PROMOTE_IMAGES starts with {kind!r}; this version writes folders only. Set it to oci-layout:/an/absolute/folder.")
    root = Path(url.removeprefix(_SCHEME))
    if not root.is_absolute() or ".." in root.parts or "\0" in url:
        raise UnsupportedRegistry(f"PROMOTE_IMAGES is {url!r}; write oci-layout: and an absolute path without `..`, such as oci-layout:/srv/images.")
    return LayoutRegistry(root, lock_timeout_seconds=lock_timeout_seconds)
