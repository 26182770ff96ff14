"""What the challenger's run keeps of a verdict: figures as metrics, and four files for people."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from promote.contract import Verdict
from promote.evidence.picture import interval_plot
from promote.gate.evidence import Evidence, Faulty, JudgedRows
from promote.gate.plain_columns import text_of
from promote.gate.words import explanation
from retrain.comparison.metrics import metric_value
from retrain.comparison.ranking import NotComparable
from retrain.contract import canonical_json


def figures(verdict: Verdict) -> dict[str, float]:
    """Return both models' figures on all test rows, and the interval of the improvement.

    The run's metrics are named `gate_log_loss_challenger`, `gate_log_loss_champion`,
    `gate_log_loss_improvement`, and the last again with `_lower` and `_upper`.
    """
    values: dict[str, float] = {}
    for comparison in verdict.comparisons:
        name, interval = f"gate_{comparison.metric}", comparison.improvement
        if comparison.where == "all rows" and f"{name}_challenger" not in values:
            values |= {
                f"{name}_challenger": comparison.challenger,
                f"{name}_champion": comparison.champion,
                f"{name}_improvement": interval.estimate,
                f"{name}_improvement_lower": interval.lower,
                f"{name}_improvement_upper": interval.upper,
            }
    return values


def record(evidence: Faulty | Evidence, verdict: Verdict) -> dict[str, bytes]:
    """Return the files by name."""
    return {
        "verdict.json": canonical_json(verdict.model_dump(mode="json")),
        "evidence.json": canonical_json(summary(evidence)),
        "explanation.md": explanation(verdict).encode(),
        "intervals.png": interval_plot(verdict),
    }


def summary(evidence: Faulty | Evidence) -> dict[str, Any]:
    """Return the evidence without its rows: the faults, or both models' figures in each group."""
    subject = asdict(evidence.subject)
    if isinstance(evidence, Faulty):
        return subject | {"faults": list(evidence.faults)}
    return subject | {
        "rows": len(evidence.rows.labels),
        "schema_problems": list(evidence.schema_problems),
        "groups": _groups(evidence),
    }


def _groups(evidence: Evidence) -> list[dict[str, Any]]:
    """Return each group's rows and figures. The interval of every mean follows from them."""
    rows, groups = evidence.rows, []
    for group in sorted(set(rows.groups.tolist()), key=text_of):
        chosen = rows.groups == group
        values = {name: _values(name, rows, chosen) for name in evidence.task.metrics}
        groups.append(
            {
                "group": text_of(group),
                "rows": int(chosen.sum()),
                "figures": {name: both for name, both in values.items() if both},
            }
        )
    return groups


def _values(metric: str, rows: JudgedRows, chosen: Any) -> dict[str, float] | None:
    labels = rows.labels[chosen]
    try:
        return {
            "champion": metric_value(metric, labels, rows.champion[chosen]),
            "challenger": metric_value(metric, labels, rows.challenger[chosen]),
        }
    except NotComparable:
        return None
