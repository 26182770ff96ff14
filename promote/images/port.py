"""Where images are pushed and looked up: the port. opening.py chooses the implementation."""

from __future__ import annotations

from typing import Protocol

from promote.images.image import BaseImage, Image


class ImageRegistry(Protocol):
    """Stores images."""

    def base_image(self) -> BaseImage | None:
        """Return the image that every model image is built on; None for the empty image.

        Raises:
            InvalidImage: The base is absent, or is not for linux/amd64.
            ImageRegistryUnavailable: The base's registry did not answer.
        """

    def reference(self, repository: str, digest: str) -> str:
        """Return the name of an image in a release.

        The name has the host that the cluster pulls from (a folder has none), the repository and
        the digest.
        """

    def find(self, repository: str, tag: str) -> str | None:
        """Return the digest of a tag's image; None when the registry has no such tag.

        An image that lacks a blob counts as absent. The next push repairs it.

        Raises:
            ImageRegistryUnavailable: The registry did not answer. Nothing is known.
        """

    def push(self, repository: str, image: Image, *, tag: str) -> str:
        """Send the parts of an image that the registry lacks, then the tag; return the digest.

        A push may be repeated, killed, or run twice at once.

        Raises:
            ImageRegistryRefused: The tag already names another image (a tag is written once), or a
                layer of the base is absent.
            ImageRegistryUnavailable: Another push did not end, or the registry did not answer.
            ImageFolderUnwritable: The folder is not writable or is full. Only folders raise this.
        """

    def model_folder(self, repository: str, digest: str) -> dict[str, bytes]:
        """Return the files of an image's model layer. Every digest on the way is checked.

        Raises:
            InvalidImage: The image is absent, or its bytes do not match their digests.
        """
