"""What rows show about the model file's features and label: mistakes, and what callers will meet.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from retrain.contract import Feature, FeatureType
from retrain.snapshot.profile import ColumnProfile, profile_of
from retrain.spec.model_file import ModelSpec

MANY_CATEGORIES = 1000
_NUMBERS = frozenset({"number", "integer", "boolean"})
_TYPES: dict[FeatureType, frozenset[str]] = {
    "number": _NUMBERS,
    "integer": _NUMBERS,
    "boolean": _NUMBERS,
    "category": frozenset({"text", "integer", "number", "boolean"}),
}


def mistakes_in_rows(spec: ModelSpec, rows: pa.Table) -> Iterator[str]:
    """Yield what keeps a model from being trained on such rows; the rows are canonical."""
    profiles = {profile.name: profile for profile in profile_of(rows)}
    for feature in spec.features:
        profile = profiles[feature.name]
        if profile.type not in _TYPES[feature.type] and profile.distinct:
            yield (
                f"`features.{feature.name}` is of the type {feature.type}, and {spec.query} returns"
                f" a {profile.type}: change the type, or cast it in the query"
            )
    label = profiles[spec.columns.label]
    lowest, highest = label.lowest, label.highest
    if not isinstance(lowest, int | float) or not isinstance(highest, int | float):
        return  # no row has a label, or the snapshot refuses its type
    if problem := spec.the_task.problem_with_values(lowest, highest):
        yield f"the label `{label.name}` {problem}"
    elif label.distinct == 1:
        yield f"the label `{label.name}` is {label.lowest} in all {label.rows:,} rows"


def warnings_about_rows(spec: ModelSpec, rows: pa.Table) -> Iterator[str]:
    """Yield what works in training and surprises later; the rows are canonical."""
    profiles = {profile.name: profile for profile in profile_of(rows)}
    for feature in spec.features:
        profile = profiles[feature.name]
        if profile.type in _TYPES[feature.type]:
            yield from _warnings_about(feature, profile, rows.column(feature.name))


def _warnings_about(
    feature: Feature, profile: ColumnProfile, column: pa.ChunkedArray
) -> Iterator[str]:
    name = f"`features.{feature.name}`"
    if profile.missing and feature.required:
        yield (
            f"{name}: {profile.missing_share:.1%} of the rows have no value, and the gateway would"
            " refuse such a call; write `required: false` if callers may leave it out"
        )
    if profile.distinct == 1:
        yield f"{name}: all rows have the same value, so no model learns from it"
    if feature.type == "category" and profile.distinct > MANY_CATEGORIES:
        yield f"{name}: {profile.distinct:,} categories are very many for one-hot columns"
    if share := _share_outside(feature, column):
        bounds = f"{_bound(feature.minimum)}..{_bound(feature.maximum)}"
        yield f"{name}: {share:.1%} of the rows are outside {bounds}; the gateway would refuse them"


def _share_outside(feature: Feature, column: pa.ChunkedArray) -> float:
    if feature.type not in {"number", "integer"} or not len(column):
        return 0.0
    values = column.cast(pa.float64())
    outside = pa.scalar(False)
    if feature.minimum is not None:
        outside = pc.or_(outside, pc.less(values, feature.minimum))
    if feature.maximum is not None:
        outside = pc.or_(outside, pc.greater(values, feature.maximum))
    if isinstance(outside, pa.Scalar):
        return 0.0
    return float((pc.sum(outside).as_py() or 0) / len(column))


def _bound(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
