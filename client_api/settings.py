"""The gateway's settings. Nothing else here reads the environment."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from retrain.environment import header_secret, settings_from

PREFIX = "CLIENT_API_"
HOW_TO_WRITE_KEYS = "write keys separated by commas, or as a JSON list of strings"


@dataclass(frozen=True)
class DnsName:
    """A name that resolves to every server of every model: on Kubernetes a headless Service."""

    host: str
    port: int


def _place(given: object) -> object:
    """Read `dns:<name>:<port>`; anything else is a path."""
    if not isinstance(given, str) or not given.startswith("dns:"):
        return given
    match = re.fullmatch(r"dns:([a-zA-Z0-9.-]+):([0-9]{1,5})", given)
    if match is None or not 1 <= int(match[2]) <= 65535:
        raise ValueError(
            "write dns:<name>:<port>, such as dns:servers.models.svc.cluster.local:3000"
        )
    return DnsName(match[1], int(match[2]))


def _keys(given: object) -> object:
    """Read `a,b` and `["a", "b"]` alike. Empty keys are dropped."""
    if not isinstance(given, str):
        return given
    keys = _json_list(given) if given.lstrip().startswith("[") else given.split(",")
    keys = [key.strip() for key in keys if key.strip()]
    if not keys:
        raise ValueError(f"it holds no key; {HOW_TO_WRITE_KEYS}")
    return keys


def _json_list(given: str) -> list[str]:
    try:
        keys = json.loads(given)
    except ValueError:
        keys = [None]
    if not all(isinstance(key, str) for key in keys):
        raise ValueError(f"it begins with [ and is no JSON list of strings; {HOW_TO_WRITE_KEYS}")
    return list(keys)


class Settings(BaseSettings):
    """Frozen. All problems are reported at once, at start."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    endpoints: Annotated[Path | DnsName, NoDecode, BeforeValidator(_place)]
    """Where the model servers are listed. A path: the endpoints file, which may appear later.
    `dns:<name>:<port>`: a name with one address for each server."""
    keys: Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_keys)] = Field(min_length=1)
    """Keys of callers, separated by commas or as a JSON list. There is no default, because
    nobody should open a gateway to everyone by accident."""
    serving_token: Annotated[SecretStr, header_secret(least=16)] | None = None
    """The token that the model servers require (their SERVING_TOKEN)."""
    host: str = "127.0.0.1"
    """The address to listen on. A container sets 0.0.0.0."""
    port: int = Field(default=8080, ge=0, le=65535)
    """The port to listen on. 0 takes a free one."""
    poll_seconds: float = Field(default=0.2, gt=0, le=0.25)
    """Seconds between two readings of the endpoints. The gateway sees the end of a rollout at
    most this much later."""
    deadline_seconds: float = Field(default=2.0, gt=0, le=60)
    """The longest time that a caller waits. A phone gives up after a few seconds."""
    body_seconds: float = Field(default=10.0, gt=0, le=300)
    """The longest time in which a request's body may arrive. 1 MiB in 10 s is 0.84 Mbit/s, a
    slow phone."""
    max_body_bytes: int = Field(default=1_048_576, ge=1_024)
    """Bytes that a body may have: some thousand rows of twenty fields. A parsed body takes about
    ten times its bytes of memory."""
    max_request_rows: int = Field(default=1_000, ge=1)
    """Rows that one request may have. The server's own limit counts too."""
    max_waiting_rows: int = Field(default=10_000, ge=1)
    """Rows that may wait for one server: about a second of work."""
    drain_seconds: float = Field(default=0.0, ge=0, le=60)
    """Seconds from SIGTERM to the closed listener. During them the gateway is not ready and
    answers with `Connection: close`. 0 is right where a preStop hook waits already."""
    access_log_share: float = Field(default=0.0, ge=0, le=1)
    """Share of answered requests that get a log line. A line costs about 10 % of a request.
    Server errors always get a line."""
    revision: str = ""
    """The commit that the code was built from, for the measure gateway_build_info. The image
    sets it."""


def read_settings() -> Settings:
    """Return the settings from the environment.

    Raises:
        SettingsRefused: Settings are missing, wrong or unknown. It names all and shows no value.
    """
    return settings_from(Settings, os.environ, prefix=PREFIX)
