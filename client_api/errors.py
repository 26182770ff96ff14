"""Why a request gets no prediction. Only problems.py knows HTTP statuses. Pure.

GatewayError
├── Refused                 the caller must change something
│   ├── KeyRefused          no key, or an unknown key
│   ├── ModelUnknown        no endpoint serves a model of this name
│   ├── MediaTypeRefused    the body is not application/json
│   ├── BodyTooLarge        more bytes than allowed
│   ├── BodyTooSlow         the body did not arrive in time
│   └── RequestInvalid      not JSON, or fields that the schema refuses; each with its pointer
├── Shed                    the caller may try again after `retry_after_seconds`
│   ├── QueueFull           too many rows wait already
│   ├── DeadlineOutOfReach  the rows ahead will take longer than the deadline allows
│   └── NoLane              no server of this model can be asked now
├── DeadlinePassed          the answer did not come in time
├── CallerLeft              the caller hung up
└── ServerFault             a model server did not answer as agreed
    ├── NoResponse          no whole answer came back; the gateway asks another server once
    ├── AnswerWrong         the answer has other rows, another release or impossible numbers
    └── BlockRefused        the server refused the rows of one block
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class FieldError:
    """A JSON pointer (RFC 6901) into a body, and what is wrong there."""

    pointer: str
    detail: str


class GatewayError(Exception):
    """The root of all errors that the gateway answers."""


class Refused(GatewayError):
    """The same request will be refused again."""


class KeyRefused(Refused):
    """The request carries no key, or an unknown key."""


class ModelUnknown(Refused):
    """No endpoint serves a model of this name."""


class MediaTypeRefused(Refused):
    """The content type is not JSON."""


class BodyTooLarge(Refused):
    """The body has more bytes than allowed."""


class BodyTooSlow(Refused):
    """The body did not arrive in time."""


class RequestInvalid(Refused):
    """The body is not what the model's schema asks for."""

    def __init__(self, message: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(message)
        self.errors = tuple(errors)


class Shed(GatewayError):
    """The gateway has no room for the request now. The caller may try again later."""

    def __init__(self, message: str, *, retry_after_seconds: int = 1) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class QueueFull(Shed):
    """The queue is full."""


class DeadlineOutOfReach(Shed):
    """The rows ahead will take longer than the deadline allows."""


class NoLane(Shed):
    """No server of this model can be asked now."""


class DeadlinePassed(GatewayError):
    """The answer did not come in time."""


class CallerLeft(GatewayError):
    """The caller closed the connection before the answer."""


class ServerFault(GatewayError):
    """A model server did not answer as agreed."""


class NoResponse(ServerFault):
    """The call ended before a whole response had come."""


class AnswerWrong(ServerFault):
    """The answer cannot be trusted."""


class BlockRefused(ServerFault):
    """The server refused the rows of one block. Other blocks of the same call may be fine."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
