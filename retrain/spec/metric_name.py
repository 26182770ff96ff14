"""A metric's name in a model file: `log_loss`, or `{quantile: 0.9}`. Pure."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from retrain.comparison.metrics import METRICS, metric_named
from retrain.comparison.ranking import NotComparable
from retrain.spec.mistakes import nearest


def metric_name(written: Any) -> str:
    """Return the name of a metric as a person writes it.

    Raises:
        ValueError: There is no such metric.

    >>> metric_name({"quantile": 0.9})
    'quantile_0.9'
    """
    name = written
    if isinstance(written, dict) and list(written) == ["quantile"]:
        name = f"quantile_{written['quantile']}"
    try:
        return metric_named(str(name)).name
    except NotComparable:
        hint = nearest(str(name), [*METRICS, "quantile_0.9"])
        raise ValueError(f"must be a metric, is `{written}`; {hint}") from None


MetricName = Annotated[
    str,
    BeforeValidator(metric_name),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(METRICS)},
                {"type": "string", "pattern": r"^quantile_0\.[0-9]{1,4}$"},
                {
                    "type": "object",
                    "properties": {
                        "quantile": {
                            "type": "number",
                            "exclusiveMinimum": 0,
                            "exclusiveMaximum": 1,
                        }
                    },
                    "required": ["quantile"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
