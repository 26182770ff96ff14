"""The page about a run's rows says what changed since the last one, and trusts no value."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pytest

import retrain.snapshot.rows_page as module
from retrain.contract import Snapshot
from retrain.snapshot.rows_page import rows_page
from retrain.snapshot.snapshot import build_snapshot
from retrain.snapshot.store import PartitionStore
from tests.fakes.row_source import JUNE, FakeSource, small_spec, table_of, things

JULY_8 = datetime(2013, 7, 8, tzinfo=UTC)
SPEC = small_spec()
ROWS = things(JUNE, days=60)


def built(store: Path, rows: pa.Table = ROWS, end: datetime = JULY_8) -> Snapshot:
    return build_snapshot(SPEC, end, FakeSource(rows), PartitionStore(store))


def text_of(page: str) -> str:
    return unescape(re.sub(r"<[^>]*>", " ", re.sub(r"<style>.*</style>", "", page)))


def changed(**cells: object) -> pa.Table:
    """The rows with other cells from July on."""
    return table_of(
        [
            row | (cells if row["at"] >= datetime(2013, 7, 1, tzinfo=UTC) else {})
            for row in ROWS.to_pylist()
        ]
    )


def test_the_first_run_has_every_feature_and_week(tmp_path: Path) -> None:
    said = text_of(rows_page("small 2013-07-08", built(tmp_path), SPEC.features, None))
    assert "no earlier run" in said
    for word in ("small 2013-07-08", "size", "colour", "grün", "2013-W23", "2013-W27"):
        assert word in said


def test_cells_that_are_missing_and_labels_are_counted(tmp_path: Path) -> None:
    rows = table_of(
        [row | {"late": row["at"].day % 2 == 0, "size": None} for row in ROWS.to_pylist()]
    )
    page = rows_page("small", built(tmp_path, rows), SPEC.features, None)
    assert "<td>size<td>number<td class=n>100.0 %<td class=n><td class=n><td class=n>" in page
    assert re.search(
        r"<td>2013-W23<td class=n>56<td class=n>0\.4286<td><i style='width:\d+px'>", page
    )


def test_the_same_rows_have_no_change(tmp_path: Path) -> None:
    snapshot = built(tmp_path)
    page = rows_page("small", snapshot, SPEC.features, snapshot)
    assert "Compared with 2013-W23 to 2013-W27" in page
    assert "(was" not in page
    assert "new:" not in page


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ({"size": None}, r"<b>\d+\.\d %</b> \(was \d+\.\d %\)"),
        ({"size": 900.0}, r"<b>900</b> \(was \d"),
        ({"colour": "violet"}, r"<b>new: violet</b>"),
    ],
)
def test_what_changed_since_the_last_run_is_red(
    tmp_path: Path, cells: dict[str, object], expected: str
) -> None:
    last, now = built(tmp_path), built(tmp_path, changed(**cells))
    assert re.search(expected, rows_page("small", now, SPEC.features, last))


def test_a_value_that_went_away_is_named(tmp_path: Path) -> None:
    last, now = built(tmp_path, changed(colour="violet")), built(tmp_path / "b")
    assert "<b>gone: violet</b>" in rows_page("small", now, SPEC.features, last)


def test_a_value_is_never_markup(tmp_path: Path) -> None:
    rows = changed(colour="<script>alert(1)</script>")
    page = rows_page("<i>small", built(tmp_path, rows), SPEC.features, built(tmp_path / "b"))
    assert "<script" not in page
    assert "<i>small" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_week_that_both_runs_have_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = built(tmp_path)
    now = built(tmp_path, end=JULY_8 + timedelta(days=7))
    read: list[str] = []
    real = module.read_partition

    def counted(partition, columns):
        read.append(partition.week)
        return real(partition, columns)

    monkeypatch.setattr(module, "read_partition", counted)
    rows_page("small", now, SPEC.features, last)
    assert len(read) == len(set(read)) == 6


def test_a_last_run_whose_rows_are_gone_is_left_out(tmp_path: Path) -> None:
    now, last = built(tmp_path), built(tmp_path / "b", changed(size=1.0))
    Path(urlsplit(last.partitions[-1].uri).path).unlink()
    assert "no earlier run" in rows_page("small", now, SPEC.features, last)
