"""The only file that speaks HTTP with a model server (serving/contract.py).

httpx2's errors become ServerFault or DeadlinePassed here, with their cause.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import Sequence
from typing import Any, Protocol

import httpx2
from pydantic import SecretStr, TypeAdapter, ValidationError
from pydantic_core import to_json

from client_api.errors import AnswerWrong, BlockRefused, DeadlinePassed, NoResponse, ServerFault
from retrain.contract import Output
from serving.contract import AnswerBlock, BlockError, PredictResponse, Served

KEEP_ALIVE_SECONDS = 3.0
"""Shorter than any server's (uvicorn: 5 s), so no call uses a connection that the server closes."""
CONNECT_SECONDS = 0.5
METADATA_SECONDS = 2.0
HEADERS = {"content-type": "application/json"}
RESPONSE = TypeAdapter[list[AnswerBlock | BlockError]](PredictResponse)
Prediction = dict[str, float]


class Server(Protocol):
    """One model server, as lanes need it."""

    url: str

    async def close(self) -> None:
        """Close the connections."""

    async def metadata(self) -> Served:
        """Return what the server serves, or raise ServerFault or DeadlinePassed."""

    async def predict(
        self, blocks: Sequence[dict[str, list[Any]]], *, deadline: float
    ) -> list[AnswerBlock | BlockRefused]:
        """Return the answer to each block of columns.

        Raises NoResponse, DeadlinePassed or ServerFault.
        """


class Upstream:
    """A server over HTTP, with a connection pool of its own.

    A cancelled call may leak a connection. The leak ends with the lane.
    """

    def __init__(self, url: str, *, tls: ssl.SSLContext, token: SecretStr | None = None) -> None:
        self.url = url.rstrip("/")
        self._headers = dict(HEADERS)
        if token is not None:
            self._headers["authorization"] = f"Bearer {token.get_secret_value()}"
        limits = httpx2.Limits(
            max_connections=4, max_keepalive_connections=2, keepalive_expiry=KEEP_ALIVE_SECONDS
        )
        # only the transport: a client's cookies and redirects cost a third of a call
        self._transport = httpx2.AsyncHTTPTransport(limits=limits, verify=tls, trust_env=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def metadata(self) -> Served:
        """Return what the server serves.

        Raises:
            ServerFault: The server does not answer, or its answer is not a `Served`.
        """
        status, body = await self._exchange("GET", "/metadata", b"", METADATA_SECONDS)
        if status != 200:
            raise AnswerWrong(f"{self.url}/metadata answered {status}")
        try:
            return Served.model_validate_json(body, extra="ignore")  # a newer server may say more
        except ValidationError as problem:
            raise AnswerWrong(f"{self.url}/metadata is no metadata of ours: {problem}") from problem

    async def predict(
        self, blocks: Sequence[dict[str, list[Any]]], *, deadline: float
    ) -> list[AnswerBlock | BlockRefused]:
        """Return the answer to each block of columns.

        Raises:
            NoResponse: No whole answer came back.
            DeadlinePassed: `deadline`, on the event loop's clock, came first.
            ServerFault: Anything else.
        """
        content = to_json({"blocks": [{"columns": columns} for columns in blocks]})
        seconds = deadline - asyncio.get_running_loop().time()
        status, body = await self._exchange("POST", "/predict", content, seconds)
        if status != 200:
            shown = body[:200].decode(errors="replace")
            raise ServerFault(f"{self.url}/predict answered {status}: {shown}")
        try:
            answers = RESPONSE.validate_json(body, extra="ignore")
        except ValidationError as problem:
            reason = problem.errors()[0]["msg"]
            raise AnswerWrong(f"{self.url}/predict did not answer blocks: {reason}") from problem
        return [
            answer
            if isinstance(answer, AnswerBlock)
            else BlockRefused(answer.status, answer.detail)
            for answer in answers
        ]

    async def _exchange(
        self, method: str, path: str, content: bytes, seconds: float
    ) -> tuple[int, bytes]:
        timeout = httpx2.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS)).as_dict()
        try:
            # httpx2's timeouts bound each read: a server that drips would hold the lane for ever
            async with asyncio.timeout(seconds):
                request = httpx2.Request(
                    method,
                    self.url + path,
                    headers=self._headers,
                    content=content,
                    extensions={"timeout": timeout},
                )
                response = await self._transport.handle_async_request(request)
                return response.status_code, await response.aread()
        except (TimeoutError, httpx2.ReadTimeout, httpx2.WriteTimeout) as late:
            raise DeadlinePassed(
                f"{self.url}{path} did not answer within {seconds:.2f} s"
            ) from late
        except Exception as fault:  # httpx2's errors, and the event loop's when a server dies
            raise NoResponse(f"{self.url}{path} did not answer: {fault!r}") from fault


def check_answer(answer: AnswerBlock, rows: int, served: Served) -> list[Prediction]:
    """Return one prediction a row.

    Raises:
        AnswerWrong: The answer has another release, other outputs or another number of rows, or a
            number is outside its range or NaN.
    """
    if (answer.version, answer.image_digest) != (served.version, served.image_digest):
        raise AnswerWrong(
            f"asked version {served.version} ({served.image_digest}),"
            f" version {answer.version} ({answer.image_digest}) answered"
        )
    names = [output.name for output in served.io.outputs]
    if set(answer.columns) != set(names):
        raise AnswerWrong(
            f"asked for {', '.join(names)}, the server answered {', '.join(answer.columns)}"
        )
    for output in served.io.outputs:
        _check_column(answer.columns[output.name], rows, output)
    return [
        dict(zip(names, values, strict=True))
        for values in zip(*(answer.columns[name] for name in names), strict=True)
    ]


def _check_column(column: Sequence[float], rows: int, output: Output) -> None:
    if len(column) != rows:
        raise AnswerWrong(f"the server answered {len(column)} rows to {rows}")
    low = -math.inf if output.minimum is None else output.minimum
    high = math.inf if output.maximum is None else output.maximum
    for value in column:
        if not (math.isfinite(value) and low <= value <= high):
            raise AnswerWrong(f"the server answered {output.name} = {value}")
