"""A page about the rows of a run, for people: missing cells, ranges, values, labels by week.

It compares the rows with those of the last registered run. A week that both runs have is read once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

import pyarrow as pa
import pyarrow.compute as pc

from retrain.contract import Feature, Partition, Snapshot
from retrain.errors import PartitionCorrupt, PartitionMissing
from retrain.snapshot.partitions import read_partition
from retrain.snapshot.window import Window, weeks_within

_MOST_VALUES = 1_000
"""Of a category in a week; rarer values do not count as new or gone."""
_SHOWN_VALUES = 6
_STYLE = (
    "body{font:14px system-ui,sans-serif;margin:2em;color:#222}table{border-collapse:collapse}"
    "td,th{padding:3px 10px;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}"
    "td.n{text-align:right;font-variant-numeric:tabular-nums}b{color:#b30000}"
    "i{display:inline-block;height:10px;background:#4a7fb5}"
)


@dataclass(frozen=True)
class Cells:
    """What the cells of a column hold; numbers have a range, categories have counts."""

    rows: int = 0
    missing: int = 0
    total: float = 0.0
    lowest: float | None = None
    highest: float | None = None
    counts: Counter[str] | None = None

    @property
    def missing_share(self) -> float:
        """From 0 to 1."""
        return self.missing / self.rows if self.rows else 0.0

    @property
    def mean(self) -> float | None:
        """None when no cell has a number."""
        found = self.rows - self.missing
        return self.total / found if found and self.counts is None else None

    def __add__(self, other: Cells) -> Cells:
        counted = [one.counts for one in (self, other) if one.counts is not None]
        lows = [one.lowest for one in (self, other) if one.lowest is not None]
        highs = [one.highest for one in (self, other) if one.highest is not None]
        return Cells(
            self.rows + other.rows,
            self.missing + other.missing,
            self.total + other.total,
            min(lows, default=None),
            max(highs, default=None),
            sum(counted, Counter()) if counted else None,
        )


Week = dict[str, Cells]
"""By column."""


def rows_page(
    title: str, snapshot: Snapshot, features: Sequence[Feature], last: Snapshot | None
) -> str:
    """Return the page as HTML.

    Args:
        title: The run's name.
        snapshot: Of the run.
        features: Of the model file.
        last: Of the last registered run of the same plan; None when there is none.

    Raises:
        PartitionMissing, PartitionCorrupt: A file of `snapshot` cannot be read. The page leaves
            `last` out when its files cannot.
    """
    known: dict[Partition, Week] = {}
    weeks = _weeks(snapshot, features, known)
    try:
        before = None if last is None else _weeks(last, features, known)
    except (PartitionMissing, PartitionCorrupt):
        before = None
    now, then = _whole(weeks.values()), None if before is None else _whole(before.values())
    against = "There is no earlier run to compare with."
    if last is not None and before is not None:
        against = (
            f"Compared with {min(before)} to {max(before)}; changes are <b>red</b>: 1 %"
            " of missing cells, a tenth of the range, a value that is new or gone."
        )
    rows = now[snapshot.label].rows
    return (
        f"<!doctype html><meta charset=utf-8><title>{escape(title)}</title>"
        f"<style>{_STYLE}</style><h1>Rows of {escape(title)}</h1>"
        f"<p>{rows:,} rows in {len(weeks)} weeks. {against}</p>"
        "<h2>Features</h2><table><tr><th>feature<th>type<th>missing<th>lowest<th>mean<th>highest"
        f"<th>values{''.join(_feature_line(one, now, then) for one in features)}</table>"
        f"<h2>{escape(snapshot.label)} by week</h2><table><tr><th>week<th>rows<th>mean<th>"
        f"{''.join(_week_line(week, cells[snapshot.label]) for week, cells in weeks.items())}"
        "</table>\n"
    )


def _weeks(
    snapshot: Snapshot, features: Sequence[Feature], known: dict[Partition, Week]
) -> dict[str, Week]:
    """Return each week of the window; `known` gains those that were read."""
    wanted = set(weeks_within(Window(snapshot.train.start, snapshot.test.end)))
    categories = {feature.name for feature in features if feature.type == "category"}
    names = [*(feature.name for feature in features), snapshot.label]
    found = {}
    for partition in snapshot.partitions:
        if partition.week in wanted:
            if partition not in known:
                rows = read_partition(partition, names)
                known[partition] = {
                    name: _cells(rows.column(name), is_category=name in categories)
                    for name in names
                }
            found[partition.week] = known[partition]
    return found


def _cells(column: pa.ChunkedArray, *, is_category: bool) -> Cells:
    if is_category:
        counts = pc.value_counts(pc.drop_null(column.cast(pa.string(), safe=False)))
        texts, numbers = (counts.field(part).to_pylist() for part in ("values", "counts"))
        common = Counter(dict(zip(texts, numbers, strict=True))).most_common(_MOST_VALUES)
        return Cells(len(column), column.null_count, counts=Counter(dict(common)))
    present = pc.drop_null(column.cast(pa.float64(), safe=False))
    present = present.filter(pc.is_finite(present))
    extremes = pc.min_max(present).as_py()
    return Cells(
        len(column),
        len(column) - len(present),
        pc.sum(present).as_py() or 0.0,
        extremes["min"],
        extremes["max"],
    )


def _whole(weeks: Iterable[Week]) -> Week:
    joined: Week = {}
    for week in weeks:
        for name, cells in week.items():
            joined[name] = joined.get(name, Cells()) + cells
    return joined


def _feature_line(feature: Feature, now: Week, then: Week | None) -> str:
    cells = now[feature.name]
    before = None if then is None else then[feature.name]
    share = f"{100 * cells.missing_share:.1f} %"
    if before and abs(cells.missing_share - before.missing_share) >= 0.01:
        share = f"<b>{share}</b> (was {100 * before.missing_share:.1f} %)"
    old = before or Cells()
    least = ((old.highest or 0.0) - (old.lowest or 0.0)) / 10
    numbers = [
        _number_beside(value, earlier, least=least)
        for value, earlier in (
            (cells.lowest, old.lowest),
            (cells.mean, old.mean),
            (cells.highest, old.highest),
        )
    ]
    return (
        f"<tr><td>{escape(feature.name)}<td>{feature.type}<td class=n>{share}"
        f"{''.join(f'<td class=n>{number}' for number in numbers)}<td>{_values(cells, before)}"
    )


def _values(cells: Cells, before: Cells | None) -> str:
    if not cells.counts:
        return ""
    total = sum(cells.counts.values())
    said = [
        f"{escape(text)} {100 * count / total:.0f} %"
        for text, count in cells.counts.most_common(_SHOWN_VALUES)
    ]
    if (more := len(cells.counts) - _SHOWN_VALUES) > 0:
        said.append(f"{more:,} more")
    if before and before.counts is not None:
        said += _changed("new", cells.counts.keys() - before.counts.keys())
        said += _changed("gone", before.counts.keys() - cells.counts.keys())
    return ", ".join(said)


def _changed(what: str, texts: set[str]) -> list[str]:
    if not texts:
        return []
    shown = ", ".join(escape(text) for text in sorted(texts)[:_SHOWN_VALUES])
    rest = f" and {len(texts) - _SHOWN_VALUES:,} more" if len(texts) > _SHOWN_VALUES else ""
    return [f"<b>{what}: {shown}{rest}</b>"]


def _week_line(week: str, labels: Cells) -> str:
    mean = labels.mean or 0.0
    is_rate = labels.lowest is not None and labels.lowest >= 0 and (labels.highest or 0) <= 1
    bar = f"<i style='width:{200 * mean:.0f}px'></i>" if is_rate else ""
    return f"<tr><td>{week}<td class=n>{labels.rows:,}<td class=n>{_number(mean)}<td>{bar}"


def _number_beside(value: float | None, before: float | None, *, least: float) -> str:
    """Return a number; red and with the number before when it moved by more than `least`."""
    if value is None or before is None or abs(value - before) <= least:
        return _number(value)
    return f"<b>{_number(value)}</b> (was {_number(before)})"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}"
