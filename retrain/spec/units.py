"""Values as a person writes them in YAML: `3 months`, `14 days`, `1 %`. Pure."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

_DURATION = re.compile(r"(\d+) ?(day|hour|minute|week)s?")
_MONTHS = re.compile(r"(\d+) ?months?")
_SHARE = re.compile(r"(\d+(?:\.\d+)?) ?%")

_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)(?: ?([^\d\s].*))?")

_CRON_FIELDS = (
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of the month", 1, 31),
    ("month", 1, 12),
    ("weekday", 0, 7),
)


def duration(written: Any) -> timedelta:
    """Return the length of time that a text says.

    Raises:
        ValueError: It is not a whole number and a unit.

    >>> duration("36 hours")
    datetime.timedelta(days=1, seconds=43200)
    """
    if isinstance(written, timedelta):
        return written
    match = _DURATION.fullmatch(str(written).strip())
    if match is None:
        raise ValueError(
            "must be a number with minutes, hours, days or weeks,"
            f" such as `14 days`, is `{written}`"
        )
    return timedelta(**{f"{match[2]}s": int(match[1])})


def months(written: Any) -> int:
    """Return the number of calendar months that a text says.

    Raises:
        ValueError: It is not a whole number of months.

    >>> months("3 months")
    3
    """
    match = _MONTHS.fullmatch(str(written).strip())
    if match is None or int(match[1]) < 1:
        raise ValueError(f"must be calendar months, such as `3 months`, is `{written}`")
    return int(match[1])


def share(written: Any) -> Any:
    """Return `1 %` as 0.01; anything else as it is.

    >>> share("1 %")
    0.01
    """
    match = _SHARE.fullmatch(written.strip()) if isinstance(written, str) else None
    return float(match[1]) / 100 if match else written


def amount(written: Any) -> Any:
    """Return `5 minutes` as a number and a unit; a number alone is in the output's unit.

    Raises:
        ValueError: It is neither.

    >>> amount("5 minutes")
    (5.0, 'minutes')
    """
    if isinstance(written, tuple):
        return written
    match = _AMOUNT.fullmatch(str(written).strip())
    if match is None or isinstance(written, bool):
        raise ValueError(f"must be a number with its unit, such as `5 minutes`, is `{written}`")
    return float(match[1]), match[2]


def cron_line(written: str) -> str:
    """Return a cron line; names, lists and steps are left to Airflow.

    Raises:
        ValueError: A number is outside of its field's range.

    >>> cron_line("*/15 6-8 * * MON")
    '*/15 6-8 * * MON'
    """
    for (field, lowest, highest), part in zip(_CRON_FIELDS, written.split(" "), strict=True):
        for number in re.findall(r"(?<![\d/#])\d+", part):
            if not lowest <= int(number) <= highest:
                raise ValueError(f"has the {field} {number}; it goes from {lowest} to {highest}")
    return written


def _text_schema(pattern: str, example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern}$", "examples": [example]})


Duration = Annotated[
    timedelta, BeforeValidator(duration), _text_schema(_DURATION.pattern, "14 days")
]
Months = Annotated[int, BeforeValidator(months), _text_schema(_MONTHS.pattern, "3 months")]
Share = Annotated[
    float,
    BeforeValidator(share),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0},
                {"type": "string", "pattern": f"^{_SHARE.pattern}$"},
            ],
            "examples": ["1 %"],
        }
    ),
]
Amount = Annotated[
    tuple[float, str | None],
    BeforeValidator(amount),
    WithJsonSchema(
        {
            "anyOf": [{"type": "number", "minimum": 0}, {"type": "string"}],
            "examples": ["5 minutes"],
        }
    ),
]
