import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from retrain.contract import Partition, Snapshot
from retrain.errors import (
    BadColumn,
    DuplicateKeys,
    MissingColumn,
    PartitionCorrupt,
    PartitionMissing,
    StoreRefused,
    WindowTooEmpty,
)
from retrain.snapshot.canonical_rows import column_digests
from retrain.snapshot.partitions import read_partition
from retrain.snapshot.snapshot import (
    build_snapshot,
    is_unchanged,
    partitions_of,
    read_split,
)
from retrain.snapshot.store import PartitionStore
from retrain.snapshot.window import week_bounds
from tests.fakes.row_source import JUNE, FakeSource, small_spec, table_of, things

JULY_8, JULY_15, JULY_22 = (datetime(2013, 7, day, tzinfo=UTC) for day in (8, 15, 22))
SPEC = small_spec()
ROOT = Path(__file__).parents[4]


def path_of(partition: Partition) -> Path:
    return Path(urlsplit(partition.uri).path)


def built(store: Path, *, source: FakeSource | None = None, end: datetime = JULY_8) -> Snapshot:
    return build_snapshot(
        SPEC, end, source or FakeSource(things(JUNE, days=60, night_hours=4)), PartitionStore(store)
    )


def with_column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


def test_a_snapshot_has_one_partition_a_week_and_its_splits_count_their_rows(
    tmp_path: Path,
) -> None:
    snapshot = built(tmp_path)
    assert [partition.week for partition in snapshot.partitions] == [
        "2013-W22",
        "2013-W23",
        "2013-W24",
        "2013-W25",
        "2013-W26",
        "2013-W27",
    ]
    for split in (snapshot.train, snapshot.validation, snapshot.test):
        assert read_split(snapshot, split).num_rows == split.rows > 0


def test_splits_share_no_key_and_hold_whole_groups(tmp_path: Path) -> None:
    snapshot = built(tmp_path)
    keys = [
        set(read_split(snapshot, split, ["id"]).column("id").to_pylist())
        for split in (snapshot.train, snapshot.validation, snapshot.test)
    ]
    assert len(keys[0] | keys[1] | keys[2]) == sum(len(part) for part in keys)
    assert all(
        len({key for key in part if key.startswith(day)}) == 8
        for part in keys
        for day in {key[:10] for key in part}
    )


def test_the_same_rows_in_any_order_and_any_column_order_have_the_same_name(tmp_path: Path) -> None:
    table = things(JUNE, days=40)
    turned = table.take(pa.array(range(table.num_rows - 1, -1, -1))).select(
        table.column_names[::-1]
    )
    assert (
        built(tmp_path / "a", source=FakeSource(table)).snapshot_id
        == built(tmp_path / "b", source=FakeSource(turned)).snapshot_id
    )


def test_one_changed_value_gives_its_week_another_name_and_leaves_the_others(
    tmp_path: Path,
) -> None:
    table = things(JUNE, days=40)
    sizes = table.column("size").to_pylist()
    sizes[100] = 17.0
    before, after = (
        built(tmp_path / "a", source=FakeSource(table)),
        built(
            tmp_path / "b",
            source=FakeSource(with_column(table, "size", pa.array(sizes, pa.float64()))),
        ),
    )
    changed = [
        old.week
        for old, new in zip(before.partitions, after.partitions, strict=True)
        if old.rows_digest != new.rows_digest
    ]
    assert changed == ["2013-W24"]


@pytest.mark.parametrize(
    ("one", "other"), [(None, float("nan")), (0.0, -0.0), (None, 0.0), (0.0, 5e-324)]
)
def test_missing_zero_and_not_a_number_are_different_values(
    tmp_path: Path, one: float | None, other: float | None
) -> None:
    table = things(JUNE, days=40)
    tables = [
        with_column(table, "size", pa.array([value] * table.num_rows, pa.float64()))
        for value in (one, other)
    ]
    ids = [
        built(tmp_path / str(number), source=FakeSource(rows)).snapshot_id
        for number, rows in enumerate(tables)
    ]
    assert ids[0] != ids[1]


def test_text_cannot_move_from_one_row_to_the_next_unseen(tmp_path: Path) -> None:
    table = things(JUNE, days=40)
    tables = [
        with_column(table, "colour", pa.array([*pair, *["x"] * (table.num_rows - 2)]))
        for pair in (("ab", "c"), ("a", "bc"))
    ]
    ids = [
        built(tmp_path / str(number), source=FakeSource(rows)).snapshot_id
        for number, rows in enumerate(tables)
    ]
    assert ids[0] != ids[1]


def test_the_warehouses_own_types_do_not_change_the_name(tmp_path: Path) -> None:
    table = things(JUNE, days=40)
    other = with_column(table, "colour", pc.dictionary_encode(table.column("colour")))
    other = with_column(
        other, "at", other.column("at").cast(pa.timestamp("us")).cast(pa.timestamp("ns"))
    )
    other = with_column(other, "late", other.column("late"))
    other = with_column(other, "id", other.column("id").cast(pa.large_string()))
    assert (
        built(tmp_path / "a", source=FakeSource(table)).snapshot_id
        == build_snapshot(
            SPEC, JULY_8, _Unfiltered(other), PartitionStore(tmp_path / "b")
        ).snapshot_id
    )


class _Unfiltered(FakeSource):
    """Hands on rows in the types it has; its filter compares moments of any unit."""

    def rows(self, spec: object, start: datetime, end: datetime) -> Iterator[pa.Table]:
        at = self.table.column("at").cast(pa.timestamp("us", tz="UTC"))
        yield self.table.filter(
            pc.and_(pc.greater_equal(at, pa.scalar(start)), pc.less(at, pa.scalar(end)))
        )


def test_a_later_run_reads_only_the_new_week_and_those_that_may_still_change(
    tmp_path: Path,
) -> None:
    source = FakeSource(things(JUNE, days=60))
    for end in (JULY_8, JULY_15, JULY_22):
        built(tmp_path, source=source, end=end)
    assert [(window.start, window.end) for window in source.asked] == [
        (datetime(2013, 5, 27, tzinfo=UTC), JULY_8),
        (datetime(2013, 6, 24, tzinfo=UTC), JULY_15),
        (datetime(2013, 7, 1, tzinfo=UTC), JULY_22),
    ]


def test_after_missed_weeks_all_that_was_not_final_is_read_again(tmp_path: Path) -> None:
    source = FakeSource(things(JUNE, days=90))
    built(tmp_path, source=source, end=JULY_8)
    built(tmp_path, source=source, end=JULY_8 + timedelta(weeks=4))
    assert source.asked[1].start == datetime(2013, 7, 1, tzinfo=UTC) - timedelta(days=7)


def test_a_late_row_gives_its_week_another_name_and_one_beyond_late_rows_is_not_seen(
    tmp_path: Path,
) -> None:
    source = FakeSource(things(JUNE, days=45))
    before = built(tmp_path, source=source, end=JULY_15)
    late = {
        "id": "2013-07-03 late",
        "at": datetime(2013, 7, 3, 9, tzinfo=UTC),
        "day": datetime(2013, 7, 3, tzinfo=UTC).date(),
        "late": True,
        "size": 1.0,
        "colour": "red",
    }
    too_late = {
        **late,
        "id": "2013-06-18 late",
        "at": datetime(2013, 6, 18, 9, tzinfo=UTC),
        "day": datetime(2013, 6, 18, tzinfo=UTC).date(),
    }
    source.table = pa.concat_tables([source.table, table_of([late, too_late])])
    after = built(tmp_path, source=source, end=JULY_15)
    assert [
        old.week for old, new in zip(before.partitions, after.partitions, strict=True) if old != new
    ] == ["2013-W27"]
    assert not is_unchanged(after, before)


def test_a_week_in_which_no_rows_arrive_is_unchanged(tmp_path: Path) -> None:
    source = FakeSource(things(JUNE, days=37))
    last = built(tmp_path, source=source, end=JULY_8)
    assert is_unchanged(built(tmp_path, source=source, end=JULY_15), last)
    assert not is_unchanged(
        last, built(tmp_path / "other", source=FakeSource(things(JUNE, days=30)), end=JULY_8)
    )


def test_a_window_that_ends_within_a_week_holds_its_rows_up_to_there_and_the_next_run_the_rest(
    tmp_path: Path,
) -> None:
    source = FakeSource(things(JUNE, days=60))
    middle = built(tmp_path, source=source, end=datetime(2013, 7, 11, 12, tzinfo=UTC))
    assert pc.max(read_partition(middle.partitions[-1]).column("at")).as_py() < datetime(
        2013, 7, 11, 12, tzinfo=UTC
    )
    assert built(tmp_path, source=source, end=JULY_15) == built(
        tmp_path / "fresh", source=source, end=JULY_15
    ).model_copy(update={"partitions": built(tmp_path, source=source, end=JULY_15).partitions})


def test_a_group_that_began_before_the_window_is_in_no_split(tmp_path: Path) -> None:
    snapshot = built(
        tmp_path,
        source=FakeSource(things(datetime(2013, 5, 20, tzinfo=UTC), days=60, night_hours=6)),
    )
    assert (
        snapshot.train.groups[0] == "2013-06-08"
    )  # the rows of June 7th after midnight lie in the window, those before it do not
    assert snapshot.train.start == datetime(2013, 6, 8, tzinfo=UTC)


def test_where_the_partitions_lie_is_no_part_of_the_name(tmp_path: Path) -> None:
    one, other = built(tmp_path / "a"), built(tmp_path / "b")
    assert one.snapshot_id == other.snapshot_id
    assert one != other


def test_a_manifest_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    snapshot = built(tmp_path)
    assert Snapshot.model_validate_json(snapshot.to_bytes()) == snapshot


def test_columns_come_in_the_order_asked_for_and_an_unknown_one_is_named(tmp_path: Path) -> None:
    snapshot = built(tmp_path)
    assert read_split(snapshot, snapshot.test, ["size", "id"]).column_names == ["size", "id"]
    with pytest.raises(MissingColumn, match="the snapshot has no column `weight`; it has"):
        read_split(snapshot, snapshot.test, ["weight"])


def test_a_flipped_byte_never_gives_other_rows(tmp_path: Path) -> None:
    snapshot = built(tmp_path)
    path, rows = (
        path_of(snapshot.partitions[1]),
        column_digests(read_split(snapshot, snapshot.train)),
    )
    whole, found = path.read_bytes(), 0
    for position in range(0, len(whole), len(whole) // 60):
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        try:
            assert column_digests(read_split(snapshot, snapshot.train)) == rows
        except PartitionCorrupt:
            found += 1
    assert found > 20  # a flipped byte that no row depends on does no harm


def test_other_rows_under_a_partitions_name_are_found(tmp_path: Path) -> None:
    snapshot = built(tmp_path)
    path_of(snapshot.partitions[-1]).write_bytes(path_of(snapshot.partitions[-2]).read_bytes())
    with pytest.raises(PartitionCorrupt, match=r"of the week 2013-W27: it describes other rows"):
        read_split(snapshot, snapshot.test)


def test_a_file_that_says_the_right_digests_and_holds_other_values_is_found(tmp_path: Path) -> None:
    snapshot = built(tmp_path)
    path = path_of(snapshot.partitions[-1])
    table = pq.read_table(path)
    pq.write_table(with_column(table, "late", pc.invert(table.column("late"))), path)
    with pytest.raises(PartitionCorrupt, match="the column `late` has other values"):
        read_split(snapshot, snapshot.test)


def test_a_partition_that_was_deleted_is_missing_and_the_next_run_reads_its_week_again(
    tmp_path: Path,
) -> None:
    source = FakeSource(things(JUNE, days=60))
    snapshot = built(tmp_path, source=source, end=JULY_22)
    path_of(snapshot.partitions[2]).unlink()
    with pytest.raises(PartitionMissing, match="is not there; run the window again"):
        read_split(snapshot, snapshot.train)
    assert built(tmp_path, source=source, end=JULY_22) == snapshot
    assert read_split(snapshot, snapshot.train).num_rows == snapshot.train.rows


def test_a_damaged_index_costs_a_reading_and_nothing_else(tmp_path: Path) -> None:
    snapshot = built(tmp_path)
    for entry in (tmp_path / "index").rglob("*.json"):
        entry.write_bytes(entry.read_bytes()[:-20])
    source = FakeSource(things(JUNE, days=60, night_hours=4))
    assert built(tmp_path, source=source) == snapshot
    assert source.asked[0].start == datetime(2013, 5, 27, tzinfo=UTC)


def test_a_key_that_names_two_rows_of_a_week_is_shown(tmp_path: Path) -> None:
    table = things(JUNE, days=40)
    with pytest.raises(
        DuplicateKeys,
        match=r"1 keys of the column `id` name more than one row, such as '2013-06-03 02'",
    ):
        built(tmp_path, source=FakeSource(pa.concat_tables([table, table.slice(18, 1)])))


def test_a_key_that_names_rows_of_two_weeks_is_found(tmp_path: Path) -> None:
    table = things(JUNE, days=40)
    ids = table.column("id").to_pylist()
    ids[200] = ids[20]
    with pytest.raises(
        DuplicateKeys, match=r"1 rows of small.sql have a key `id` that a row of another week has"
    ):
        built(tmp_path, source=FakeSource(with_column(table, "id", pa.array(ids))))


def test_missing_columns_are_all_named(tmp_path: Path) -> None:
    with pytest.raises(
        MissingColumn,
        match=r"small.sql does not return `late`, `size`, which the YAML names;"
        r" it returns id, at, day, colour",
    ):
        built(tmp_path, source=FakeSource(things(JUNE, days=40).drop_columns(["late", "size"])))


@pytest.mark.parametrize(
    ("column", "values", "sentence"),
    [
        (
            "late",
            pa.nulls(320, pa.bool_()),
            "returns at least 148 rows without `late`; as label it must have a value",
        ),
        (
            "late",
            pa.array(["yes"] * 320),
            "returns `late` as string; as label it must be bool or int64",
        ),
        ("day", pa.array([1.5] * 320), "returns `day` as double; as groups it must be"),
        (
            "size",
            pa.array([b"x"] * 320),
            "the column `size` has the type binary, which no snapshot can hold",
        ),
        (
            "size",
            pa.array([2**63] * 320, pa.uint64()),
            "the column `size` of type uint64 has a value that integer cannot hold exactly",
        ),
    ],
)
def test_a_column_that_cannot_play_its_part_says_what_it_is_and_must_be(
    tmp_path: Path, column: str, values: pa.Array, sentence: str
) -> None:
    with pytest.raises(BadColumn, match=sentence):
        built(tmp_path, source=FakeSource(with_column(things(JUNE, days=40), column, values)))


def test_a_window_without_rows_says_so(tmp_path: Path) -> None:
    with pytest.raises(
        WindowTooEmpty,
        match=r"small.sql returns no rows in the window"
        r" \[2013-06-08T00:00:00Z, 2013-07-08T00:00:00Z\)",
    ):
        built(tmp_path, source=FakeSource(things(datetime(2012, 1, 1, tzinfo=UTC), days=3)))


def test_a_store_whose_folder_is_a_file_is_for_a_person_to_mend(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file where the folder should be")
    with pytest.raises(StoreRefused, match="cannot be"):
        built(tmp_path / "store")
    assert not StoreRefused.is_transient


BUILD = """
import sys, time
from pathlib import Path
from tests.unit.retrain.snapshot.test_snapshot import built
print(built(Path(sys.argv[1])).snapshot_id)
"""


@pytest.fixture
def folder_for_everyone() -> Iterator[Path]:
    """pytest's own folders are closed to other users."""
    with tempfile.TemporaryDirectory(prefix="ratchet-store-", ignore_cleanup_errors=True) as made:
        Path(made).chmod(0o777)
        yield Path(made)


def test_another_time_zone_locale_umask_and_user_name_the_same_snapshot(
    tmp_path: Path, folder_for_everyone: Path
) -> None:
    as_another_user = (
        ["setpriv", "--reuid", "65534", "--clear-groups"] if os.getuid() == 0 else []
    )  # only root can become somebody else
    there = subprocess.run(
        [*as_another_user, sys.executable, "-c", BUILD, str(folder_for_everyone)],
        env={
            **os.environ,
            "TZ": "Asia/Kolkata",
            "LC_ALL": "C",
            "PYTHONHASHSEED": "77",
            "PYTHONPATH": str(ROOT),
            "HOME": str(folder_for_everyone),
        },
        umask=0o077,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert there.stdout.strip() == built(tmp_path).snapshot_id, there.stderr


HALF_WAY = """
import os, sys, time
from pathlib import Path
def hang(file):
    print("writing", flush=True); time.sleep(60)
os.fsync = hang
from tests.unit.retrain.snapshot.test_snapshot import built
built(Path(sys.argv[1]))
"""


def test_a_writer_killed_half_way_leaves_nothing_under_a_partitions_name(tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", HALF_WAY, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert writer.stdout is not None
    assert writer.stdout.readline().startswith(b"writing")
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    left = [path.name for path in (tmp_path / "partitions").rglob("*") if path.is_file()]
    assert left
    assert all(name.startswith(".writing-") for name in left)
    assert built(tmp_path).snapshot_id == built(tmp_path / "elsewhere").snapshot_id


def test_a_split_that_ends_on_a_monday_reads_nothing_of_the_week_that_begins_there(
    tmp_path: Path,
) -> None:
    snapshot = built(tmp_path, end=JULY_8)
    monday = week_bounds("2013-W26").end
    split = snapshot.train.model_copy(update={"end": monday})
    weeks = [partition.week for partition in partitions_of(snapshot, split)]
    assert weeks[-1] == "2013-W26"
    assert "2013-W27" in [partition.week for partition in snapshot.partitions]
