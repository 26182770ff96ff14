"""Why a request is not answered. HTTP statuses are given by problems.py, nowhere else. Pure.

GatewayError
├── Refused                 the caller must change something
│   ├── KeyRefused          no key, or one we do not know
│   ├── ModelUnknown        no endpoint serves a model of this name
│   ├── MediaTypeRefused    the body is not application/json
│   ├── BodyTooLarge        more bytes than allowed
│   ├── BodyTooSlow         the body did not arrive in time
│   └── RequestInvalid      not JSON, or fields that the model's schema refuses; names each by its pointer
├── Shed                    the caller may come again after `retry_after_seconds`
│   ├── QueueFull           too many rows wait already
│   ├── DeadlineOutOfReach  the rows ahead will take longer than the deadline allows
│   └── NoLane              no server of this model can be asked now
├── DeadlinePassed          the answer did not come in time
├── CallerLeft              nobody is there to be answered
└── ServerFault             a model server did not answer as agreed
    ├── NoResponse          no whole answer came back: the one fault that is tried once more, on another endpoint
    ├── AnswerWrong         an answer that cannot be trusted: rows, release or numbers are not what was asked
    └── BlockRefused        the server refused the rows of one block
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one place of a body, by its JSON pointer (RFC 6901)."""

    pointer: str
    detail: str


class GatewayError(Exception):
    """The root: everything a caller may be told."""


class Refused(GatewayError):
    """The same request will be refused again."""


class KeyRefused(Refused):
    """The request carries no key, or one that is not ours."""


class ModelUnknown(Refused):
    """Nobody serves this model."""


class MediaTypeRefused(Refused):
    """The body is declared to be something else than JSON."""


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
    """Not now."""

    def __init__(self, message: str, *, retry_after_seconds: int = 1) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class QueueFull(Shed):
    """As many rows wait as may wait."""


class DeadlineOutOfReach(Shed):
    """The rows ahead will take longer than the deadline allows."""


class NoLane(Shed):
    """No server of this model can be asked now."""


class DeadlinePassed(GatewayError):
    """The answer did not come in time."""


class CallerLeft(GatewayError):
    """The connection was closed by the caller before the answer."""


class ServerFault(GatewayError):
    """A model server did not answer as agreed."""


class NoResponse(ServerFault):
    """The call ended before a whole response had come."""


class AnswerWrong(ServerFault):
    """The answer cannot be trusted."""


class BlockRefused(ServerFault):
    """The server refused the rows of one block; its neighbours may be fine."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
