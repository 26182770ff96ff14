"""Errors as a caller reads them: the one table of HTTP statuses, and problem+json (RFC 9457). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, Field
from pydantic_core import to_json

from client_api.errors import (
    AnswerWrong,
    BlockRefused,
    BodyTooLarge,
    DeadlineOutOfReach,
    DeadlinePassed,
    GatewayError,
    KeyRefused,
    MediaTypeRefused,
    ModelUnknown,
    NoLane,
    NoResponse,
    QueueFull,
    RequestInvalid,
    ServerFault,
    Shed,
)

STATUSES: tuple[tuple[type[GatewayError], int, str], ...] = (
    (KeyRefused, 401, "no key that we know"),
    (ModelUnknown, 404, "no such model"),
    (BodyTooLarge, 413, "body too large"),
    (MediaTypeRefused, 415, "not JSON"),
    (RequestInvalid, 422, "the request does not fit the model's schema"),
    (QueueFull, 429, "too many requests wait"),
    (DeadlineOutOfReach, 429, "the deadline cannot be met"),
    (NoLane, 503, "no model server is ready"),
    (NoResponse, 503, "the model server did not respond"),
    (BlockRefused, 502, "the model server refused these instances"),
    (AnswerWrong, 502, "the model server's answer cannot be trusted"),
    (ServerFault, 502, "the model server failed"),
    (DeadlinePassed, 504, "no answer in time"),
)
"""The first class that fits counts."""
SENT_ON = frozenset({400, 413, 422})
"""Statuses of a refused block that are about the caller's rows: the gateway's check was laxer than the server's."""


class FieldProblem(BaseModel):
    """One place of the body that was refused."""

    pointer: str = Field(description="JSON pointer (RFC 6901) into the request body.", examples=["/instances/3/distance"])
    detail: str = Field(examples=["must be at least 0 miles, is -4"])


class ProblemBody(BaseModel):
    """An error (RFC 9457), as application/problem+json."""

    type: str = "about:blank"
    title: str = Field(examples=["the request does not fit the model's schema"])
    status: int = Field(examples=[422])
    detail: str
    request_id: str
    errors: list[FieldProblem] | None = Field(default=None, description="At most 20 places.")


@dataclass(frozen=True)
class Problem:
    """An error on its way out."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def problem(status: int, title: str, detail: str, *, request_id: str, **more: Any) -> bytes:
    """Return the body of an application/problem+json answer."""
    return to_json({"type": "about:blank", "title": title, "status": status, "detail": detail, "request_id": request_id, **more})


def problem_of(error: GatewayError, *, request_id: str) -> Problem:
    """Return what a caller is told about an error of ours."""
    status, title = next((status, title) for kind, status, title in STATUSES if isinstance(error, kind))
    if isinstance(error, BlockRefused) and error.status in SENT_ON:
        status = 422
    more: dict[str, Any] = {}
    headers = [(b"content-type", b"application/problem+json")]
    if isinstance(error, RequestInvalid) and error.errors:
        more["errors"] = error.errors
    if isinstance(error, KeyRefused):
        headers.append((b"www-authenticate", b'Bearer realm="ratchet"'))
    if isinstance(error, Shed | NoResponse):
        headers.append((b"retry-after", b"%d" % getattr(error, "retry_after_seconds", 1)))
    detail = str(error) if not isinstance(error, ServerFault) or isinstance(error, BlockRefused) else f"{title}; the operator finds the request id in the log"
    return Problem(status, tuple(headers), problem(status, title, detail, request_id=request_id, **more))


def phrase(status: int) -> str:
    """Return a status in words.

    >>> phrase(405)
    'method not allowed'
    """
    return HTTPStatus(status).phrase.lower()
