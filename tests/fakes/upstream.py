"""Model servers that misbehave: one in memory for unit tests, one over real HTTP on loopback.

The second lies, hangs and resets as a test says.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field

from client_api.errors import NoResponse
from client_api.protocols.instances import RequestReader
from retrain.contract import Feature, ModelSchema, Output
from serving.contract import AnswerBlock, Served

IO = ModelSchema(
    features=(
        Feature(
            name="carrier",
            type="category",
            known_categories=("AA", "UA"),
            description="two-letter code of the airline",
        ),
        Feature(name="distance", type="number", unit="mile", minimum=0),
        Feature(name="wind_speed", type="number", unit="mile/hour", required=False),
    ),
    outputs=(Output(name="probability", minimum=0, maximum=1),),
)
ROW = {"carrier": "UA", "distance": 100}


def served(
    version: int = 8, *, model: str = "flight-delay", io: ModelSchema = IO, max_rows: int = 100
) -> Served:
    """What a server of this version says of itself."""
    digest = f"sha256:{version:064x}"
    return Served(
        model=model,
        version=version,
        image_digest=digest,
        model_digest=digest,
        snapshot_id=digest,
        io=io,
        max_rows=max_rows,
    )


def reader_of(release: Served) -> RequestReader:
    """What the gateway makes of a release, as client_api/app.py does."""
    return RequestReader(release.model, release.io, max_rows=min(1_000, release.max_rows))


def honest_answer(columns: dict[str, list], release: Served) -> dict[str, object]:
    """Each row's probability is its distance / 10,000: whose answer one got can be told."""
    return {
        "columns": {"probability": [distance / 10_000 for distance in columns["distance"]]},
        "version": release.version,
        "image_digest": release.image_digest,
    }


class ServerInMemory:
    """client_api.servers.upstream.Server without a network."""

    def __init__(self, url: str, release: Served | None = None) -> None:
        """Serve `release`, or nothing yet."""
        self.url = url
        self.release = release
        self.is_dead = False
        self.is_closed = False
        self.blocks: list[dict[str, list]] = []
        self.seconds = 0.0
        self.answer: Callable[[dict[str, list], Served], dict[str, object]] = honest_answer

    async def close(self) -> None:
        self.is_closed = True

    async def metadata(self) -> Served:
        if self.release is None or self.is_dead:
            raise NoResponse("connection refused")
        return self.release

    async def predict(self, blocks, *, deadline: float):
        self.blocks += blocks
        await asyncio.sleep(self.seconds)
        if self.release is None or self.is_dead:
            raise NoResponse("connection refused")
        return [
            AnswerBlock.model_validate(self.answer(columns, self.release)) for columns in blocks
        ]


@dataclass
class HttpServer:
    """A model server over real HTTP. /predict follows `conducts`; the last conduct stays."""

    release: Served
    conducts: list[str] = field(default_factory=lambda: ["honest"])
    requests: int = 0
    port: int = 0
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> HttpServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
                body = await reader.readexactly(length)
                if head.startswith(b"get /metadata"):
                    await self._reply(writer, 200, self.release.model_dump_json())
                else:
                    self.requests += 1
                    conduct = self.conducts.pop(0) if len(self.conducts) > 1 else self.conducts[0]
                    await self._conduct(
                        conduct, writer, [block["columns"] for block in json.loads(body)["blocks"]]
                    )
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _reply(
        self, writer: asyncio.StreamWriter, status: int, body: str, *, promised: int | None = None
    ) -> None:
        length = promised or len(body)
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n"
        writer.write(f"{head}content-length: {length}\r\n\r\n{body}".encode())
        await writer.drain()

    async def _conduct(
        self, conduct: str, writer: asyncio.StreamWriter, blocks: list[dict[str, list]]
    ) -> None:
        answers = [honest_answer(columns, self.release) for columns in blocks]
        probabilities = [answer["columns"]["probability"] for answer in answers]
        match conduct:
            case "honest":
                pass
            case "late":
                await asyncio.sleep(0.15)
            case "hangs":
                await asyncio.sleep(3600)
            case "resets":
                writer.transport.abort()
                raise ConnectionResetError
            case "half an answer":
                text = json.dumps(answers)
                await self._reply(writer, 200, text[: len(text) // 2], promised=len(text))
                writer.transport.abort()
                raise ConnectionResetError
            case "drips":
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
                for _ in range(1000):
                    writer.write(b" ")
                    await asyncio.sleep(0.05)
            case "another version":
                answers = [answer | {"version": self.release.version + 1} for answer in answers]
            case "another image":
                answers = [answer | {"image_digest": "sha256:" + "f" * 64} for answer in answers]
            case "too few rows":
                for values in probabilities:
                    values.pop()
            case "too many rows":
                for values in probabilities:
                    values.append(0.5)
            case "too few blocks":
                answers = answers[:-1]
            case "NaN":
                for values in probabilities:
                    values[-1] = float("nan")
            case "out of range":
                for values in probabilities:
                    values[-1] = 1.5
            case "another column":
                answers = [
                    answer | {"columns": {"score": answer["columns"]["probability"]}}
                    for answer in answers
                ]
            case "not JSON":
                await self._reply(writer, 200, "<html>")
                return
            case "500":
                await self._reply(writer, 500, '{"error": "secret of the server"}')
                return
            case "refuses far flights":
                answers = [
                    {"status": 400, "detail": "too far"}
                    if max(columns["distance"]) >= 9_000
                    else answer
                    for answer, columns in zip(answers, blocks, strict=True)
                ]
            case _:
                raise ValueError(conduct)
        await self._reply(writer, 200, json.dumps(answers))
