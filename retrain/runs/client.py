"""MLflow's client for retrain and promote: clients, artifacts, and what an error means.

Each service turns an error's meaning into error classes of its own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES
from mlflow.exceptions import MlflowException
from requests.exceptions import InvalidURL, SSLError

Meaning = Literal["outage", "refusal", "absence"]
"""`absence`: MLflow answered that the run, the model or the version does not exist."""

_REFUSALS = {
    "ALREADY_EXISTS",
    "BAD_REQUEST",
    "CUSTOMER_UNAUTHORIZED",
    "FEATURE_DISABLED",
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "MALFORMED_REQUEST",
    "NOT_IMPLEMENTED",
    "PERMISSION_DENIED",
    "QUOTA_EXCEEDED",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_CONFLICT",
    "UNAUTHENTICATED",
}
"""MLflow's error codes that another try does not change.

INTERNAL_ERROR is not among them: the client reports it when nobody answers. ENDPOINT_NOT_FOUND is
what a proxy's 404 becomes.
"""
_WRONG_ADDRESS = (SSLError, InvalidURL)
"""The client reports these as INTERNAL_ERROR too, but waiting does not help."""
_PASSING_STATUSES = {404, 408, 429}
"""HTTP statuses of artifacts that are outages although they are below 500; 404: a proxy's route."""


def open_client(url: str) -> MlflowClient:
    """Return a client of the MLflow server at a URL; asks nothing."""
    return MlflowClient(tracking_uri=url, registry_uri=url)


@contextmanager
def translated(error_of: Callable[[Meaning, str], Exception]) -> Iterator[None]:
    """Turn an error of MLflow into the error that `error_of` returns for its meaning and text."""
    try:
        yield
    except (MlflowException, OSError) as error:  # artifacts fail with requests' OSErrors
        raise error_of(meaning_of(error), str(error)) from error


def meaning_of(error: MlflowException | OSError) -> Meaning:
    """Return what an error of MLflow's client means for the caller."""
    if isinstance(error, _WRONG_ADDRESS) or isinstance(error.__context__, _WRONG_ADDRESS):
        return "refusal"
    if isinstance(error, OSError):
        status = getattr(getattr(error, "response", None), "status_code", None) or 500
        return "refusal" if status < 500 and status not in _PASSING_STATUSES else "outage"
    if error.error_code == "RESOURCE_DOES_NOT_EXIST":
        return "absence"
    return "refusal" if error.error_code in _REFUSALS else "outage"


@contextmanager
def one_try() -> Iterator[None]:
    """Switch off the client's retries."""
    usual = MLFLOW_HTTP_REQUEST_MAX_RETRIES.get()
    MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(0)
    try:
        yield
    finally:
        MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(usual)


def read_artifact(url: str, folder: str, name: str) -> bytes | None:
    """Return the file `name` of an artifact folder; None when the folder's list does not name it.

    The list is read first: a download reports a missing file and an outage by the same error.
    """
    files = mlflow.artifacts.list_artifacts(artifact_uri=folder, tracking_uri=url)
    if name not in {str(file.path).rpartition("/")[2] for file in files if not file.is_dir}:
        return None
    with tempfile.TemporaryDirectory(prefix="ratchet-") as destination:
        path = mlflow.artifacts.download_artifacts(
            artifact_uri=f"{folder}/{name}", dst_path=destination, tracking_uri=url
        )
        return Path(path).read_bytes()
