"""One field of a request or an answer, as pydantic checks it and the description shows it. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from retrain.contract import Feature, Output

LARGEST_INTEGER = 2**53 - 1
"""Larger JSON numbers are not the same whole number for every program (RFC 8259, section 6)."""
LARGEST_NUMBER = float.fromhex("0x1.fffffep+127")
"""The largest 32-bit float: a model computes with these."""
TYPES: Mapping[str, type] = {"number": float, "integer": int, "boolean": bool, "category": str}


@dataclass(frozen=True)
class _WholeNumber:
    """A whole number in `[minimum, maximum]`.

    `3.0` is a whole number too (JSON Schema, draft 2020-12, 6.1.1).
    """

    minimum: int
    maximum: int

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Try an integer first: nearly all callers send one, and its check runs no Python."""
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
        """Describe the field as an integer."""
        return {"type": "integer", "minimum": self.minimum, "maximum": self.maximum}


def _whole(number: float) -> int:
    if not number.is_integer():
        raise ValueError("not a whole number")
    return int(number)


def input_field(feature: Feature) -> Any:
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
    """Return the feature's own limits, within `[-largest, largest]`."""
    low = -largest if feature.minimum is None else max(feature.minimum, -largest)
    high = largest if feature.maximum is None else min(feature.maximum, largest)
    return low, high


def output_field(output: Output) -> Any:
    """Return the type and field of one output, as `create_model` takes them."""
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
    parts.append(f"In {plural(feature.unit)}" if feature.unit else "")
    if feature.known_categories:
        shown, more = feature.known_categories[:30], len(feature.known_categories) - 30
        rest = f" and {more} more" if more > 0 else ""
        parts.append(f"Known categories: {', '.join(shown)}{rest}; any other is answered too")
    parts.append("" if feature.required else "May be left out or null")
    return "".join(f"{part}. " for part in parts if part).strip()


def plausible_value(feature: Feature) -> Any:
    """Return a value that a caller may send: a known category, or the lower end of a range."""
    if feature.type == "category":
        return feature.known_categories[0] if feature.known_categories else "A"
    if feature.type == "boolean":
        return False
    low = feature.minimum if feature.minimum is not None else min(0.0, feature.maximum or 0.0)
    return math.ceil(low) if feature.type == "integer" or low == int(low) else low


def _extra(feature: Feature) -> dict[str, Any]:
    """Return unit and known categories for programs. The description has them for people."""
    extra = {"x-unit": feature.unit, "x-known-categories": list(feature.known_categories)}
    return {name: value for name, value in extra.items() if value}


def plural(unit: str | None) -> str:
    """Return a unit in the plural.

    >>> plural("mile"), plural("inch/hour"), plural("°C")
    ('miles', 'inches/hour', '°C')
    """
    first, slash, rest = (unit or "").partition("/")
    if not first.isascii() or not first.isalpha() or first.endswith("s"):
        return first + slash + rest
    ending = "es" if first.endswith(("ch", "sh", "x")) else "s"
    return first + ending + slash + rest
