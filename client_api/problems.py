"""Errors as callers read them: problem+json (RFC 9457). The only table of HTTP statuses. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, NotRequired

from pydantic import Field
from pydantic_core import to_json
from typing_extensions import TypedDict

from client_api.errors import (
    AnswerWrong,
    BlockRefused,
    BodyTooLarge,
    BodyTooSlow,
    DeadlineOutOfReach,
    DeadlinePassed,
    FieldError,
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
    (BodyTooSlow, 408, "the body took too long"),
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
"""Error, status and title. The first class that fits counts."""
DEFECT = (500, "a fault of the gateway")
"""Status and title for an exception that errors.py does not list."""
ASK_OPERATOR = "the operator finds the request id in the log"
PROBLEM_JSON = (b"content-type", b"application/problem+json")
SENT_ON = frozenset({400, 413, 422})
"""A refused block with one of these statuses is the caller's mistake, so the gateway answers 422.

The gateway accepted rows that the server refuses.
"""


class FieldProblem(TypedDict):
    """One wrong place of the body."""

    pointer: Annotated[str, Field(description="JSON pointer (RFC 6901) into the request body.")]
    detail: Annotated[str, Field(description="What is allowed there, and what was sent.")]


class ProblemBody(TypedDict):
    """An error (RFC 9457), as application/problem+json."""

    type: Annotated[
        str, Field(description="Always `about:blank`: the status says what kind of error this is.")
    ]
    title: Annotated[
        str, Field(description="The kind of error in words; the same for all errors of the kind.")
    ]
    status: Annotated[int, Field(description="The HTTP status.")]
    detail: Annotated[str, Field(description="What happened, for people.")]
    request_id: Annotated[str, Field(description="The value of the header x-request-id.")]
    errors: NotRequired[
        Annotated[
            list[FieldProblem],
            Field(
                description="What is wrong with the body, at most 20 places. "
                "Only with status 422, and not always."
            ),
        ]
    ]


EXAMPLES: tuple[GatewayError, ...] = (
    KeyRefused("this key is not known"),
    ModelUnknown("no model 'flight-dely'; there are: flight-delay"),
    BodyTooSlow("the body did not arrive within 10 s: send it faster, or in smaller requests"),
    BodyTooLarge("a body may have 1048576 bytes; this one has more"),
    MediaTypeRefused("send content-type: application/json; it is text/plain"),
    RequestInvalid(
        "the request is not what this model takes",
        [FieldError("/instances/3/distance", "must be at least 0 miles, is -4")],
    ),
    QueueFull("9990 rows wait already; at most 10000 may"),
    NoLane("no server of flight-delay is ready"),
    AnswerWrong("the server answered another release"),
    DeadlinePassed("the answer did not come before the deadline"),
)
"""One error of each status, for the description."""


@dataclass(frozen=True)
class Reply:
    """One HTTP answer: status, headers and body."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def problem(status: int, title: str, detail: str, *, request_id: str, **more: Any) -> bytes:
    """Return the body of an application/problem+json answer."""
    return to_json(
        {
            "type": "about:blank",
            "title": title,
            "status": status,
            "detail": detail,
            "request_id": request_id,
            **more,
        }
    )


def problem_of(error: GatewayError, *, request_id: str) -> Reply:
    """Return what the gateway answers for one of its errors."""
    status, title = next(
        (status, title) for kind, status, title in STATUSES if isinstance(error, kind)
    )
    if isinstance(error, BlockRefused) and error.status in SENT_ON:
        status = 422
    more: dict[str, Any] = {}
    headers = [PROBLEM_JSON]
    if isinstance(error, RequestInvalid) and error.errors:
        more["errors"] = error.errors
    if isinstance(error, BodyTooSlow):
        headers.append((b"connection", b"close"))  # the rest of the body is not read
    if isinstance(error, KeyRefused):
        headers.append((b"www-authenticate", b'Bearer realm="ratchet"'))
    if isinstance(error, Shed | NoResponse):
        headers.append((b"retry-after", b"%d" % getattr(error, "retry_after_seconds", 1)))
    detail = str(error)
    if isinstance(error, ServerFault) and not isinstance(error, BlockRefused):
        detail = f"{title}; {ASK_OPERATOR}"
    body = problem(status, title, detail, request_id=request_id, **more)
    return Reply(status, tuple(headers), body)
