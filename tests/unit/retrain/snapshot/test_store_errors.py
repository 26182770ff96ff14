"""Errors of a store and of a source: another try may mend an outage, a person a refusal."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import botocore.exceptions as boto
import duckdb
import pytest

from retrain import wiring
from retrain.errors import (
    QueryFailed,
    RetrainError,
    SourceRefused,
    SourceUnavailable,
    StoreRefused,
    StoreUnavailable,
    UnknownSource,
)
from retrain.settings import Settings
from retrain.snapshot.files import FolderFiles, folder_error
from retrain.snapshot.files_s3 import S3Files
from retrain.sources.duckdb import DuckdbSource, open_source
from tests.fakes.broken import Broken
from tests.fakes.row_source import small_spec

URI = "s3://acme-snapshots/weekly/partitions/2013-W27/ab.parquet"


AT = {"endpoint_url": "https://s3.example", "error": "as scripted"}


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (boto.EndpointConnectionError(**AT), StoreUnavailable),
        (boto.ConnectTimeoutError(**AT), StoreUnavailable),
        (boto.ReadTimeoutError(**AT), StoreUnavailable),
        (boto.ConnectionClosedError(**AT), StoreUnavailable),
        (boto.ResponseStreamingError(error="cut off"), StoreUnavailable),
        (boto.IncompleteReadError(actual_bytes=1, expected_bytes=2), StoreUnavailable),
        (
            boto.MetadataRetrievalError(error_msg="the pod's role is not there yet"),
            StoreUnavailable,
        ),
        (boto.SSLError(**AT), StoreRefused),
        (boto.NoRegionError(), StoreRefused),
        (boto.InvalidRegionError(region_name="eu central"), StoreRefused),
        (boto.ParamValidationError(report="Invalid bucket name"), StoreRefused),
        (boto.ProfileNotFound(profile="acme"), StoreRefused),
        (boto.LoginRefreshRequired(), StoreRefused),
    ],
)
def test_of_s3s_errors_only_those_of_the_network_are_worth_another_try(
    error: Exception, ours: type[RetrainError]
) -> None:
    files = S3Files(Broken(error))
    for ask in (files.read, files.opened, files.exists):
        with pytest.raises(ours, match=r"2013-W27/ab\.parquet"):
            ask(URI)


@pytest.mark.parametrize(
    ("number", "ours"),
    [
        (errno.EACCES, StoreRefused),
        (errno.EPERM, StoreRefused),
        (errno.EROFS, StoreRefused),
        (errno.ENOTDIR, StoreRefused),
        (errno.ENOSPC, StoreUnavailable),
        (errno.EIO, StoreUnavailable),
        (errno.ESTALE, StoreUnavailable),
    ],
)
def test_of_a_folders_errors_a_missing_permission_needs_a_person(
    number: int, ours: type[RetrainError]
) -> None:
    error = folder_error("/snapshots cannot be written", OSError(number, os.strerror(number)))
    assert type(error) is ours
    assert os.strerror(number) in str(error)


def test_a_file_where_a_folder_should_be_is_refused_by_every_call(tmp_path: Path) -> None:
    (tmp_path / "snapshots").write_text("a file")
    uri = (tmp_path / "snapshots" / "2013-W27.json").as_uri()
    files = FolderFiles()
    for ask in (files.read, files.opened, files.exists):
        with pytest.raises(StoreRefused, match="2013-W27"):
            ask(uri)
    with pytest.raises(StoreRefused, match="2013-W27"):
        files.write(uri, b"rows")


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (duckdb.IOException("cannot read from file"), SourceUnavailable),
        (duckdb.ConnectionException("connection lost"), SourceUnavailable),
        (duckdb.TransactionException("conflict"), SourceUnavailable),
        (duckdb.Error("AWS Error SLOW_DOWN during GetObject"), SourceUnavailable),
        (duckdb.Error("AWS Error NETWORK_CONNECTION during HeadObject"), SourceUnavailable),
        (duckdb.Error("AWS Error ACCESS_DENIED during HeadObject"), SourceRefused),
        (duckdb.Error("AWS Error NO_SUCH_BUCKET during ListObjectsV2"), SourceRefused),
        (duckdb.PermissionException("not allowed"), QueryFailed),
        (duckdb.BinderException("no such column"), QueryFailed),
        (duckdb.ConversionException("no number"), QueryFailed),
    ],
)
def test_of_a_querys_errors_only_an_outage_is_worth_another_try(
    error: Exception, ours: type[RetrainError]
) -> None:
    source = DuckdbSource("warehouse", Broken(error))
    with pytest.raises(ours, match="warehouse"):
        source.head(small_spec(), 1)
    assert ours.is_transient is (ours is SourceUnavailable)


def test_a_file_that_is_no_duckdb_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    path.write_text("flight,carrier\n1,UA\n" * 1000)
    with (
        pytest.raises(SourceRefused, match=r"warehouse\.duckdb is no DuckDB database"),
        open_source("warehouse", f"duckdb://{path}"),
    ):
        pass


def test_a_folder_in_place_of_a_database_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(SourceRefused, match="is a folder"),
        open_source("warehouse", f"duckdb://{tmp_path}"),
    ):
        pass


def test_an_address_that_cannot_be_used_is_not_repeated_for_it_may_hold_a_password() -> None:
    for address in (
        "warehouse/flights?password=hunter2",
        "reader:hunter2@warehouse/flights",
        "postgres://reader:hunter2@warehouse/flights",
    ):
        with (
            pytest.raises(UnknownSource) as raised,
            wiring.open_source(Settings(sources={"warehouse": address}), "warehouse"),
        ):
            pass
        assert "hunter2" not in str(raised.value)
