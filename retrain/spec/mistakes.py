"""Mistakes of a model file: what pydantic finds, and what two fields say together. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, get_args

from pydantic import BaseModel

from retrain.errors import Mistake
from retrain.spec.yaml_lines import LocatedYaml, Place

_SENTENCES = {
    "missing": "is missing; it has no default",
    "model_type": "must be a mapping, is `{input}`",
    "dict_type": "must be a mapping, is `{input}`",
    "tuple_type": "must be a list, is `{input}`",
    "string_type": "must be text, is `{input}`",
    "int_type": "must be a whole number, is `{input}`",
    "float_type": "must be a number, is `{input}`",
    "bool_type": "must be true or false, is `{input}`",
    "finite_number": "must be a finite number, is `{input}`",
    "greater_than_equal": "must be at least {ge}, is `{input}`",
    "greater_than": "must be above {gt}, is `{input}`",
    "less_than": "must be below {lt}, is `{input}`",
    "less_than_equal": "must be at most {le}, is `{input}`",
    "string_pattern_mismatch": "must match {pattern}, is `{input}`",
    "value_error": "{error}",
}


def mistakes_of(
    errors: Iterable[Mapping[str, Any]], located: LocatedYaml, root: type[BaseModel], path: str
) -> Iterator[Mistake]:
    """Yield one mistake per pydantic error; `errors` as `ValidationError.errors()` returns them."""
    for error in errors:
        place: Place = tuple(part for part in error["loc"] if part != "[key]")
        yield Mistake(
            path, located.line_of(place), f"`{_name(place)}` {_sentence(error, place, root)}"
        )


def nearest(word: str, choices: Sequence[str]) -> str:
    """Return the choice that a person probably meant, as a hint.

    >>> nearest("log_los", ["log_loss", "brier"])
    'did you mean `log_loss`?'
    >>> nearest("x", ["b", "a"])
    'use one of: a, b'
    """
    close = difflib.get_close_matches(word, choices, n=1)
    return f"did you mean `{close[0]}`?" if close else f"use one of: {', '.join(sorted(choices))}"


def _name(place: Place) -> str:
    return ".".join(str(part) for part in place) or "the file"


def _sentence(error: Mapping[str, Any], place: Place, root: type[BaseModel]) -> str:
    if error["type"] == "extra_forbidden":
        return f"is not a field; {nearest(str(place[-1]), _fields_at(place[:-1], root))}"
    if error["type"] == "literal_error":
        return f"must be {error['ctx']['expected'].replace(chr(39), '`')}, is `{error['input']}`"
    template = _SENTENCES.get(error["type"], error["msg"])
    return str(template.format(input=error["input"], **error.get("ctx", {})))


def _fields_at(place: Place, root: type[BaseModel]) -> list[str]:
    """Return the fields of the model at a place. Keys of a mapping do not count."""
    model: type[BaseModel] = root
    for part in place:
        if str(part) in model.model_fields:
            model = _model_within(model.model_fields[str(part)].annotation) or model
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_within(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_within, get_args(annotation))), None)


def impossible_lengths(
    months: int, label_delay: timedelta, validation: timedelta, test: timedelta
) -> Iterator[tuple[Place, str]]:
    """Yield lengths that leave no day to train on, however long the window's months are."""
    window = "the window of a month" if months == 1 else f"the window of {months} months"
    longest = timedelta(days=31) * months
    if label_delay >= longest:
        yield ("label_delay",), f"`label_delay` is as long as {window}: no label would be known"
    elif label_delay + validation + test >= longest:
        sentence = f"`label_delay`, `validation` and `test` leave no day of {window} to train on"
        yield ("test",), sentence


def mistakes_between(located: LocatedYaml, query_text: str | None) -> Iterator[tuple[Place, str]]:
    """Yield the mistakes between two fields, or between the YAML and the SQL.

    The fields themselves may have mistakes too.
    """
    written = located.value if isinstance(located.value, dict) else {}
    columns, features = (
        section if isinstance(section := written.get(name), dict) else {}
        for name in ("columns", "features")
    )
    parts: dict[str, str] = {}
    for part, column in columns.items():
        if str(column) in parts:
            yield (
                ("columns", part),
                f"`columns.{part}` names the column `{column}`,"
                f" which is the {parts[str(column)]} already",
            )
        parts.setdefault(str(column), part)
    for name in features:
        if name in parts:
            yield (
                ("features", name),
                f"`features.{name}` is the {parts[name]} of the rows"
                " and cannot be an input of the model",
            )
    if query_text is None and "query" in written:
        yield ("query",), f"`query` names `{written['query']}`, which is not beside the YAML"
