"""The OpenAPI description: what the routes are, and for each model its real fields, so that clients can be generated. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from client_api.problems import STATUSES, ProblemBody
from client_api.schema import RequestReader

REFERENCE = "#/components/schemas/{model}"
ANSWER_HEADERS = {
    "ratchet-model-version": {"schema": {"type": "integer"}, "description": "The version that answered."},
    "ratchet-image-digest": {"schema": {"type": "string"}, "description": "The image it runs from."},
    "x-request-id": {"schema": {"type": "string"}, "description": "The caller's, or a new one: name it when you ask for help."},
}
ABOUT = """Predictions by name of the model. Every field of an instance is described below with its unit and range.

A category that the model never saw is answered. An error says by JSON pointer what is wrong and what is allowed.
429 and 503 carry `retry-after` in seconds. All instances of one request are answered by one version of the model."""


def describe(readers: Mapping[str, RequestReader], general: dict[str, Any]) -> dict[str, Any]:
    """Return the description of the gateway with one path a model added to the `general` one."""
    models: list[tuple[type[BaseModel], JsonSchemaMode]] = [(ProblemBody, "serialization")]
    for reader in readers.values():
        models += [(reader.request_model, "validation"), (reader.answer_model, "serialization")]
    _, definitions = models_json_schema(models, ref_template=REFERENCE)
    paths = {f"/v1/models/{model}:predict": {"post": _operation(model, reader)} for model, reader in sorted(readers.items())}
    general["paths"] = paths | general.get("paths", {})
    components = general.setdefault("components", {})
    components["schemas"] = components.get("schemas", {}) | definitions.get("$defs", {})
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return general


def _operation(model: str, reader: RequestReader) -> dict[str, Any]:
    titles: dict[int, list[str]] = {}
    for _, status, title in STATUSES:
        titles.setdefault(status, []).append(title)
    problems = {str(status): _content(ProblemBody, "; ".join(said), "application/problem+json") for status, said in titles.items()}
    answered = _content(reader.answer_model, "One prediction for each instance, in order.", "application/json") | {"headers": ANSWER_HEADERS}
    return {
        "summary": f"Ask {model}",
        "operationId": f"predict_{model.replace('-', '_')}",
        "tags": ["predictions"],
        "security": [{"key": []}],
        "requestBody": {"required": True} | _content(reader.request_model, None, "application/json"),
        "responses": {"200": answered} | problems,
    }


def _content(body: type[BaseModel], description: str | None, media_type: str) -> dict[str, Any]:
    content = {"content": {media_type: {"schema": {"$ref": REFERENCE.format(model=body.__name__)}}}}
    return ({"description": description} if description else {}) | content
