"""The only place where retrain reads its environment (prefix RETRAIN_)."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What differs between a laptop and production; a model's own choices are in its YAML."""

    model_config = SettingsConfigDict(env_prefix="RETRAIN_", frozen=True, extra="forbid")

    sources: dict[str, str] = {}
    """Name → address, as JSON: `{"warehouse": "duckdb:///abs/path.duckdb"}`. Here and not in the YAML, because an address may hold a password."""

    snapshots: str = ".ratchet/snapshots"
    """Folder of the snapshot store. Relative, so that a first try on a laptop needs no setting."""

    tracking_url: str = "http://127.0.0.1:5000"
    """MLflow; its own default port."""

    models: Path = Path("dags/models")
    """Folder of the models' YAML and SQL files."""

    workers: int = Field(default=2, ge=1)
    """Processes that train techniques side by side; two, as the default techniques are two."""

    lock: Path = Path("infra/locks/retrain.txt")
    """The libraries' lock file; its digest is part of a run's identity, for other libraries may fit another model."""

    git_revision: str = "unknown"
    """Commit that the code and the YAML come from; the image sets it."""
