"""The server's settings; nothing else here reads the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, StringConstraints
from pydantic_settings import BaseSettings, SettingsConfigDict

from retrain.contract import Digest
from retrain.environment import header_secret, settings_from


class Settings(BaseSettings):
    """Prefix `SERVING_`. The release (digests and version) comes from release.yaml, never from the image."""

    model_config = SettingsConfigDict(
        env_prefix="SERVING_", frozen=True, extra="forbid", hide_input_in_errors=True
    )

    model_folder: Path = Path("/model")
    """Where the image's model layer puts it."""
    model_digest: Digest
    """Of `model.json`; the folder is refused when it is another."""
    version: int = Field(ge=1)
    image_digest: Annotated[str, StringConstraints(min_length=1)]
    """Of the image this process was started from; only answered, never looked up."""
    max_rows: int = Field(default=10_000, ge=1)
    """Rows a block may have: 10,000 take about 50 ms, so one caller cannot hold up the others for longer."""
    token: Annotated[SecretStr, header_secret(least=16)] | None = None
    """What the gateway must carry (its CLIENT_API_SERVING_TOKEN). Unset, every caller is answered: only where none but the gateway can reach this port."""
    host: str = "127.0.0.1"
    """A container sets 0.0.0.0."""
    port: int = Field(default=3000, ge=1, le=65535)
    drain_seconds: int = Field(default=6, ge=0)
    """How long calls in flight may take after SIGTERM; below the 8 s after which the local cluster kills."""


def read_settings() -> Settings:
    """Return what the environment says.

    Raises:
        SettingsRefused: Settings are missing, wrong or unknown; it names all of them and no value.
    """
    return settings_from(Settings, os.environ, prefix="SERVING_")
