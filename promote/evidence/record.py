"""What the gate saw, as the challenger's run keeps it: figures as metrics; evidence, verdict, words and picture as files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promote.contract import Verdict
from promote.evidence.picture import interval_plot
from promote.gate.judge import Evidence
from promote.gate.plain_columns import OddColumn, plain_column, text_of
from promote.gate.words import explanation
from retrain.comparison.metrics import METRICS, NotComparable, metric_value
from retrain.contract import canonical_json


def figures(verdict: Verdict) -> dict[str, float]:
    """Return both models' figures on all test rows and the improvement's interval, by the name of the run's metric.

    Names are such as `gate_log_loss_challenger`, `gate_log_loss_champion`, `gate_log_loss_improvement` and its `_lower` and `_upper`.
    """
    found: dict[str, float] = {}
    for comparison in verdict.comparisons:
        if comparison.where != "all rows" or f"gate_{comparison.metric}_challenger" in found:
            continue
        interval, name = comparison.improvement, f"gate_{comparison.metric}"
        found |= {
            f"{name}_challenger": comparison.challenger,
            f"{name}_champion": comparison.champion,
        }
        found |= {
            f"{name}_improvement": interval.estimate,
            f"{name}_improvement_lower": interval.lower,
            f"{name}_improvement_upper": interval.upper,
        }
    return found


def record(evidence: Evidence, verdict: Verdict) -> dict[str, bytes]:
    """Return the files that the challenger's run keeps, by their name."""
    return {
        "verdict.json": canonical_json(verdict.model_dump(mode="json")),
        "evidence.json": canonical_json(summary(evidence)),
        "explanation.md": explanation(verdict).encode(),
        "intervals.png": interval_plot(verdict),
    }


def summary(evidence: Evidence) -> dict[str, Any]:
    """Return the evidence without its rows: what was wrong, and both models' figures in each group."""
    columns = _columns(evidence)
    return {
        "model": evidence.model,
        "kind": evidence.kind,
        "challenger": evidence.challenger,
        "champion": evidence.champion,
        "snapshot_id": evidence.snapshot_id,
        "rows": len(columns["labels"]),
        "seen_rows": evidence.seen_rows,
        "missing_columns": list(evidence.missing_columns),
        "schema_problems": list(evidence.schema_problems),
        "faults": list(evidence.faults),
        "groups": _groups(columns),
    }


def _columns(evidence: Evidence) -> dict[str, NDArray[Any]]:
    """Return the columns that can be read; an odd one is empty here, and the verdict names it."""
    found = {}
    for name, values in evidence.columns().items():
        try:
            found[name] = plain_column(values)
        except OddColumn:
            found[name] = np.empty(0)
    return found


def _groups(columns: Mapping[str, NDArray[Any]]) -> list[dict[str, Any]]:
    """Return each group's rows and figures; from these every interval of a mean can be computed again."""
    groups, labels = columns["groups"], columns["labels"]
    champion, challenger = columns["champion scores"], columns["challenger scores"]
    if len({len(groups), len(labels), len(champion), len(challenger)}) != 1:
        return []
    found = []
    for group in sorted(set(groups.tolist()), key=text_of):
        rows = groups == group
        figures = {
            name: _both(name, labels[rows], champion[rows], challenger[rows]) for name in METRICS
        }
        found.append(
            {
                "group": text_of(group),
                "rows": int(rows.sum()),
                "figures": {name: both for name, both in figures.items() if both},
            }
        )
    return found


def _both(metric: str, labels: Any, champion: Any, challenger: Any) -> dict[str, float] | None:
    try:
        return {
            "champion": metric_value(metric, labels, champion),
            "challenger": metric_value(metric, labels, challenger),
        }
    except NotComparable:
        return None
