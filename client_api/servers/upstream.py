"""The only file that speaks HTTP with a model server (serving/contract.py). Its faults leave here as ServerFault, once, with their cause."""

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
"""Shorter than any server's (uvicorn closes after 5): a connection that the server is closing is never taken for a call."""
CONNECT_SECONDS = 0.5
METADATA_SECONDS = 2.0
HEADERS = {"content-type": "application/json"}
RESPONSE = TypeAdapter[list[AnswerBlock | BlockError]](PredictResponse)
Prediction = dict[str, float]


class Server(Protocol):
    """One model server, as lanes ask it."""

    url: str

    async def close(self) -> None:
        """Hang up."""

    async def metadata(self) -> Served:
        """Return what the server says it serves, or raise ServerFault or DeadlinePassed."""

    async def predict(
        self, blocks: Sequence[dict[str, list[Any]]], *, deadline: float
    ) -> list[AnswerBlock | BlockRefused]:
        """Return the answer to each block of columns, or raise NoResponse, DeadlinePassed or ServerFault."""


class Upstream:
    """A server over HTTP. A pool of its own: what a cancelled call leaks is gone when the lane is."""

    def __init__(self, url: str, *, tls: ssl.SSLContext, token: SecretStr | None = None) -> None:
        self.url = url.rstrip("/")
        self._headers = (
            HEADERS
            if token is None
            else {**HEADERS, "authorization": f"Bearer {token.get_secret_value()}"}
        )
        limits = httpx2.Limits(
            max_connections=4, max_keepalive_connections=2, keepalive_expiry=KEEP_ALIVE_SECONDS
        )
        self._transport = httpx2.AsyncHTTPTransport(
            limits=limits, verify=tls, trust_env=False
        )  # a client's cookies and redirects cost a third of a call

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def metadata(self) -> Served:
        """Return what the server says it serves.

        Raises:
            ServerFault: It does not answer, or something else than `Served`.
        """
        status, body = await self._exchange("GET", "/metadata", b"", METADATA_SECONDS)
        if status != 200:
            raise AnswerWrong(f"{self.url}/metadata answered {status}")
        try:
            return Served.model_validate_json(body, extra="ignore")  # a newer server may say more
        except ValidationError as problem:
            raise AnswerWrong(
                f"{self.url}/metadata is not what a server of ours answers: {problem}"
            ) from problem

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
        status, body = await self._exchange(
            "POST", "/predict", content, deadline - asyncio.get_running_loop().time()
        )
        if status != 200:
            raise ServerFault(
                f"{self.url}/predict answered {status}: {body[:200].decode(errors='replace')}"
            )
        try:
            answers = RESPONSE.validate_json(body, extra="ignore")
        except ValidationError as problem:
            raise AnswerWrong(
                f"{self.url}/predict answered something else than blocks: {problem.errors()[0]['msg']}"
            ) from problem
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
            async with asyncio.timeout(
                seconds
            ):  # httpx's own bound each read: a server that drips would hold the lane for ever
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
        except Exception as fault:  # httpx's own errors, and what its event loop raises below it when a server dies: none is a fault of the caller
            raise NoResponse(f"{self.url}{path} did not answer: {fault!r}") from fault


def check_answer(answer: AnswerBlock, rows: int, served: Served) -> list[Prediction]:
    """Return one prediction a row, when every one can be trusted.

    Raises:
        AnswerWrong: Another release, other outputs or another number of rows than were asked; a number outside its range, or NaN.
    """
    if (answer.version, answer.image_digest) != (served.version, served.image_digest):
        raise AnswerWrong(
            f"asked version {served.version} ({served.image_digest}), version {answer.version} ({answer.image_digest}) answered"
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
