"""The OpenAPI description: one path a model with its real fields, for generated clients. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import core_schema

from client_api.problems import (
    ASK_OPERATOR,
    DEFECT,
    EXAMPLES,
    STATUSES,
    ProblemBody,
    problem,
    problem_of,
)
from client_api.protocols.instances import RequestReader
from retrain.contract import Output

REFERENCE = "#/components/schemas/{model}"
EXAMPLE_ID = "5f2b1c0d9e8a7b6c"
REQUEST_ID_HEADER = {
    "schema": {"type": "string"},
    "required": True,
    "description": "The id of this request: yours, or a new one. Name it when you ask for help.",
}
RELEASE_HEADERS = {
    "ratchet-model-version": {
        "schema": {"type": "integer"},
        "required": True,
        "description": "The version that answered.",
    },
    "ratchet-image-digest": {
        "schema": {"type": "string"},
        "required": True,
        "description": "The image that the version runs from.",
    },
}
RETRY_AFTER_HEADER = {
    "schema": {"type": "integer", "minimum": 1},
    "required": True,
    "description": "Seconds to wait before the same request may be sent again.",
}
RETRY_LATER = frozenset({429, 503})
CHALLENGE_HEADER = {
    "schema": {"type": "string"},
    "required": True,
    "description": "How to send a key: `Bearer`.",
}
REQUEST_ID_PARAMETER = {
    "name": "x-request-id",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "Your own id of this request. "
    "It is used when it has 1 to 128 letters, digits or `._:-`.",
}
KEY = {
    "type": "http",
    "scheme": "bearer",
    "description": (
        "Send your key as `Authorization: Bearer <key>`. "
        "In the window of this page write the key alone, without the word Bearer."
    ),
}
ABOUT = """Predictions by name of the model. Each field below has its unit and range.

Unknown category values are accepted. An error says by JSON pointer what is wrong and what is
allowed. 429 and 503 carry `retry-after` in seconds. One version of the model answers all
instances of a request."""


class _Described(GenerateJsonSchema):
    """Describes optional fields without a default.

    A generated client would take a field with a default for a required one.
    """

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Describe the value alone."""
        return self.generate_inner(schema["schema"])


def describe(readers: Mapping[str, RequestReader], general: dict[str, Any]) -> dict[str, Any]:
    """Return the `general` description with one more path for each model."""
    asked: list[tuple[str, JsonSchemaMode, TypeAdapter[Any]]] = [
        ("problem", "validation", TypeAdapter(ProblemBody))
    ]
    for model, reader in readers.items():
        asked.append((f"request {model}", "validation", TypeAdapter(reader.request_model)))
        asked.append((f"answer {model}", "serialization", TypeAdapter(reader.answer_model)))
    schemas, definitions = TypeAdapter.json_schemas(
        asked, ref_template=REFERENCE, schema_generator=_Described
    )
    places = {name: schema for (name, _), schema in schemas.items()}
    paths = {
        f"/v1/models/{model}:predict": {"post": _operation(model, reader, places)}
        for model, reader in sorted(readers.items())
    }
    general["paths"] = paths | general.get("paths", {})
    components = general.setdefault("components", {})
    components["schemas"] = components.get("schemas", {}) | definitions.get("$defs", {})
    components["securitySchemes"] = {"key": KEY}
    return general


def _operation(model: str, reader: RequestReader, places: Mapping[str, Any]) -> dict[str, Any]:
    request = {"schema": places[f"request {model}"], "example": {"instances": [reader.example]}}
    return {
        "summary": reader.title or f"Ask {model}",
        "description": _description(model, reader),
        "operationId": f"predict_{model.replace('-', '_')}",
        "tags": ["predictions"],
        "security": [{"key": []}],
        "parameters": [REQUEST_ID_PARAMETER],
        "requestBody": {"required": True, "content": {"application/json": request}},
        "responses": {"200": _answer(reader, places[f"answer {model}"])}
        | _problems(places["problem"]),
    }


def _description(model: str, reader: RequestReader) -> str:
    said = [f"Asks the model `{model}`."]
    said += [
        f"`{output.name}`: {output.description}." for output in reader.outputs if output.description
    ]
    return " ".join(said)


def _answer(reader: RequestReader, schema: Any) -> dict[str, Any]:
    prediction = {output.name: _plausible(output) for output in reader.outputs}
    example = {"predictions": [prediction], "model_version": 8}
    return {
        "description": "One prediction for each instance, in order.",
        "headers": RELEASE_HEADERS | {"x-request-id": REQUEST_ID_HEADER},
        "content": {"application/json": {"schema": schema, "example": example}},
    }


def _plausible(output: Output) -> float:
    """Return a number that the output may have."""
    if output.minimum is None or output.maximum is None:
        return output.minimum or output.maximum or 0.0
    return output.minimum + (output.maximum - output.minimum) / 4


def _problems(schema: Any) -> dict[str, Any]:
    """Return each error status with its meaning, headers and one example."""
    titles: dict[int, list[str]] = {}
    for _, status, title in STATUSES:
        titles.setdefault(status, []).append(title)
    status, title = DEFECT
    titles[status] = [title]
    bodies = [problem_of(error, request_id=EXAMPLE_ID).body for error in EXAMPLES]
    bodies.append(problem(*DEFECT, ASK_OPERATOR, request_id=EXAMPLE_ID))
    examples = {example["status"]: example for example in map(json.loads, bodies)}
    return {
        str(status): {
            "description": "; ".join(said),
            "headers": _headers(status),
            "content": {
                "application/problem+json": {"schema": schema, "example": examples[status]}
            },
        }
        for status, said in sorted(titles.items())
    }


def _headers(status: int) -> dict[str, Any]:
    headers: dict[str, Any] = {"x-request-id": REQUEST_ID_HEADER}
    if status in RETRY_LATER:
        headers["retry-after"] = RETRY_AFTER_HEADER
    if status == 401:
        headers["www-authenticate"] = CHALLENGE_HEADER
    return headers
