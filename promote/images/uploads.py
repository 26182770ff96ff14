"""Sends blobs to an OCI registry: mount, chunks, and the continuation after a broken connection."""

from __future__ import annotations

import io
import re
from typing import BinaryIO

import httpx2

from promote.errors import ImageRegistryRefused, ImageRegistryUnavailable
from promote.images.session import RegistrySession

_OCTETS = "application/octet-stream"
_ROUNDS = 3


class Uploads:
    """Uploads of one registry."""

    def __init__(self, session: RegistrySession, *, chunk_bytes: int | None) -> None:
        """`chunk_bytes` None sends each blob in one request."""
        self._session, self._chunk_bytes = session, chunk_bytes

    def has_blob(self, name: str, digest: str) -> bool:
        """Return whether a repository has a blob."""
        path = f"/v2/{name}/blobs/{digest}"
        return self._session.send("HEAD", path, answers={200, 404}).status_code == 200

    def mount(self, name: str, digest: str, source: str) -> str | None:
        """Take a blob over from repository `source` of the same registry.

        Returns:
            None when the blob is mounted. A registry that does not mount begins an upload instead:
            then the address of this upload, or "" when the registry gave no address.
        """
        path = f"{_uploads(name)}?mount={digest}&from={source}"
        answer = self._session.send("POST", path, answers={201, 202})
        return None if answer.status_code == 201 else answer.headers.get("location", "")

    def put_blob(self, name: str, digest: str, content: BinaryIO, *, address: str = "") -> None:
        """Send a blob unless the repository has it.

        Args:
            name: The repository.
            digest: Of the whole content.
            content: A seekable file.
            address: Of an upload that the registry already began for this blob (see `mount`).

        Raises:
            ImageRegistryUnavailable: The registry lost the upload, or accepts the bytes and then
                does not have the blob.
            ImageRegistryRefused: See `RegistrySession.send`.
        """
        for _ in range(_ROUNDS):
            # The answer to the last request of a round may be lost, so each round asks first.
            if not address and self.has_blob(name, digest):
                return
            address = address or self._begin(name)
            address = self._send(name, address, content)
            if address and self._finish(address, digest):
                return
            address = ""
        if not self.has_blob(name, digest):
            raise ImageRegistryUnavailable(
                f"{self._session.host} accepted {digest} for {name} {_ROUNDS} times "
                "and does not have it."
            )

    def _begin(self, name: str) -> str:
        return _location(self._session.send("POST", _uploads(name), answers={202}))

    def _finish(self, address: str, digest: str) -> bool:
        closing = str(httpx2.URL(address).copy_merge_params({"digest": digest}))
        headers = {"Content-Type": _OCTETS}
        answer = self._session.send("PUT", closing, answers={201, 400, 404, 416}, headers=headers)
        return answer.status_code == 201

    def _send_at_once(self, address: str, content: BinaryIO) -> str:
        """Send all bytes in one request; return the upload's address, "" for a lost upload.

        After a broken connection promote's next pass begins a new upload.
        """
        content.seek(0)
        answer = self._session.send(
            "PATCH",
            address,
            answers={201, 202, 404},
            content=content.read(),
            headers={"Content-Type": _OCTETS},
            cut_is_final=True,
        )
        return "" if answer.status_code == 404 else _location(answer)

    def _send(self, name: str, address: str, content: BinaryIO) -> str:
        """Send all bytes, in chunks if wanted; return the upload's address, "" for a lost upload.

        After a broken connection the upload continues at the byte that the registry names.
        """
        if self._chunk_bytes is None:
            return self._send_at_once(address, content)
        size, start, failures = content.seek(0, io.SEEK_END), 0, 0
        while start < size:
            content.seek(start)
            chunk = content.read(self._chunk_bytes)
            try:
                address, start = self._send_chunk(address, start, chunk, size)
            except ImageRegistryUnavailable:
                failures += 1
                if failures >= self._session.tries:
                    raise
                address, start = self._resume(name, address)
        return address

    def _send_chunk(self, address: str, start: int, chunk: bytes, size: int) -> tuple[str, int]:
        """Send one chunk; return the upload's new address and its next byte."""
        end = start + len(chunk)
        answer = self._session.send(
            "PATCH",
            address,
            answers={202, 404, 416},
            content=chunk,
            headers={"Content-Type": _OCTETS, "Content-Range": f"{start}-{end - 1}"},
            cut_is_final=True,
        )
        reached = _next_byte(answer, end) if answer.status_code == 202 else start
        if reached <= start:
            raise ImageRegistryUnavailable(
                f"{self._session.host} lost an upload at byte {start} of {size}."
            )
        return _location(answer), reached

    def _resume(self, name: str, address: str) -> tuple[str, int]:
        """Return where an upload continues.

        A new upload begins when the registry gave the old one up. distribution 2.8 does this after
        a break inside a chunk.
        """
        answer = self._session.send("GET", address, answers={204, 400, 404, 416})
        start = _next_byte(answer, 0)
        if answer.status_code == 204 and start:
            return str(answer.headers.get("location", address)), start
        return self._begin(name), 0


def _uploads(name: str) -> str:
    return f"/v2/{name}/blobs/uploads/"


def _location(answer: httpx2.Response) -> str:
    if "location" not in answer.headers:
        raise ImageRegistryRefused(
            f"{answer.request.url.host} began an upload without an address. "
            "Check that PROMOTE_IMAGES names a registry."
        )
    return str(answer.headers["location"])


def _next_byte(answer: httpx2.Response, otherwise: int) -> int:
    """Return the byte after the range that an answer reports, or `otherwise`.

    `0-0` reports nothing: distribution writes it for no byte and for one byte.
    """
    reported = re.fullmatch(r"(?:bytes=)?0-(\d+)", answer.headers.get("range", ""))
    return int(reported[1]) + 1 if reported and reported[1] != "0" else otherwise
