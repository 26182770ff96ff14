"""What pydantic refuses becomes JSON pointers with what is allowed there, in words. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, from_json

from client_api.errors import FieldError, RequestInvalid
from client_api.protocols.fields import plural
from retrain.contract import Feature

MOST_ERRORS = 20
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


@dataclass(frozen=True)
class Sentences:
    """Words for the refused bodies of one model."""

    model: str
    features: Mapping[str, Feature]
    instance: type[BaseModel]

    def refusal(self, problem: ValidationError, body: bytes) -> RequestInvalid:
        """Return the refusal of a body that pydantic refused."""
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
        """Yield the errors row by row, up to the row that reaches MOST_ERRORS.

        So a caller can correct many rows at once, and a large bad body costs little.
        """
        errors = 0
        for number, instance in enumerate(instances):
            try:
                self.instance.model_validate(instance)
            except ValidationError as problem:
                for detail in problem.errors(include_url=False)[:MOST_ERRORS]:
                    yield FieldError(
                        _pointer(("instances", number, *detail["loc"])), self._sentence(detail)
                    )
                    errors += 1
            if errors >= MOST_ERRORS:
                return

    def _sentence(self, detail: ErrorDetails) -> str:
        place = str(detail["loc"][-1]) if detail["loc"] else ""
        feature = self.features.get(place)
        given = _shown(detail["input"])
        limits = {name: _number(limit) for name, limit in detail.get("ctx", {}).items()}
        unit = f" {plural(feature.unit)}" if feature and feature.unit else ""
        if detail["type"] == "extra_forbidden":
            return self._unknown(place)
        if detail["type"] in SENTENCES:
            return SENTENCES[detail["type"]].format(**limits, unit=unit, given=given)
        return f"must be {WORDS[feature.type]}, is {given}" if feature else detail["msg"]

    def _unknown(self, name: str) -> str:
        near = difflib.get_close_matches(name[:64], self.features, n=1)
        hint = f"did you mean {near[0]}?" if near else f"its fields are {', '.join(self.features)}"
        return f"is not a field of {self.model}; {hint}"


def _pointer(place: Sequence[str | int]) -> str:
    """Return a place as a JSON pointer.

    >>> _pointer(("instances", 3, "a/b"))
    '/instances/3/a~1b'
    """
    return "".join("/" + str(part)[:200].replace("~", "~0").replace("/", "~1") for part in place)


def _shown(given: object) -> str:
    """Return a short text for a sent value. No long part of a body goes back to its sender."""
    if isinstance(given, dict):
        return "an object"
    if isinstance(given, list):
        return "a list"
    if given is None or isinstance(given, bool):
        return {None: "null", True: "true", False: "false"}[given]
    if isinstance(given, str):
        return f'"{given[:40]}…"' if len(given) > 40 else f'"{given}"'
    shown = _number(given)
    return shown if len(shown) <= 60 else shown[:40] + "…"


def _number(given: object) -> str:
    """Write a number as a person does.

    >>> _number(0.0), _number(2.5)
    ('0', '2.5')
    """
    if isinstance(given, float):
        return f"{given:.15g}"
    return hex(given)[:20] if isinstance(given, int) and abs(given) > 10**40 else str(given)
