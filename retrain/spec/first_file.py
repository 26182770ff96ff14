"""The first text of a new model's YAML. Pure.

It holds what the rows show, and asks what they cannot show.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from retrain.contract import FeatureType
from retrain.spec.model_file import Columns
from retrain.tasks.task import Task

_FIRST_HOUR, _HOURS = 3, 6
_TITLE = "what the model answers, in one sentence for callers and reviewers"
_OUTPUT = "what callers read; add its unit, such as `unit: minute`"
_DELAY = "how long after the event time is every label known? such as `1 day`. Guessing it leaks"


@dataclass(frozen=True)
class FeatureLine:
    """A feature of the new file."""

    name: str
    type: FeatureType
    is_required: bool
    is_never_negative: bool
    seen: str
    """What the rows show, for the comment."""

    def __str__(self) -> str:
        options = [f"type: {self.type}"]
        options += [] if self.is_required else ["required: false"]
        options += ["minimum: 0"] if self.is_never_negative else []
        return f"  {self.name}: {{{', '.join(options)}}}".ljust(60) + f"  # {self.seen}"


def schedule_of(name: str) -> str:
    """Return a cron line on Mondays between 3:00 and 8:59 UTC, always the same for a name.

    Models that all start at one moment would wait for each other.

    >>> schedule_of("flight-delay")
    '58 6 * * MON'
    """
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    hour, minute = divmod(number % (_HOURS * 60), 60)
    return f"{minute} {_FIRST_HOUR + hour} * * MON"


def first_file(
    name: str,
    task: Task,
    *,
    owner: str,
    source: str,
    columns: Columns,
    features: Sequence[FeatureLine],
    left_out: Sequence[str],
) -> str:
    """Return the YAML; `retrain check` asks for what only a person knows.

    Args:
        name: The model's; also the name of the SQL file.
        task: What the label can be learnt by.
        owner: Who is asked to review.
        source: A name of RETRAIN_SOURCES.
        columns: The parts that columns play.
        features: At least one.
        left_out: A sentence for each other column.
    """
    parts = ", ".join(f"{part}: {column}" for part, column in columns.model_dump().items())
    lines = [
        "# yaml-language-server: $schema=model.schema.json",
        f"name: {name}",
        f'title: ""  # {_TITLE}',
        f"owner: {json.dumps(owner)}  # asked to review",
        f"task: {task.name}",
        *(
            [f"output: {{name: {columns.label}}}  # {_OUTPUT}"]
            if task.problem_with_output(None)
            else []
        ),
        f'schedule: "{schedule_of(name)}"  # UTC; a time of its own, from the name',
        f"source: {source}",
        f"query: {name}.sql",
        f"columns: {{{parts}}}",
        f"label_delay: unknown  # {_DELAY}",
        "features:",
        *map(str, features),
        *(f"  # {sentence}" for sentence in left_out),
        "window: 3 months",
        "validation: 14 days",
        "test: 7 days",
    ]
    return "\n".join(lines) + "\n"
