"""Everything the gateway is told by its environment (CLIENT_API_*)."""

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


@dataclass(frozen=True)
class DnsName:
    """A name that resolves to every server of every model: on Kubernetes a headless Service."""

    host: str
    port: int


def _place(given: object) -> object:
    """Read `dns:<name>:<port>`; anything else is a path."""
    if not isinstance(given, str) or not given.startswith("dns:"):
        return given
    named = re.fullmatch(r"dns:([a-zA-Z0-9.-]+):([0-9]{1,5})", given)
    if named is None or not 1 <= int(named[2]) <= 65535:
        raise ValueError(
            "write dns:<name>:<port>, such as dns:servers.models.svc.cluster.local:3000"
        )
    return DnsName(named[1], int(named[2]))


def _keys(given: object) -> object:
    """Read `a,b` and `["a", "b"]` alike; empty keys are dropped."""
    if not isinstance(given, str):
        return given
    keys = _json_list(given) if given.lstrip().startswith("[") else given.split(",")
    if not (found := [key.strip() for key in keys if key.strip()]):
        raise ValueError(
            "it holds no key; write keys separated by commas, or as a JSON list of strings"
        )
    return found


def _json_list(given: str) -> list[str]:
    try:
        keys = json.loads(given)
    except ValueError:
        keys = [None]
    if not all(isinstance(key, str) for key in keys):
        raise ValueError(
            "it begins with [ and is no JSON list of strings; write keys separated by commas, or such a list"
        )
    return list(keys)


class Settings(BaseSettings):
    """Frozen; all problems are reported at once, at start."""

    model_config = SettingsConfigDict(
        env_prefix="CLIENT_API_", frozen=True, extra="forbid", hide_input_in_errors=True
    )

    endpoints: Annotated[Path | DnsName, NoDecode, BeforeValidator(_place)]
    """The endpoints file (it may appear later): which servers answer for which model. Or `dns:<name>:<port>`: a name with an address for each server."""
    keys: Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_keys)] = Field(min_length=1)
    """Keys of callers, as JSON list or separated by commas. No default: an open gateway must not happen by accident."""
    serving_token: Annotated[SecretStr, header_secret(least=16)] | None = None
    """What the model servers ask for (their SERVING_TOKEN)."""
    host: str = "127.0.0.1"
    """Address of `python -m client_api`: loopback unless told otherwise."""
    port: int = Field(default=8080, ge=0, le=65535)
    poll_seconds: float = Field(default=0.2, gt=0, le=0.25)
    """How often the endpoints file is read: a rollout ends at most this much later here."""
    deadline_seconds: float = Field(default=2.0, gt=0, le=60)
    """Longest a caller waits: a phone gives up after a few seconds."""
    max_body_bytes: int = Field(default=1_048_576, ge=1_024)
    """Some thousand rows of twenty fields; a parsed body takes about ten times its bytes in memory."""
    max_request_rows: int = Field(default=1_000, ge=1)
    """Rows one request may have; the server's own block limit counts too."""
    max_waiting_rows: int = Field(default=10_000, ge=1)
    """Rows that may wait for one server: about a second of work."""
    drain_seconds: float = Field(default=0.0, ge=0, le=60)
    """From SIGTERM (not ready, Connection: close) to the closed listener. 0 where nobody watches readiness or a preStop hook waits already."""
    access_log_share: float = Field(default=0.0, ge=0, le=1)
    """Share of answered requests that get a log line: a line costs about a tenth of a request. Server errors always get one."""

    body_seconds: float = Field(default=10.0, gt=0, le=300)
    """Longest that a request's body may take to arrive: 1 MiB in 10 s is 0.84 Mbit/s, a slow phone."""


def read_settings() -> Settings:
    """Return what the environment says.

    Raises:
        SettingsRefused: Settings are missing, wrong or unknown; it names all of them and no value.
    """
    return settings_from(Settings, os.environ, prefix="CLIENT_API_")
