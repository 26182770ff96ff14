"""The server's settings; nothing else here reads the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, StringConstraints
from pydantic_settings import BaseSettings, SettingsConfigDict

from retrain.contract import Digest


class Settings(BaseSettings):
    """Prefix `SERVING_`. The release (digests and version) comes from release.yaml, never from the image."""

    model_config = SettingsConfigDict(env_prefix="SERVING_", frozen=True)

    model_folder: Path = Path("/model")
    """Where the image's model layer puts it."""
    model_digest: Digest
    """Of `model.json`; the folder is refused when it is another."""
    version: int = Field(ge=1)
    image_digest: Annotated[str, StringConstraints(min_length=1)]
    """Of the image this process was started from; only answered, never looked up."""
    max_rows: int = Field(default=10_000, ge=1)
    """Rows a block may have: 10,000 take about 50 ms, so one caller cannot hold up the others for longer."""
    token: SecretStr | None = Field(default=None, min_length=16)
    """What the gateway must carry (its CLIENT_API_SERVING_TOKEN). Unset, every caller is answered: only where none but the gateway can reach this port."""
    host: str = "127.0.0.1"
    """A container sets 0.0.0.0."""
    port: int = Field(default=3000, ge=1, le=65535)
    drain_seconds: int = Field(default=6, ge=0)
    """How long calls in flight may take after SIGTERM; below the 8 s after which the local cluster kills."""
