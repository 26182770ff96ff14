"""A ModelSchema becomes the pydantic models of its requests and answers; what pydantic refuses becomes pointers with what is allowed. Pure."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    create_model,
)
from pydantic_core import CoreSchema, ErrorDetails, core_schema, from_json

from client_api.errors import FieldError, RequestInvalid
from retrain.contract import Feature, ModelSchema, Output

Row = Mapping[str, Any]
"""One validated instance, by the field's position: `field_0`, `field_1` … (a feature may be named as nothing in Python may)."""

MOST_ERRORS = 20
LARGEST_INTEGER = 2**53 - 1
"""Beyond it a JSON number is no longer one whole number to everybody (RFC 8259, section 6)."""
LARGEST_NUMBER = float.fromhex("0x1.fffffep+127")
"""The largest 32-bit float: a model computes with these."""
TYPES: Mapping[str, type] = {"number": float, "integer": int, "boolean": bool, "category": str}
WORDS = {
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "category": "a string",
}
SENTENCES = {
    "missing": "is required",
    "finite_number": "must be finite, is {given}",
    "greater_than_equal": "must be at least {ge}{unit}, is {given}",
    "less_than_equal": "must be at most {le}{unit}, is {given}",
    "too_long": "may have {max_length} instances; send the rest in further requests",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
    "model_type": "must be an object, is {given}",
    "list_type": "must be a list of objects, is {given}",
}
"""By pydantic's type of error."""
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
            title: The question that the model answers, when its release says it.
            example: A recorded row, when its release has one; it is shown when it fits the schema.
        """
        self.model = model
        self.title = title
        self.outputs = schema.outputs
        self._features = {feature.name: feature for feature in schema.features}
        name = "".join(part.capitalize() for part in model.replace("_", "-").split("-"))
        fields: dict[str, Any] = {
            f"field_{number}": _input_field(feature)
            for number, feature in enumerate(schema.features)
        }
        instance: Any = create_model(f"{name}Instance", __config__=STRICT, **fields)
        self._instance: type[BaseModel] = instance
        self.example = self._example(example or {})
        instances = Annotated[list[instance], FailFast(), Field(min_length=1, max_length=max_rows)]
        self.request_model = create_model(
            f"{name}Request", __config__=STRICT, instances=(instances, ...)
        )
        prediction = create_model(
            f"{name}Prediction",
            **{
                f"output_{number}": _output_field(output)
                for number, output in enumerate(schema.outputs)
            },
        )
        version = Field(
            description="The version in the model registry that answered all instances of this request.",
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
            RequestInvalid: Names up to 20 places, row by row.
        """
        try:
            request: Any = self.request_model.model_validate_json(body)
        except ValidationError as problem:
            raise self._explain(problem, body) from None
        return [instance.__dict__ for instance in request.instances]

    def columns(self, rows: Sequence[Row]) -> dict[str, list[Any]]:
        """Return rows as columns by feature: booleans are 0 and 1, None is missing."""
        columns = {
            name: [row[f"field_{number}"] for row in rows]
            for number, name in enumerate(self._features)
        }
        for name, feature in self._features.items():
            if feature.type == "boolean":
                columns[name] = [None if cell is None else float(cell) for cell in columns[name]]
        return columns

    def _example(self, recorded: Mapping[str, Any]) -> dict[str, Any]:
        """Return the recorded row; a plausible one when there is none, or one that a caller could not send."""
        try:
            self._instance.model_validate(recorded)
        except ValidationError:
            return {name: _plausible(feature) for name, feature in self._features.items()}
        return {name: recorded[name] for name in self._features if name in recorded}

    def _explain(self, problem: ValidationError, body: bytes) -> RequestInvalid:
        details = problem.errors(include_url=False)[:MOST_ERRORS]
        if details[0]["type"] == "json_invalid":
            return RequestInvalid(f"the body is not JSON: {details[0]['ctx']['error']}")
        if details[0]["loc"][:1] == ("instances",) and len(details[0]["loc"]) > 1:
            errors = list(self._row_errors(from_json(body)["instances"]))
        else:
            errors = [
                FieldError(_pointer(detail["loc"]), self._sentence(detail)) for detail in details
            ]
        return RequestInvalid("the request is not what this model takes", errors[:MOST_ERRORS])

    def _row_errors(self, instances: Sequence[object]) -> Iterator[FieldError]:
        """Yield what is wrong row by row: a caller mends all rows at once, and nobody waits for a million messages."""
        found = 0
        for number, instance in enumerate(instances):
            try:
                self._instance.model_validate(instance)
            except ValidationError as problem:
                for detail in problem.errors(include_url=False)[:MOST_ERRORS]:
                    yield FieldError(
                        _pointer(("instances", number, *detail["loc"])), self._sentence(detail)
                    )
                    found += 1
            if found >= MOST_ERRORS:
                return

    def _sentence(self, detail: ErrorDetails) -> str:
        place = str(detail["loc"][-1]) if detail["loc"] else ""
        feature = self._features.get(place)
        given, limits = (
            _shown(detail["input"]),
            {name: _number(limit) for name, limit in detail.get("ctx", {}).items()},
        )
        unit = f" {_plural(feature.unit)}" if feature and feature.unit else ""
        if detail["type"] == "extra_forbidden":
            return self._unknown(place)
        if detail["type"] in SENTENCES:
            return SENTENCES[detail["type"]].format(**limits, unit=unit, given=given)
        return f"must be {WORDS[feature.type]}, is {given}" if feature else detail["msg"]

    def _unknown(self, name: str) -> str:
        near = difflib.get_close_matches(name[:64], self._features, n=1)
        return f"is not a field of {self.model}; " + (
            f"did you mean {near[0]}?" if near else f"its fields are {', '.join(self._features)}"
        )


@dataclass(frozen=True)
class _WholeNumber:
    """A whole number in `[minimum, maximum]`; `3.0` is one too, as JSON Schema says (draft 2020-12, 6.1.1)."""

    minimum: int
    maximum: int

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Try an integer first: this is what nearly all callers send, and it runs no Python."""
        written_with_a_point = core_schema.no_info_after_validator_function(
            _whole, core_schema.float_schema(strict=True)
        )
        written = core_schema.union_schema(
            [core_schema.int_schema(strict=True), written_with_a_point],
            mode="left_to_right",
            custom_error_type="whole_number",
            custom_error_message="must be a whole number",
        )
        return core_schema.chain_schema(
            [written, core_schema.int_schema(ge=self.minimum, le=self.maximum)]
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Describe it as the integer that it is."""
        return {"type": "integer", "minimum": self.minimum, "maximum": self.maximum}


def _whole(number: float) -> int:
    if not number.is_integer():
        raise ValueError("not a whole number")
    return int(number)


def _input_field(feature: Feature) -> Any:
    """Return the type and field of one feature, as `create_model` takes them."""
    kind: Any = TYPES[feature.type]
    if feature.type == "number":
        low, high = _limits(feature, LARGEST_NUMBER)
        kind = Annotated[float, Field(ge=low, le=high, allow_inf_nan=False)]
    elif feature.type == "integer":
        low, high = _limits(feature, LARGEST_INTEGER)
        kind = Annotated[int, _WholeNumber(math.ceil(low), math.floor(high))]
    elif feature.type == "category" and feature.required:
        kind = Annotated[str, Field(min_length=1)]  # an empty category is a missing one
    about = Field(
        alias=feature.name,
        title=feature.name,
        description=_description(feature),
        json_schema_extra=_extra(feature),
    )
    return (
        (Annotated[kind, about], ...) if feature.required else (Annotated[kind | None, about], None)
    )


def _limits(feature: Feature, largest: float) -> tuple[float, float]:
    """Return the feature's own limits, within what can be computed."""
    low = -largest if feature.minimum is None else max(feature.minimum, -largest)
    high = largest if feature.maximum is None else min(feature.maximum, largest)
    return low, high


def _output_field(output: Output) -> Any:
    about = Field(
        alias=output.name,
        title=output.name,
        ge=output.minimum,
        le=output.maximum,
        description=output.description or None,
    )
    return (Annotated[float, about], ...)


def _description(feature: Feature) -> str:
    parts = [feature.description.rstrip(".")]
    parts.append(f"In {_plural(feature.unit)}" if feature.unit else "")
    if feature.known_categories:
        shown, more = feature.known_categories[:30], len(feature.known_categories) - 30
        parts.append(
            f"Known categories: {', '.join(shown)}{f' and {more} more' if more > 0 else ''}; any other is answered too"
        )
    parts.append("" if feature.required else "May be left out or null")
    return "".join(f"{part}. " for part in parts if part).strip()


def _plausible(feature: Feature) -> Any:
    """Return a value that a caller may send: a known category, or the lower end of a range."""
    if feature.type == "category":
        return feature.known_categories[0] if feature.known_categories else "A"
    if feature.type == "boolean":
        return False
    low = feature.minimum if feature.minimum is not None else min(0.0, feature.maximum or 0.0)
    return math.ceil(low) if feature.type == "integer" or low == int(low) else low


def _extra(feature: Feature) -> dict[str, Any]:
    """Say units and all known categories once more for programs."""
    extra: dict[str, Any] = {"x-unit": feature.unit} if feature.unit else {}
    return extra | (
        {"x-known-categories": list(feature.known_categories)} if feature.known_categories else {}
    )


def _pointer(place: Sequence[str | int]) -> str:
    """Return a place as a JSON pointer.

    >>> _pointer(("instances", 3, "a/b"))
    '/instances/3/a~1b'
    """
    return "".join("/" + str(part)[:200].replace("~", "~0").replace("/", "~1") for part in place)


def _shown(given: object) -> str:
    """Say what was sent, short: a body is not repeated to whoever sent it."""
    if isinstance(given, dict):
        return "an object"
    if isinstance(given, list):
        return "a list"
    if given is None or isinstance(given, bool):
        return {None: "null", True: "true", False: "false"}[given]
    shown = (
        f'"{given[:40]}{"…" if len(given) > 40 else ""}"'
        if isinstance(given, str)
        else _number(given)
    )
    return shown if len(shown) <= 60 else shown[:40] + "…"


def _number(given: object) -> str:
    """Write a number as a person does.

    >>> _number(0.0), _number(2.5)
    ('0', '2.5')
    """
    if isinstance(given, float):
        return f"{given:.15g}"
    return hex(given)[:20] if isinstance(given, int) and abs(given) > 10**40 else str(given)


def _plural(unit: str | None) -> str:
    """Return a unit in the plural.

    >>> _plural("mile"), _plural("inch/hour"), _plural("°C")
    ('miles', 'inches/hour', '°C')
    """
    first, slash, rest = (unit or "").partition("/")
    ending = (
        ""
        if not first.isascii() or not first.isalpha() or first.endswith("s")
        else "es"
        if first.endswith(("ch", "sh", "x"))
        else "s"
    )
    return first + ending + slash + rest
