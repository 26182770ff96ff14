"""MLflow's answers become values and errors of promote.

The client reads an empty answer as an empty value, so each answer is compared with the question.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from promote.errors import (
    InvalidArtifact,
    ModelRegistryRefused,
    ModelRegistryUnavailable,
    PromoteError,
    VersionNotFound,
)
from promote.registry.port import ModelVersion, RegisteredModel, model_version
from retrain.runs.client import Meaning, translated

Value = TypeVar("Value", bound=BaseModel)


def asking(question: str) -> AbstractContextManager[None]:
    """Turn MLflow's errors into promote's; the messages repeat the question."""
    return translated(partial(_error, question))


def _error(question: str, meaning: Meaning, message: str) -> PromoteError:
    asked, answer = f"asked MLflow for {question}", message.partition("\n")[0][:300]
    if meaning == "absence":
        return VersionNotFound(f"{asked}: {answer}. See the model's page in MLflow.")
    if meaning == "refusal":
        return ModelRegistryRefused(
            f"{asked}, which it refused: {answer}. "
            "See PROMOTE_TRACKING_URL, or the rights of MLFLOW_TRACKING_USERNAME."
        )
    return ModelRegistryUnavailable(
        f"{asked}, without an answer: {answer}. See that MLflow runs at PROMOTE_TRACKING_URL."
    )


def check_answer(answer: str, question: str) -> None:
    """Raise when the answer is about another thing than the question."""
    if answer != question:
        raise ModelRegistryUnavailable(
            f"asked about {question!r}, the answer was about {answer!r}. "
            "Is PROMOTE_TRACKING_URL the root of an MLflow server?"
        )


def version_of(answer: Any, model: str) -> ModelVersion:
    """Return a version as MLflow describes it.

    Raises:
        InvalidArtifact: `retrain run` did not register the version.
    """
    check_answer(answer.name, model)
    return model_version(
        model,
        int(answer.version),
        run_id=str(answer.run_id),
        source=str(answer.source),
        created_at=datetime.fromtimestamp(answer.creation_timestamp / 1000, UTC),
        tags=answer.tags,
    )


def registered_model_of(answer: Any) -> RegisteredModel:
    """Return a model as MLflow describes it, whoever registered the model."""
    aliases = {alias: int(number) for alias, number in answer.aliases.items()}
    versions = sorted(answer.latest_versions, key=lambda version: int(version.version))
    try:
        newest = version_of(versions[-1], answer.name) if versions else None
    except InvalidArtifact:  # another team's model, or a version that a person registered
        newest = None
    return RegisteredModel(aliases.get("challenger"), aliases.get("champion"), newest)


def parsed(value: type[Value], content: bytes, what: str) -> Value:
    """Return the value that a file holds.

    Raises:
        InvalidArtifact: The file holds no such value.
    """
    try:
        return value.model_validate_json(content)
    except ValidationError as error:
        raise InvalidArtifact(f"{what} is not in its form: {error}") from error
