"""The server's settings. Nothing else here reads the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, StringConstraints
from pydantic_settings import BaseSettings, SettingsConfigDict

from retrain.contract import Digest
from retrain.environment import header_secret, settings_from

PREFIX = "SERVING_"


class Settings(BaseSettings):
    """The release (digests and version) comes from release.yaml, never from the image."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    model_folder: Path = Path("/model")
    """The model folder. The image's model layer puts it here."""
    model_digest: Digest
    """Digest of `model.json`. A folder with another digest is refused."""
    version: int = Field(ge=1)
    """The model's version. The server writes it into every answer."""
    image_digest: Annotated[str, StringConstraints(min_length=1)]
    """Digest of the image that this process runs from. The server writes it into every answer and
    does not check it."""
    max_rows: int = Field(default=10_000, ge=1)
    """Rows that a block may have. 10,000 rows take about 50 ms, so one caller cannot delay the
    others for longer."""
    token: Annotated[SecretStr, header_secret(least=16)] | None = None
    """The token that the gateway must send (its CLIENT_API_SERVING_TOKEN). Without a token every
    caller gets an answer: right only where no other program can reach this port."""
    host: str = "127.0.0.1"
    """The address to listen on. A container sets 0.0.0.0."""
    port: int = Field(default=3000, ge=1, le=65535)
    """The port to listen on."""
    drain_seconds: int = Field(default=6, ge=0)
    """How long calls in flight may take after SIGTERM. The local cluster kills after 8 s."""


def read_settings() -> Settings:
    """Return the settings from the environment.

    Raises:
        SettingsRefused: Settings are missing, wrong or unknown. It names all and shows no value.
    """
    return settings_from(Settings, os.environ, prefix=PREFIX)
