"""What retrain and promote rely on of any place of snapshots.

It is checked on a folder, on moto's S3, and on a real S3 server built from a Go module.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from retrain.contract import Partition, Snapshot, canonical_json, digest_of_bytes
from retrain.errors import PartitionCorrupt, PartitionMissing
from retrain.snapshot.canonical_rows import column_digests
from retrain.snapshot.files import files_of
from retrain.snapshot.partitions import read_partition
from retrain.snapshot.snapshot import build_snapshot, read_split, reading_digest
from retrain.snapshot.store import PartitionStore
from tests.fakes.row_source import JUNE, FakeSource, small_spec, things
from tests.grounds.s3_servers import asked_at, make_bucket, moto_server, real_s3_server

pytestmark = pytest.mark.timeout(1200)  # the real server is built from source once for each version

JULY_8, JULY_22 = (datetime(2013, 7, day, tzinfo=UTC) for day in (8, 22))
SPEC = small_spec()
READING = reading_digest(SPEC)
ROWS = things(JUNE, days=60, night_hours=4)


@pytest.fixture(
    scope="module", params=["folder", pytest.param("moto", marks=pytest.mark.e2e), "real S3 server"]
)
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("place")
    if request.param == "folder":
        yield str(folder)
        return
    with moto_server() if request.param == "moto" else real_s3_server(folder) as env, asked_at(env):
        yield make_bucket("acme-snapshots")


@pytest.fixture
def place(root: str) -> str:
    """A prefix of its own for each test."""
    return f"{root}/{uuid4().hex}"


def built(place: str, *, source: FakeSource | None = None, end: datetime = JULY_8) -> Snapshot:
    return build_snapshot(SPEC, end, source or FakeSource(ROWS), PartitionStore(place))


def overwrite(partition: Partition, content: bytes) -> None:
    files_of(partition.uri).write(partition.uri, content)


def test_the_same_rows_have_the_same_name_and_are_read_back_everywhere(
    place: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = built(str(tmp_path_factory.mktemp("folder")))
    here = built(place)
    assert here.snapshot_id == elsewhere.snapshot_id
    for split in ("train", "validation", "test"):
        assert column_digests(read_split(here, getattr(here, split))) == column_digests(
            read_split(elsewhere, getattr(elsewhere, split))
        )


def test_a_partitions_uri_is_below_its_place_and_names_its_rows(place: str) -> None:
    for partition in built(place).partitions:
        assert f"{place}/partitions/{partition.week}/" in partition.uri
        assert partition.uri.endswith(f"/{partition.rows_digest.removeprefix('sha256:')}.parquet")


def test_a_later_run_reads_only_what_may_still_have_changed(place: str) -> None:
    source = FakeSource(ROWS)
    built(place, source=source, end=JULY_8)
    built(place, source=source, end=JULY_22)
    assert [window.start for window in source.asked] == [
        datetime(2013, 5, 27, tzinfo=UTC),
        datetime(2013, 6, 24, tzinfo=UTC),
    ]


def test_the_same_run_twice_writes_nothing_new(place: str) -> None:
    first = built(place)
    files = [files_of(partition.uri).read(partition.uri) for partition in first.partitions]
    assert built(place) == first
    assert [files_of(partition.uri).read(partition.uri) for partition in first.partitions] == files


def test_some_columns_are_read_and_proven_alone(place: str) -> None:
    partition = built(place).partitions[1]
    assert read_partition(partition, ["size"]).column_names == ["size"]


def test_a_partition_that_is_not_there_is_missing(place: str) -> None:
    partition = built(place).partitions[0]
    absent = partition.model_copy(
        update={"uri": partition.uri.replace("/partitions/", "/never-written/")}
    )
    with pytest.raises(
        PartitionMissing, match=r"never-written/.* which is not there; run the window again"
    ):
        read_partition(absent)


@pytest.mark.parametrize("content", [b"", b"PAR1 and nothing more", b"x" * 10_000])
def test_other_bytes_under_a_name_are_found_when_the_window_is_read(
    place: str, content: bytes
) -> None:
    source = FakeSource(ROWS)
    overwrite(built(place, source=source, end=JULY_22).partitions[1], content)
    snapshot = built(place, source=source, end=JULY_22)
    with pytest.raises(PartitionCorrupt, match="delete the file and run the window again"):
        read_split(snapshot, snapshot.train, ["late"])


def test_another_weeks_rows_under_a_name_are_found(place: str) -> None:
    first, second = built(place).partitions[:2]
    overwrite(first, files_of(second.uri).read(second.uri))
    with pytest.raises(PartitionCorrupt, match="it describes other rows"):
        read_partition(first)


def test_a_damaged_partition_of_a_week_that_is_read_again_is_mended(place: str) -> None:
    last = built(place).partitions[-1]
    overwrite(last, b"damaged")
    built(place)
    assert read_partition(last).num_rows == last.rows


def test_a_damaged_index_costs_a_reading_and_nothing_else(place: str) -> None:
    first, store = built(place, end=JULY_22), PartitionStore(place)
    week = first.partitions[1].week
    assert store.recall(READING, week) is not None
    uri = f"{store._root}/index/{READING.removeprefix('sha256:')}/{week}.json"
    files_of(uri).write(uri, b"sha256:torn\n" + json.dumps({}).encode())
    assert store.recall(READING, week) is None
    assert built(place, end=JULY_22) == first
    assert store.recall(READING, week) is not None


@pytest.mark.parametrize(
    "content",
    [{}, {"partition": None, "seen_by": "a version of Ratchet that wrote other fields"}, [], None],
)
def test_an_index_entry_of_another_version_is_no_entry_and_the_week_is_read_again(
    place: str, content: object
) -> None:
    first, store = built(place, end=JULY_22), PartitionStore(place)
    week = first.partitions[1].week
    uri = f"{store._root}/index/{READING.removeprefix('sha256:')}/{week}.json"
    entry = canonical_json(content)
    files_of(uri).write(uri, digest_of_bytes(entry).encode() + b"\n" + entry)
    assert store.recall(READING, week) is None
    assert built(place, end=JULY_22) == first
    assert store.recall(READING, week) is not None


def test_a_week_whose_partition_is_gone_is_not_recalled(place: str) -> None:
    store, snapshot = PartitionStore(place), built(place)
    week = store.recall(READING, "2013-W23")
    assert week is not None
    moved = week.partition.model_copy(update={"uri": week.partition.uri + ".gone"})
    store.remember(READING, week.model_copy(update={"partition": moved}))
    assert store.recall(READING, "2013-W23") is None
    assert built(place) == snapshot


def test_an_entry_of_an_earlier_version_with_the_files_digest_still_counts(place: str) -> None:
    store, snapshot = PartitionStore(place), built(place)
    week = store.recall(READING, "2013-W23")
    assert week is not None
    entry = canonical_json(week.model_dump(mode="json") | {"file_digest": f"sha256:{'0' * 64}"})
    uri = f"{store._root}/index/{READING.removeprefix('sha256:')}/2013-W23.json"
    files_of(uri).write(uri, digest_of_bytes(entry).encode() + b"\n" + entry)
    assert store.recall(READING, "2013-W23") == week
    assert built(place) == snapshot


def test_of_many_writers_at_once_the_whole_file_of_one_stays_and_all_go_on(place: str) -> None:
    uri = built(place).partitions[0].uri.replace("/partitions/", "/raced/")
    contents = [bytes([number]) * 500_000 for number in range(4)]
    together = threading.Barrier(len(contents))

    def write(content: bytes) -> None:
        together.wait()
        files_of(uri).write(uri, content)

    with ThreadPoolExecutor(len(contents)) as pool:
        list(pool.map(write, contents))
    assert files_of(uri).read(uri) in contents


def test_many_writers_of_a_window_at_once_agree(place: str) -> None:
    found: list[Snapshot] = []
    together = threading.Barrier(3)

    def run() -> None:
        together.wait()
        found.append(built(place))

    runs = [threading.Thread(target=run) for _ in range(3)]
    for one in runs:
        one.start()
    for one in runs:
        one.join()
    assert len(found) == 3
    assert found[0] == found[1] == found[2] == built(place)
