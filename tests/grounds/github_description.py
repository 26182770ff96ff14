"""GitHub's description of its REST API as JSON Schema, and which operation a request is.

The description is `github-rest.json` (OpenAPI 3.0).
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema

_DESCRIPTION: dict[str, Any] = json.loads(Path(__file__).with_name("github-rest.json").read_text())
_FORMATS = jsonschema.FormatChecker(formats=())


@_FORMATS.checks("date-time", raises=ValueError)
def _is_moment(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


@_FORMATS.checks("uri")
def _is_uri(value: object) -> bool:
    return not isinstance(value, str) or re.fullmatch(r"https?://[^\s{}]+", value) is not None


def _as_json_schema(node: Any) -> Any:
    """Translate `nullable` of OpenAPI 3.0 into JSON Schema's type for null.

    `oneOf` becomes `anyOf`: two of GitHub's error shapes have no required field.
    """
    if isinstance(node, list):
        return [_as_json_schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    schema = {
        "anyOf" if name == "oneOf" else name: _as_json_schema(value)
        for name, value in node.items()
        if name != "nullable"
    }
    return {"anyOf": [schema, {"type": "null"}]} if node.get("nullable") is True else schema


_COMPONENTS = _as_json_schema(_DESCRIPTION["components"])


def operations() -> set[tuple[str, str]]:
    """Method and path template of everything that is described."""
    return {
        (method.upper(), path) for path, item in _DESCRIPTION["paths"].items() for method in item
    }


def operation_of(method: str, path: str) -> tuple[str, str]:
    """The operation of a request. Of several fitting templates, the one with fewest parameters."""
    fitting = [
        template
        for one, template in operations()
        if one == method and _pattern(template).fullmatch(path)
    ]
    return method, min(fitting, key=lambda template: (template.count("{"), -len(template)))


def _pattern(template: str) -> re.Pattern[str]:
    open_ended = re.sub(
        r"\\\{(ref|branch|name|basehead)\\\}",
        ".+",
        re.escape(template).replace(r"/\{path\}", "(?:/.*)?"),
    )
    return re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", open_ended))


def check_answer(operation: tuple[str, str], status: int, answer: Any) -> None:
    """Fail unless GitHub could have answered this.

    Raises:
        AssertionError: It never answers with that status.
        jsonschema.ValidationError: It would have another shape.
    """
    responses = _DESCRIPTION["paths"][operation[1]][operation[0].lower()]["responses"]
    assert str(status) in responses, f"{operation} answers {sorted(responses)}, not {status}"
    response = responses[str(status)]
    if "$ref" in response:
        response = _DESCRIPTION["components"]["responses"][response["$ref"].rsplit("/", 1)[1]]
    if "content" not in response:
        assert answer is None or status >= 400, f"{operation} answers {status} without a body"
        return
    _check(response["content"]["application/json"]["schema"], answer)


def check_body(operation: tuple[str, str], body: Any) -> None:
    """Fail unless GitHub would read this body."""
    described = _DESCRIPTION["paths"][operation[1]][operation[0].lower()].get("requestBody")
    if described is not None and body is not None:
        _check(described["content"]["application/json"]["schema"], body)


def _check(schema: Any, value: Any) -> None:
    jsonschema.Draft202012Validator(
        {**_as_json_schema(schema), "components": _COMPONENTS}, format_checker=_FORMATS
    ).validate(value)
