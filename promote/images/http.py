"""Any registry that speaks the OCI distribution API (distribution-spec 1.1) as an image registry.

The manifest goes first by its digest and last by its tag, and is pulled back: a push is harmless when repeated, run twice at once or killed.
"""

from __future__ import annotations

import hashlib
import io
import re
import tempfile
from collections.abc import Callable
from typing import BinaryIO, cast

import httpx2

from promote.errors import ImageRegistryRefused, ImageRegistryUnavailable, InvalidImage
from promote.images.content import (
    ACCEPT,
    BaseSource,
    copy_blob,
    fetch_base,
    read_blob,
    read_manifest,
)
from promote.images.image import MANIFEST_TYPE, BaseImage, Image, read_model_layer
from promote.images.names import check_digest, check_repository, check_tag, is_digest
from promote.images.session import RegistrySession

_OCTETS = "application/octet-stream"
_ROUNDS = 3


class HttpRegistry:
    """Images in one registry, below `prefix`."""

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
        """`chunk_bytes` None sends each blob at once; `before_push` is told each repository."""
        self._session, self._prefix, self._base, self._before_push, self._chunk_bytes = (
            session,
            prefix,
            base,
            before_push,
            chunk_bytes,
        )
        self._pull_host = pull_host or session.host
        self._whole: set[tuple[str, str]] = set()
        self._base_image: BaseImage | None = None
        self._is_registry = False

    def close(self) -> None:
        """Close the connections to the registry, and to that of the base."""
        self._session.close()
        if self._base is not None:
            self._base.session.close()

    def base_image(self) -> BaseImage | None:
        """See image_registry.ImageRegistry."""
        if self._base is not None and self._base_image is None:
            self._base_image = fetch_base(self._base)
        return self._base_image

    def reference(self, repository: str, digest: str) -> str:
        """See image_registry.ImageRegistry."""
        return f"{self._pull_host}/{self._name(repository)}@{check_digest(digest)}"

    def find(self, repository: str, tag: str) -> str | None:
        """See image_registry.ImageRegistry. An image that lacks a blob counts as not there: the next push mends it."""
        name = self._name(repository)
        digest = self._tagged(name, check_tag(tag))
        return digest if digest is None or self._is_whole(name, digest) else None

    def push(self, repository: str, image: Image, *, tag: str) -> str:
        """See image_registry.ImageRegistry."""
        name = self._name(repository)
        self._refuse_another(name, check_tag(tag), image)
        self._before_push(name)
        for left in reversed(range(_ROUNDS)):
            try:
                self._put_all(name, image, tag)
                break
            except ImageRegistryRefused as refusal:  # distribution says so of a blob that another writer of the same image files at this moment
                if not left or "MANIFEST_BLOB_UNKNOWN" not in str(refusal):
                    raise
        if self._refuse_another(name, tag, image) != image.digest:
            raise ImageRegistryUnavailable(
                f"{self._session.host} took {tag} of {name} and does not have it; promote pushes it again."
            )
        read_manifest(self._session, name, image.digest)
        return image.digest

    def model_folder(self, repository: str, digest: str) -> dict[str, bytes]:
        """See image_registry.ImageRegistry."""
        name = self._name(repository)
        layers = read_manifest(self._session, name, check_digest(digest))["layers"]
        if not layers:
            raise InvalidImage(f"image {digest} of {name} has no layer, so no model.")
        return read_model_layer(read_blob(self._session, name, layers[-1]["digest"]))

    def _name(self, repository: str) -> str:
        return self._prefix + check_repository(repository)

    def _tagged(self, name: str, tag: str) -> str | None:
        answer = self._session.send(
            "HEAD", f"/v2/{name}/manifests/{tag}", answers={200, 404}, headers=ACCEPT
        )
        if answer.status_code == 404:
            self._check_is_registry()
            return None
        digest = answer.headers.get("docker-content-digest", "")
        if not is_digest(digest):  # the header is optional
            content = self._session.send(
                "GET", f"/v2/{name}/manifests/{tag}", answers={200}, headers=ACCEPT
            ).content
            digest = "sha256:" + hashlib.sha256(content).hexdigest()
        return digest

    def _check_is_registry(self) -> None:
        """Raise when the URL is no registry's, whose 404 says nothing about an image."""
        if not self._is_registry:
            self._session.send("GET", "/v2/", answers={200})
            self._is_registry = True

    def _refuse_another(self, name: str, tag: str, image: Image) -> str | None:
        present = self._tagged(name, tag)
        if present not in (None, image.digest) and self._is_whole(name, str(present)):
            raise ImageRegistryRefused(
                f"tag {tag} of {self._session.host}/{name} names {present} already, not {image.digest}; tags are written once. Release another version."
            )
        return present

    def _is_whole(self, name: str, digest: str) -> bool:
        """True when the manifest's bytes are right and its blobs are there; looked at once, since neither can change."""
        if (name, digest) not in self._whole:
            manifest = read_manifest(self._session, name, digest)
            if not all(
                self._has_blob(name, part["digest"])
                for part in (manifest["config"], *manifest["layers"])
            ):
                return False
            self._whole.add((name, digest))
        return True

    def _put_all(self, name: str, image: Image, tag: str) -> None:
        """Send what is not there, then name it."""
        for layer in image.base_layers:
            self._put_base_layer(name, check_digest(layer["digest"]))
        for blob in (image.model_layer, image.config):
            self._put_blob(name, blob.digest, io.BytesIO(blob.content))
        for reference in (image.digest, tag):
            self._put_manifest(name, reference, image)

    def _put_manifest(self, name: str, reference: str, image: Image) -> None:
        """Name the image; a registry where nothing can be changed refuses what is there, which is well if it is ours."""
        headers = {"Content-Type": MANIFEST_TYPE}
        try:
            self._session.send(
                "PUT",
                f"/v2/{name}/manifests/{reference}",
                answers={201},
                content=image.manifest.content,
                headers=headers,
            )
        except ImageRegistryRefused:
            if self._refuse_another(name, reference, image) != image.digest:
                raise

    def _put_base_layer(self, name: str, digest: str) -> None:
        if self._has_blob(name, digest):
            return
        base = self._base
        if base is None:
            raise ImageRegistryRefused(
                f"{self._session.host}/{name} lacks layer {digest} of the base image. Name the base in PROMOTE_BASE_IMAGE."
            )
        if base.session is self._session and self._is_mounted(name, digest, base.name):
            return
        with tempfile.TemporaryFile() as file:
            content = cast("BinaryIO", file)  # TemporaryFile's own type is wider
            copy_blob(base.session, base.name, digest, content)
            self._put_blob(name, digest, content)

    def _is_mounted(self, name: str, digest: str, other: str) -> bool:
        return (
            self._session.send(
                "POST", f"/v2/{name}/blobs/uploads/?mount={digest}&from={other}", answers={201, 202}
            ).status_code
            == 201
        )

    def _has_blob(self, name: str, digest: str) -> bool:
        return (
            self._session.send("HEAD", f"/v2/{name}/blobs/{digest}", answers={200, 404}).status_code
            == 200
        )

    def _put_blob(self, name: str, digest: str, content: BinaryIO) -> None:
        """Send a blob unless it is there; whether it arrived is asked, since the last answer may be lost."""
        for _ in range(_ROUNDS):
            if self._has_blob(name, digest):
                return
            uploads = f"/v2/{name}/blobs/uploads/"
            location = (
                self._upload_at_once(uploads, content)
                if self._chunk_bytes is None
                else self._upload(uploads, content, self._chunk_bytes)
            )
            closing = str(httpx2.URL(location).copy_merge_params({"digest": digest}))
            if (
                self._session.send(
                    "PUT", closing, answers={201, 400, 404, 416}, headers={"Content-Type": _OCTETS}
                ).status_code
                == 201
            ):
                return
        if not self._has_blob(name, digest):
            raise ImageRegistryUnavailable(
                f"{self._session.host} took all of {digest} for {name} {_ROUNDS} times and does not have it."
            )

    def _upload(self, uploads: str, content: BinaryIO, chunk_bytes: int) -> str:
        """Send all bytes in chunks, going on after a cut where the registry says it is; return the upload's address."""
        size, failures = content.seek(0, io.SEEK_END), 0
        location, start = self._begin(uploads)
        while start < size:
            content.seek(start)
            chunk = content.read(chunk_bytes)
            headers = {
                "Content-Type": _OCTETS,
                "Content-Range": f"{start}-{start + len(chunk) - 1}",
            }
            try:
                answer = self._session.send(
                    "PATCH",
                    location,
                    answers={202, 404, 416},
                    content=chunk,
                    headers=headers,
                    cut_is_final=True,
                )
                reached = (
                    _next_byte(answer, start + len(chunk)) if answer.status_code == 202 else start
                )
                if reached > start:
                    location, start = _location(answer), reached
                    continue
                raise ImageRegistryUnavailable(
                    f"{self._session.host} lost an upload at byte {start} of {size}."
                )
            except ImageRegistryUnavailable:
                failures += 1
                if failures >= self._session.tries:
                    raise
            location, start = self._resume(uploads, location)
        return location

    def _upload_at_once(self, uploads: str, content: BinaryIO) -> str:
        """Send all bytes in one request and return the upload's address; after a cut promote's next pass begins anew."""
        location, _ = self._begin(uploads)
        content.seek(0)
        answer = self._session.send(
            "PATCH",
            location,
            answers={201, 202},
            content=content.read(),
            headers={"Content-Type": _OCTETS},
            cut_is_final=True,
        )
        return _location(answer)

    def _begin(self, uploads: str) -> tuple[str, int]:
        return _location(self._session.send("POST", uploads, answers={202})), 0

    def _resume(self, uploads: str, location: str) -> tuple[str, int]:
        """Return where an upload goes on; from the start when the registry gave it up (distribution 2.8 does after a cut inside a chunk)."""
        answer = self._session.send("GET", location, answers={204, 400, 404, 416})
        start = _next_byte(answer, 0)
        return (
            (str(answer.headers.get("location", location)), start)
            if answer.status_code == 204 and start
            else self._begin(uploads)
        )


def _location(answer: httpx2.Response) -> str:
    if "location" not in answer.headers:
        raise ImageRegistryRefused(
            f"{answer.request.url.host} began an upload and did not say where. See that PROMOTE_IMAGES names a registry."
        )
    return str(answer.headers["location"])


def _next_byte(answer: httpx2.Response, otherwise: int) -> int:
    found = re.fullmatch(r"(?:bytes=)?0-(\d+)", answer.headers.get("range", ""))
    return (
        int(found[1]) + 1 if found and found[1] != "0" else otherwise
    )  # `0-0` says nothing: distribution writes it for no byte and for one
