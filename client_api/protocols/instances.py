"""Requests and answers of one model: its schema becomes pydantic models. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError, create_model

from client_api.protocols.fields import input_field, output_field, plausible_value
from client_api.protocols.sentences import Sentences
from retrain.contract import ModelSchema

Row = Mapping[str, Any]
"""One valid instance by position: `field_0`, `field_1` … A feature's name may be no Python name."""

STRICT = ConfigDict(strict=True, extra="forbid", frozen=True)


class RequestReader:
    """Reads request bodies for one model's schema, and turns rows into a server's columns."""

    def __init__(
        self,
        model: str,
        schema: ModelSchema,
        *,
        max_rows: int,
        title: str = "",
        example: Mapping[str, Any] | None = None,
    ) -> None:
        """Build the models of a schema.

        Args:
            model: Its name.
            schema: Its features and outputs.
            max_rows: Instances that one request may have.
            title: The question that the model answers; empty when the release has none.
            example: A recorded row of the release, or None. It is shown when it fits the schema.
        """
        self.model = model
        self.title = title
        self.outputs = schema.outputs
        self._features = {feature.name: feature for feature in schema.features}
        name = "".join(part.capitalize() for part in model.replace("_", "-").split("-"))
        fields: dict[str, Any] = {
            f"field_{number}": input_field(feature)
            for number, feature in enumerate(schema.features)
        }
        instance: Any = create_model(f"{name}Instance", __config__=STRICT, **fields)
        self._instance: type[BaseModel] = instance
        self._sentences = Sentences(model, self._features, instance)
        self.example = self._example(example or {})
        instances = Annotated[list[instance], FailFast(), Field(min_length=1, max_length=max_rows)]
        self.request_model = create_model(
            f"{name}Request", __config__=STRICT, instances=(instances, ...)
        )
        prediction = create_model(
            f"{name}Prediction",
            **{
                f"output_{number}": output_field(output)
                for number, output in enumerate(schema.outputs)
            },
        )
        version = Field(
            description="The version in the model registry that answered all instances of this "
            "request.",
            examples=[8],
        )
        self.answer_model: type[BaseModel] = create_model(
            f"{name}Answer",
            predictions=(list[prediction], ...),
            model_version=(Annotated[int, version], ...),
        )

    def read(self, body: bytes) -> list[Row]:
        """Return the instances of a request, in order.

        Raises:
            RequestInvalid: It names up to MOST_ERRORS places (sentences.py), row by row.
        """
        try:
            request: Any = self.request_model.model_validate_json(body)
        except ValidationError as problem:
            raise self._sentences.refusal(problem, body) from None
        return [instance.__dict__ for instance in request.instances]

    def columns(self, rows: Sequence[Row]) -> dict[str, list[Any]]:
        """Return rows as columns by feature. Booleans are 0 and 1, None is missing."""
        columns = {
            name: [row[f"field_{number}"] for row in rows]
            for number, name in enumerate(self._features)
        }
        for name, feature in self._features.items():
            if feature.type == "boolean":
                columns[name] = [None if cell is None else float(cell) for cell in columns[name]]
        return columns

    def _example(self, recorded: Mapping[str, Any]) -> dict[str, Any]:
        """Return the recorded row. Without one that a caller may send, return a plausible row."""
        try:
            self._instance.model_validate(recorded)
        except ValidationError:
            return {name: plausible_value(feature) for name, feature in self._features.items()}
        return {name: recorded[name] for name in self._features if name in recorded}
