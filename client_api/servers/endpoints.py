"""Which servers there are: from the endpoints file on a laptop, from a headless Service's DNS name on Kubernetes. What is known stays when neither answers."""

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
"""Under this name stand servers of which only they themselves say what they serve."""
RESOLVE_SECONDS = 1.0
"""Between two questions to the DNS; its own TTL (5 s in CoreDNS) comes on top, and a server's preStop is longer than both."""


class Endpoint(BaseModel):
    """One server of a model."""

    model_config = ConfigDict(frozen=True)

    url: str


class EndpointsFile(BaseModel):
    """What the cluster writes: the servers of each model."""

    models: dict[str, list[Endpoint]]


class Directory(Protocol):
    """Where servers are listed."""

    def read(self) -> Listed | None:
        """Return the last good list, at once; None before the first one."""

    def close(self) -> None:
        """Ask no more."""


def open_directory(place: Path | DnsName) -> Directory:
    """Return the directory that a setting names."""
    return ResolvedName(place) if isinstance(place, DnsName) else FollowedFile(place)


class FollowedFile:
    """The endpoints file, parsed when its bytes changed."""

    def __init__(self, path: Path) -> None:
        """Follow a file, which may appear later."""
        self._path = path
        self._seen: bytes | str | None = None
        self._listed: Listed | None = None

    def close(self) -> None:
        """Nothing is open between two readings."""

    def read(self) -> Listed | None:
        """Return what the file said when it was last understood."""
        try:
            found: bytes | str = self._path.read_bytes()
        except OSError as problem:
            found = str(problem)
        if found != self._seen:
            self._seen = found
            self._understand(found)
        return self._listed

    def _understand(self, found: bytes | str) -> None:
        if isinstance(found, str):
            log.warning("the endpoints file cannot be read, the last good one counts: %s", found)
            return
        try:
            models = EndpointsFile.model_validate_json(found).models
        except ValidationError as problem:
            log.warning(
                "the endpoints file %s is not understood, the last good one counts: %s",
                self._path,
                problem.errors(include_url=False)[0]["msg"],
            )
            return
        self._listed = {
            model: tuple(endpoint.url.rstrip("/") for endpoint in endpoints)
            for model, endpoints in models.items()
        }
        log.info("endpoints: %s", self._listed)


class ResolvedName:
    """A DNS name with one address for each ready server.

    A headless Service without a ready server has no name (NXDOMAIN), which an outage of the DNS may look like: the last addresses count,
    and a lane to a server that is gone closes by its first failed call.
    """

    def __init__(self, name: DnsName) -> None:
        """Ask for a name in the background, at each reading that comes RESOLVE_SECONDS after the last answer."""
        self._name = name
        self._listed: Listed | None = None
        self._problem = ""
        self._asking: asyncio.Task[None] | None = None
        self._ask_at = 0.0

    def close(self) -> None:
        """Wait for no answer."""
        if self._asking:
            self._asking.cancel()

    def read(self) -> Listed | None:
        """Return the last addresses, and ask for newer ones when it is time."""
        loop = asyncio.get_running_loop()
        if self._asking is None and loop.time() >= self._ask_at:
            self._asking = loop.create_task(self._ask())
        return self._listed

    async def _ask(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(
                self._name.host, self._name.port, type=socket.SOCK_STREAM
            )
            urls = tuple(
                sorted({_url(str(where[0]), self._name.port) for _, _, _, _, where in found})
            )
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
