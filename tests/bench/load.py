"""`python -m tests.bench.load HOST PORT PATH BODIES KEY CONNECTIONS SECONDS` makes load.

It keeps every connection busy and prints the answers' figures as JSON. It is a bare protocol on
uvloop with about 60,000 exchanges a second against a constant answer, so it limits no side.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from pathlib import Path

import uvloop


class Caller(asyncio.Protocol):
    """One keep-alive connection that sends the next request as soon as its answer is complete."""

    def __init__(
        self,
        requests: itertools.cycle,
        statuses: dict[int, int],
        latencies: list[float],
        until: float,
    ) -> None:
        self.requests, self.statuses, self.latencies, self.until = (
            requests,
            statuses,
            latencies,
            until,
        )
        self.done = asyncio.get_running_loop().create_future()
        self.received = b""

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.sent = time.perf_counter()
        self.transport.write(next(self.requests))

    def data_received(self, data: bytes) -> None:
        self.received += data
        head_end = self.received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = self.received[:head_end].lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(self.received) < head_end + 4 + length:
            return
        status = int(head[9:12])
        self.received = b""
        now = time.perf_counter()
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.latencies.append(now - self.sent)
        if now < self.until:
            self.ask()
        else:
            self.transport.close()
            self.done.set_result(None)

    def connection_lost(self, exc) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError("the server hung up"))


async def load(
    host: str, port: int, requests: list[bytes], connections: int, seconds: float
) -> dict[str, object]:
    """Return requests per second, statuses and latencies in ms."""
    statuses: dict[int, int] = {}
    latencies: list[float] = []
    started = time.perf_counter()
    loop = asyncio.get_running_loop()
    callers = []
    for number in range(connections):
        mine = itertools.cycle(
            requests[number % len(requests) :] + requests[: number % len(requests)]
        )
        _, caller = await loop.create_connection(
            lambda mine=mine: Caller(mine, statuses, latencies, started + seconds), host, port
        )
        callers.append(caller.done)
    await asyncio.gather(*callers)
    elapsed = time.perf_counter() - started
    latencies.sort()
    return {
        "requests_per_second": len(latencies) / elapsed,
        "statuses": statuses,
        "p50_ms": latencies[len(latencies) // 2] * 1e3,
        "p99_ms": latencies[len(latencies) * 99 // 100] * 1e3,
    }


def main() -> None:
    host, port, path, bodies, key, connections, seconds = sys.argv[1:]
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n"
    head += "Content-Type: application/json\r\n"
    requests = [
        f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
        for body in Path(bodies).read_text().splitlines()
    ]
    print(json.dumps(uvloop.run(load(host, int(port), requests, int(connections), float(seconds)))))


if __name__ == "__main__":
    main()
