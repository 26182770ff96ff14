"""Checks before a request waits: media type, bytes, waiting time, request id. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from client_api.errors import BodyTooLarge, MediaTypeRefused

REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
"""The request ids that the gateway repeats. None can end a header, a log line or a quoted text."""


def check_media_type(headers: Mapping[bytes, bytes]) -> None:
    """Accept `application/json` with any parameters.

    Raises:
        MediaTypeRefused: The header has another type, or is missing.

    >>> check_media_type({b"content-type": b"application/json; charset=utf-8"})
    """
    declared = headers.get(b"content-type", b"")
    if declared.partition(b";")[0].strip().lower() != b"application/json":
        shown = declared[:80].decode("ascii", "replace") or "missing"
        raise MediaTypeRefused(f"send content-type: application/json; it is {shown}")


def check_declared_bytes(headers: Mapping[bytes, bytes], *, max_body_bytes: int) -> None:
    """Refuse a body by its Content-Length, before reading. uvicorn drops the bytes that still come.

    Raises:
        BodyTooLarge: The header announces more bytes than allowed.
    """
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and (len(declared) > 18 or int(declared) > max_body_bytes):
        raise BodyTooLarge(
            f"a body may have {max_body_bytes} bytes; this one announces {declared[:20].decode()}"
        )


def check_bytes(received_bytes: int, *, max_body_bytes: int) -> None:
    """Refuse a body as soon as more bytes came than allowed. Content-Length may be wrong.

    Raises:
        BodyTooLarge: More bytes came than allowed.
    """
    if received_bytes > max_body_bytes:
        raise BodyTooLarge(f"a body may have {max_body_bytes} bytes; this one has more")


def seconds_to_answer(call_seconds: float, rows: int, *, max_block_rows: int) -> float:
    """Estimate the seconds until the last of `rows` waiting rows is answered.

    One call is in flight. The waiting rows fill further blocks, each one call.

    >>> seconds_to_answer(0.1, 250, max_block_rows=100)
    0.4
    """
    return call_seconds * (1 + math.ceil(rows / max_block_rows))


def request_id(offered: bytes | None, *, fresh: str) -> str:
    """Return the caller's request id when it matches REQUEST_ID, else `fresh`.

    >>> request_id(b"a-1", fresh="f"), request_id(b"a b", fresh="f")
    ('a-1', 'f')
    """
    if offered is not None and REQUEST_ID.fullmatch(offered):
        return offered.decode()
    return fresh
