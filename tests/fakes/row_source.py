"""A warehouse in memory, and a small model whose rows it holds."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from retrain.snapshot.canonical_rows import MOMENT
from retrain.snapshot.window import Window
from retrain.sources.port import RowSource
from retrain.spec.model_file import ModelSpec, parse_spec

SMALL_MODEL = """\
name: small
owner: someone
task: binary_classification
query: small.sql
columns: {key: id, event_time: at, label: late, groups: day}
label_delay: 1 day
late_rows: 14 days
features: {size: number, colour: category}
window: 1 month
validation: 5 days
test: 3 days
"""


def small_spec(**changed: object) -> ModelSpec:
    """The small model; fields of the spec may be changed."""
    spec = parse_spec(SMALL_MODEL, path="small.yaml", query_text="SELECT * FROM things")
    return spec.model_copy(update=changed)


@dataclass
class FakeSource:
    """A `retrain.sources.port.RowSource`. Tests replace or extend its table."""

    table: pa.Table
    asked: list[Window] = field(default_factory=list)
    """Every range of rows asked for, in order."""

    def rows(self, spec: ModelSpec, start: datetime, end: datetime) -> Iterator[pa.Table]:
        """Two tables, as a warehouse that streams."""
        self.asked.append(Window(start, end))
        at = self.table.column(spec.columns.event_time)
        chosen = self.table.filter(
            pc.and_(
                pc.greater_equal(at, pa.scalar(start, MOMENT)),
                pc.less(at, pa.scalar(end, MOMENT)),
            )
        )
        half = chosen.num_rows // 2
        yield from (chosen.slice(0, half), chosen.slice(half))


def all_rows(source: RowSource, spec: ModelSpec, start: datetime, end: datetime) -> pa.Table:
    """The rows of a range in one table."""
    return pa.concat_tables(source.rows(spec, start, end))


def things(
    start: datetime, *, days: int, rows_per_day: int = 8, night_hours: int = 0, seed: int = 3
) -> pa.Table:
    """Rows of `days` days.

    A day's last rows lie up to `night_hours` after midnight, as flights of a local day do in UTC.
    """
    dice = random.Random(seed)
    rows = []
    for day in range(days):
        midnight = start + timedelta(days=day)
        for number in range(rows_per_day):
            at = midnight + timedelta(
                hours=6, minutes=number * (18 + night_hours) * 60 // rows_per_day
            )
            rows.append(
                {
                    "id": f"{midnight:%Y-%m-%d} {number:02d}",
                    "at": at,
                    "day": midnight.date(),
                    "late": dice.random() < 0.3,
                    "size": dice.choice([None, dice.gauss(0, 1), float("nan")]),
                    "colour": dice.choice(["red", "blue", None, "grün"]),
                }
            )
    return table_of(rows)


def table_of(rows: Sequence[dict[str, object]]) -> pa.Table:
    """A table with the small model's types."""
    types = {
        "id": pa.string(),
        "at": MOMENT,
        "day": pa.date32(),
        "late": pa.bool_(),
        "size": pa.float64(),
        "colour": pa.string(),
    }
    return pa.table(
        {name: pa.array([row[name] for row in rows], kind) for name, kind in types.items()}
    )


JUNE = datetime(2013, 6, 1, tzinfo=UTC)
