"""The list of model servers.

A laptop has the endpoints file. Kubernetes has the DNS name of a headless Service. When the file or
the DNS fails, the last good list counts.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from client_api.settings import DnsName

log = logging.getLogger("client_api.servers.endpoints")

Listed = Mapping[str, tuple[str, ...]]
"""URLs of servers, by model."""
ANY_MODEL = ""
"""The name for servers whose model only the servers themselves can tell."""
RESOLVE_SECONDS = 1.0
"""Time between two DNS queries. The DNS's own TTL (5 s in CoreDNS) comes on top.

A server's preStop hook takes longer than both together.
"""


class Endpoint(BaseModel):
    """One server of a model."""

    model_config = ConfigDict(frozen=True)

    url: str


class EndpointsFile(BaseModel):
    """The servers of each model, as the local cluster writes them."""

    models: dict[str, list[Endpoint]]


class Directory(Protocol):
    """Where servers are listed."""

    def read(self) -> Listed | None:
        """Return the last good list, without waiting; None before the first."""

    def close(self) -> None:
        """Stop asking."""


def open_directory(place: Path | DnsName) -> Directory:
    """Return the directory that a setting names."""
    return ResolvedName(place) if isinstance(place, DnsName) else FollowedFile(place)


class FollowedFile:
    """The endpoints file. It is parsed when its bytes change."""

    def __init__(self, path: Path) -> None:
        """Follow a file, which may appear later."""
        self._path = path
        self._content: bytes | str | None = None
        self._listed: Listed | None = None

    def close(self) -> None:
        """Do nothing: no file is open between two readings."""

    def read(self) -> Listed | None:
        """Return the list of the last valid file."""
        try:
            content: bytes | str = self._path.read_bytes()
        except OSError as problem:
            content = str(problem)
        if content != self._content:
            self._content = content
            self._parse(content)
        return self._listed

    def _parse(self, content: bytes | str) -> None:
        if isinstance(content, str):
            log.warning("the endpoints file cannot be read, the last good one counts: %s", content)
            return
        try:
            models = EndpointsFile.model_validate_json(content).models
        except ValidationError as problem:
            reason = problem.errors(include_url=False)[0]["msg"]
            log.warning("%s is not valid, the last good file counts: %s", self._path, reason)
            return
        self._listed = {
            model: tuple(endpoint.url.rstrip("/") for endpoint in endpoints)
            for model, endpoints in models.items()
        }
        log.info("endpoints: %s", self._listed)


class ResolvedName:
    """A DNS name with one address for each ready server.

    A headless Service without a ready server has no name (NXDOMAIN). An outage of the DNS can look
    the same, so the last addresses count. A lane to a server that is gone closes at its first
    failed call.
    """

    def __init__(self, name: DnsName) -> None:
        """Resolve in the background, when a reading comes RESOLVE_SECONDS after the last answer."""
        self._name = name
        self._listed: Listed | None = None
        self._problem = ""
        self._asking: asyncio.Task[None] | None = None
        self._ask_at = 0.0

    def close(self) -> None:
        """Cancel the DNS query in flight."""
        if self._asking:
            self._asking.cancel()

    def read(self) -> Listed | None:
        """Return the last addresses. Start a DNS query when it is time."""
        loop = asyncio.get_running_loop()
        if self._asking is None and loop.time() >= self._ask_at:
            self._asking = loop.create_task(self._ask())
        return self._listed

    async def _ask(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            host, port = self._name.host, self._name.port
            infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            urls = tuple(sorted({_url(str(info[4][0]), port) for info in infos}))
            if urls != (self._listed or {}).get(ANY_MODEL):
                log.info("endpoints: %s", ", ".join(urls))
            self._listed, self._problem = {ANY_MODEL: urls}, ""
        except (OSError, UnicodeError) as problem:
            if str(problem) != self._problem:
                log.warning(
                    "%s has no address now, the last ones count: %s", self._name.host, problem
                )
            self._problem = str(problem)
        finally:
            self._asking, self._ask_at = None, loop.time() + RESOLVE_SECONDS


def _url(address: str, port: int) -> str:
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
