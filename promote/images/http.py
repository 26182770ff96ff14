"""An image registry over HTTP, for every registry with the OCI distribution API (1.1).

A push sends the manifest by its digest first and by its tag last, and then reads the manifest back.
So a push may be repeated, killed, or run twice at once.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from typing import BinaryIO, cast

from promote.errors import ImageRegistryRefused, ImageRegistryUnavailable, InvalidImage
from promote.images.content import (
    ACCEPT,
    BaseSource,
    copy_blob,
    fetch_base,
    read_blob,
    read_manifest,
)
from promote.images.image import BaseImage, Image
from promote.images.layer import read_model_layer
from promote.images.manifest import MANIFEST_TYPE
from promote.images.names import check_digest, check_repository, check_tag, digest_of, is_digest
from promote.images.session import RegistrySession
from promote.images.uploads import Uploads

_ROUNDS = 3


class HttpRegistry:
    """Images in one registry, below `prefix`. The methods are described in the port."""

    def __init__(
        self,
        session: RegistrySession,
        *,
        prefix: str = "",
        base: BaseSource | None = None,
        pull_host: str = "",
        before_push: Callable[[str], None] = lambda _: None,
        chunk_bytes: int | None = 8 * 2**20,
    ) -> None:
        """Keep where images go. This sends no request.

        Args:
            session: With the registry.
            prefix: Of every repository, with its slash.
            base: None for the empty base.
            pull_host: Where the cluster pulls from; empty for the session's host.
            before_push: Gets the repository's name before each push.
            chunk_bytes: None sends each blob in one request.
        """
        self._session, self._prefix, self._base = session, prefix, base
        self._pull_host, self._before_push = pull_host or session.host, before_push
        self._uploads = Uploads(session, chunk_bytes=chunk_bytes)
        self._complete: set[tuple[str, str]] = set()
        self._base_image: BaseImage | None = None
        self._is_registry = False

    def close(self) -> None:
        """Close the connections to the registry and to the base's registry."""
        self._session.close()
        if self._base is not None:
            self._base.session.close()

    def base_image(self) -> BaseImage | None:
        """See the port. The base is read once."""
        if self._base is not None and self._base_image is None:
            self._base_image = fetch_base(self._base)
        return self._base_image

    def reference(self, repository: str, digest: str) -> str:
        """See the port."""
        return f"{self._pull_host}/{self._name(repository)}@{check_digest(digest)}"

    def find(self, repository: str, tag: str) -> str | None:
        """See the port."""
        name = self._name(repository)
        digest = self._digest_of_tag(name, check_tag(tag))
        return digest if digest is None or self._is_complete(name, digest) else None

    def push(self, repository: str, image: Image, *, tag: str) -> str:
        """See the port."""
        name = self._name(repository)
        self._refuse_another(name, check_tag(tag), image)
        self._before_push(name)
        for rounds_left in reversed(range(_ROUNDS)):
            try:
                self._put_all(name, image, tag)
                break
            except ImageRegistryRefused as refusal:
                # distribution refuses a blob that another push of the same image is just storing.
                if not rounds_left or "MANIFEST_BLOB_UNKNOWN" not in str(refusal):
                    raise
        if self._refuse_another(name, tag, image) != image.digest:
            raise ImageRegistryUnavailable(
                f"{self._session.host} accepted {tag} of {name} and does not have it. "
                "promote pushes it again."
            )
        read_manifest(self._session, name, image.digest)
        return image.digest

    def model_folder(self, repository: str, digest: str) -> dict[str, bytes]:
        """See the port."""
        name = self._name(repository)
        layers = read_manifest(self._session, name, check_digest(digest))["layers"]
        if not layers:
            raise InvalidImage(f"image {digest} of {name} has no layer, so no model.")
        return read_model_layer(read_blob(self._session, name, layers[-1]["digest"]))

    def _name(self, repository: str) -> str:
        return self._prefix + check_repository(repository)

    def _digest_of_tag(self, name: str, tag: str) -> str | None:
        path = f"/v2/{name}/manifests/{tag}"
        answer = self._session.send("HEAD", path, answers={200, 404}, headers=ACCEPT)
        if answer.status_code == 404:
            self._check_is_registry()
            return None
        digest = answer.headers.get("docker-content-digest", "")
        if not is_digest(digest):  # the header is optional
            content = self._session.send("GET", path, answers={200}, headers=ACCEPT).content
            digest = digest_of(content)
        return digest

    def _check_is_registry(self) -> None:
        """Raise when the URL leads to no registry: then a 404 says nothing about an image."""
        if not self._is_registry:
            self._session.send("GET", "/v2/", answers={200})
            self._is_registry = True

    def _refuse_another(self, name: str, tag: str, image: Image) -> str | None:
        """Return the digest of a tag; raise when the tag names another complete image."""
        present = self._digest_of_tag(name, tag)
        if present not in (None, image.digest) and self._is_complete(name, str(present)):
            raise ImageRegistryRefused(
                f"tag {tag} of {self._session.host}/{name} already names {present}, "
                f"not {image.digest}. A tag is written once. Release another version."
            )
        return present

    def _is_complete(self, name: str, digest: str) -> bool:
        """Return whether the manifest is right and the registry has all its blobs.

        A positive answer is kept, since the content of a digest cannot change.
        """
        if (name, digest) not in self._complete:
            manifest = read_manifest(self._session, name, digest)
            parts = (manifest["config"], *manifest["layers"])
            if not all(self._uploads.has_blob(name, part["digest"]) for part in parts):
                return False
            self._complete.add((name, digest))
        return True

    def _put_all(self, name: str, image: Image, tag: str) -> None:
        """Send the blobs that the registry lacks, then the manifest by its digest and its tag."""
        for layer in image.base_layers:
            self._put_base_layer(name, check_digest(layer["digest"]))
        for blob in (image.model_layer, image.config):
            self._uploads.put_blob(name, blob.digest, io.BytesIO(blob.content))
        for reference in (image.digest, tag):
            self._put_manifest(name, reference, image)

    def _put_manifest(self, name: str, reference: str, image: Image) -> None:
        """Send the manifest.

        A registry with immutable tags refuses a second write. This is no error when the tag
        already names the same image.
        """
        try:
            self._session.send(
                "PUT",
                f"/v2/{name}/manifests/{reference}",
                answers={201},
                content=image.manifest.content,
                headers={"Content-Type": MANIFEST_TYPE},
            )
        except ImageRegistryRefused:
            if self._refuse_another(name, reference, image) != image.digest:
                raise

    def _put_base_layer(self, name: str, digest: str) -> None:
        """Mount a layer of the base, or copy the layer when the registry does not mount."""
        if self._uploads.has_blob(name, digest):
            return
        base = self._base
        if base is None:
            raise ImageRegistryRefused(
                f"{self._session.host}/{name} lacks layer {digest} of the base image. "
                "Name the base in PROMOTE_BASE_IMAGE."
            )
        address: str | None = ""
        if base.session is self._session:
            address = self._uploads.mount(name, digest, base.name)
        if address is None:
            return
        with tempfile.TemporaryFile() as file:
            content = cast("BinaryIO", file)  # TemporaryFile's own type is wider
            copy_blob(base.session, base.name, digest, content)
            self._uploads.put_blob(name, digest, content, address=address)
