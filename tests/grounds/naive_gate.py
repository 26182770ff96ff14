"""The gate's rule, computed again from each day's rows and log loss, slowly and without our code.

The interval leaves out one day at a time (see `retrain/comparison/intervals.py`). Guardrails and
slices need the rows and are not computed here. They can only block.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy.stats import t as student

Day = tuple[int, float, float]
"""Rows, the champion's log loss, the challenger's."""


def recorded(mlflow: Path, model: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield verdict and evidence of every judgement on a model that MLflow's folder keeps."""
    for path in sorted(mlflow.glob("artifacts/*/*/artifacts/evidence/*/verdict.json")):
        verdict = json.loads(path.read_text())
        if verdict["model"] == model:
            yield verdict, json.loads(path.with_name("evidence.json").read_text())


def days_of(evidence: Mapping[str, Any]) -> list[Day]:
    """Return the days that the evidence kept."""
    figures = [(group["rows"], group["figures"]["log_loss"]) for group in evidence["groups"]]
    return [(rows, loss["champion"], loss["challenger"]) for rows, loss in figures]


def interval(days: Sequence[Day], confidence: float) -> tuple[float, float, float]:
    """Return lower bound, estimate and upper bound of the improvement.

    >>> [round(value, 3) for value in interval([(10, 0.5, 0.4), (10, 0.5, 0.2)], 0.8)]
    [0.062, 0.2, 0.338]
    """
    estimate = _gain(days)
    without_each = [_gain([*days[:number], *days[number + 1 :]]) for number in range(len(days))]
    squares = sum((value - estimate) ** 2 for value in without_each)
    error = math.sqrt((len(days) - 1) / len(days) * squares)
    rows = [day[0] for day in days]
    worth = sum(rows) ** 2 / sum(number**2 for number in rows)
    half = float(student.ppf(confidence, worth - 1)) * error
    return estimate - half, estimate, estimate + half


def rule(evidence: Mapping[str, Any], gate: Mapping[str, Any]) -> str:
    """Return what the rule on log loss says: promote, keep or inconclusive.

    Args:
        evidence: As the run keeps it.
        gate: The `gate:` section of the model's file, shares as numbers.
    """
    days = days_of(evidence)
    champion = sum(rows * loss for rows, loss, _ in days) / sum(rows for rows, *_ in days)
    if evidence["kind"] == "refresh":
        lower, _, upper = interval(days, gate["refresh"]["confidence"])
        allowed = -gate["refresh"]["worse_by_at_most"] * champion
        return "keep" if upper < 0 else "promote" if lower > allowed else "inconclusive"
    lower, _, upper = interval(days, gate["change"]["better_with_confidence"])
    if lower > 0:
        return "promote"
    return "keep" if upper < gate["worthwhile"] * champion else "inconclusive"


def _gain(days: Sequence[Day]) -> float:
    return sum(rows * (old - new) for rows, old, new in days) / sum(rows for rows, *_ in days)
