"""Everything the gateway is told by its environment (CLIENT_API_*)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class Settings(BaseSettings):
    """Frozen; all problems are reported at once, at start."""

    model_config = SettingsConfigDict(env_prefix="CLIENT_API_", frozen=True, extra="forbid")

    endpoints: Path
    """The endpoints file: which servers answer for which model. It may appear later."""
    keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(min_length=1)
    """Keys of callers, as JSON list or separated by commas. No default: an open gateway must not happen by accident."""
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

    @field_validator("keys", mode="before")
    @classmethod
    def _split(cls, given: object) -> object:
        """Read `a,b` and `["a", "b"]` alike; empty keys are dropped."""
        if not isinstance(given, str):
            return given
        keys = json.loads(given) if given.lstrip().startswith("[") else given.split(",")
        return [key.strip() for key in keys if isinstance(key, str) and key.strip()]
