"""The only place where retrain reads its environment (prefix RETRAIN_)."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from retrain.environment import plain_address, settings_from

_S3_PLACE = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._=-]+)*/?")


def _checked_place(place: str) -> str:
    if place.startswith("s3:") and not _S3_PLACE.fullmatch(place):
        raise ValueError(
            "it names no place on S3; write s3://bucket or s3://bucket/prefix,"
            " the prefix of letters, digits and . _ = - only"
        )
    if "://" in place and not place.startswith(("s3://", "file:///")):
        raise ValueError("it is no place for snapshots; write a folder, or s3://bucket/prefix")
    return place


def _addresses(given: object) -> object:
    """Read the JSON here: pydantic-settings ends in a traceback when it is none."""
    try:
        read = json.loads(given) if isinstance(given, str) else given
    except ValueError:
        read = None
    if not isinstance(read, dict) or not all(isinstance(address, str) for address in read.values()):
        raise ValueError(
            'write names and addresses as JSON, such as {"warehouse": "duckdb:///abs/path.duckdb"}'
        )
    return read


def _tracking_address(address: str) -> str:
    try:
        return plain_address(address)
    except ValueError as problem:
        raise ValueError(
            f"{problem}; a login goes to MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        ) from None


class Settings(BaseSettings):
    """What differs between a laptop and production; a model's own choices are in its YAML."""

    model_config = SettingsConfigDict(
        env_prefix="RETRAIN_", frozen=True, extra="forbid", hide_input_in_errors=True
    )

    sources: Annotated[dict[str, str], NoDecode, BeforeValidator(_addresses)] = Field(
        default={}, repr=False
    )
    """Name → address, as JSON: `{"warehouse": "duckdb:///abs/path.duckdb"}`.

    The YAML holds no address, because an address may hold a password.
    """

    snapshots: Annotated[str, AfterValidator(_checked_place)] = ".ratchet/snapshots"
    """A folder, or `s3://bucket/prefix`; boto3 finds credentials and region.

    The default is relative, so that a first try on a laptop needs no setting.
    """

    tracking_url: Annotated[str, AfterValidator(_tracking_address)] = "http://127.0.0.1:5000"
    """MLflow; its own default port."""

    models: Path = Path("dags/models")
    """Folder of the models' YAML and SQL files."""

    model_files: str = Field(default="", repr=False)
    """The model of `retrain run` by value, instead of `models`: one gzipped tar in base64.

    Airflow's task fills it in, so that a merged change needs no other image.
    """

    workers: int = Field(default=2, ge=1)
    """Processes that train techniques side by side; two, as the default techniques are two."""

    lock: Path = Path("infra/locks/retrain.txt")
    """The libraries' lock file. Its digest is part of a run's identity, because other libraries may
    fit another model."""

    git_revision: str = "unknown"
    """Commit of the code and the YAML; retrain's image sets it (infra/images/revision.py)."""


def read_settings() -> Settings:
    """Return what the environment says.

    Raises:
        SettingsRefused: Settings are missing, wrong or unknown; it names all of them and no value.
    """
    tokens = ("MLFLOW_TRACKING_TOKEN", "AWS_SESSION_TOKEN")
    return settings_from(Settings, os.environ, prefix="RETRAIN_", library_tokens=tokens)
