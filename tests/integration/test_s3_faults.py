"""What retrain makes of S3's errors: which are worth another try, and what a person does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from retrain.errors import SnapshotError, StoreRefused, StoreUnavailable
from retrain.snapshot.files import files_of
from retrain.snapshot.snapshot import build_snapshot
from retrain.snapshot.store import PartitionStore
from tests.fakes.row_source import JUNE, FakeSource, small_spec, things
from tests.grounds.s3_servers import MOTO_KEYS, asked_at, make_bucket, moto_server

URI = "s3://acme-snapshots/weekly/partitions/2013-W27/ab.parquet"


class FaultyS3(ThreadingHTTPServer):
    """Answers every request alike, as AWS words it; to HEAD without a body."""

    status, code, cut = 200, "", 0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)


class _Answers(BaseHTTPRequestHandler):
    server: FaultyS3

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        said = (
            f"<Error><Code>{self.server.code}</Code><Message>as scripted</Message></Error>".encode()
            if self.server.code
            else b"x" * 100
        )
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(said[: len(said) - self.server.cut])
        self.close_connection = True

    do_GET = do_PUT = do_HEAD = _answer  # noqa: N815 - http.server names them

    def log_message(self, *arguments: object) -> None:
        """Be quiet."""


@pytest.fixture
def faulty() -> Iterator[FaultyS3]:
    with FaultyS3() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        with asked_at(
            {
                **MOTO_KEYS,
                "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{server.server_port}",
                "AWS_MAX_ATTEMPTS": "1",
            }
        ):
            yield server
        server.shutdown()
        thread.join()


def write(uri: str) -> None:
    files_of(uri).write(uri, b"rows")


@pytest.mark.parametrize(
    ("status", "code", "advice"),
    [
        (400, "ExpiredToken", "the AWS credentials have expired: renew them"),
        (403, "InvalidAccessKeyId", "AWS does not know these credentials"),
        (403, "SignatureDoesNotMatch", "AWS does not accept these credentials"),
        (
            403,
            "AccessDenied",
            "the bucket refuses this role: give it the policy of infra/aws/roles.yaml",
        ),
        (404, "NoSuchBucket", "there is no such bucket: create it"),
        (403, "RequestTimeTooSkewed", "this machine's clock is wrong"),
        (400, "AuthorizationHeaderMalformed", "the bucket is in another region: set AWS_REGION"),
        (405, "MethodNotAllowed", "S3 refuses"),
    ],
)
def test_a_refusal_says_which_file_and_what_to_do_and_is_not_tried_again(
    faulty: FaultyS3, status: int, code: str, advice: str
) -> None:
    faulty.status, faulty.code = status, code
    with pytest.raises(StoreRefused, match=advice) as caught:
        files_of(URI).read(URI)
    assert URI in str(caught.value)
    assert not caught.value.is_transient


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (500, "InternalError"),
        (503, "SlowDown"),
        (503, "ServiceUnavailable"),
        (400, "RequestTimeout"),
    ],
)
def test_an_outage_is_worth_another_try(faulty: FaultyS3, status: int, code: str) -> None:
    faulty.status, faulty.code = status, code
    with pytest.raises(StoreUnavailable, match="cannot be had now") as caught:
        files_of(URI).read(URI)
    assert caught.value.is_transient


def test_an_answer_that_is_cut_off_is_worth_another_try(faulty: FaultyS3) -> None:
    faulty.cut = 40
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        files_of(URI).read(URI)


def test_nobody_there_is_worth_another_try() -> None:
    with (
        asked_at({**MOTO_KEYS, "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}),
        pytest.raises(StoreUnavailable, match="cannot be reached"),
    ):
        files_of(URI).read(URI)


def test_without_credentials_a_person_is_asked_to_sign_in(monkeypatch: pytest.MonkeyPatch) -> None:
    with asked_at({"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9", "AWS_REGION": "us-east-1"}):
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name, raising=False)
        with pytest.raises(
            StoreRefused, match=r"there are no AWS credentials to ask with .*aws sso login"
        ):
            files_of(URI).read(URI)


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (403, StoreRefused, "the bucket refuses this role: give it the policy"),
        (400, StoreRefused, "S3 refuses"),
        (409, StoreRefused, "S3 refuses"),
        (503, StoreUnavailable, "cannot be had now"),
    ],
)
def test_an_answer_without_a_body_is_understood_by_its_status(
    faulty: FaultyS3, status: int, kind: type[SnapshotError], said: str
) -> None:
    faulty.status, faulty.code = status, "Whatever"
    with pytest.raises(kind, match=said):
        files_of(URI).exists(URI)


def test_a_write_that_is_refused_says_so() -> None:
    with (
        moto_server() as env,
        asked_at(env),
        pytest.raises(StoreRefused, match="there is no such bucket: create it"),
    ):
        write(URI)


def test_a_conflict_with_another_writer_is_worth_another_try(
    faulty: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = files_of(URI)
    monkeypatch.setattr(store, "_etag", lambda _: None)
    faulty.status, faulty.code = 409, "ConditionalRequestConflict"
    with pytest.raises(StoreUnavailable):
        store.write(URI, b"rows")


def test_the_object_of_a_faster_writer_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    with moto_server() as env, asked_at(env):
        uri = f"{make_bucket('acme-snapshots')}/week.json"
        store = files_of(uri)
        for stale in (None, '"an older version"'):
            files_of(uri).write(uri, b"faster")
            with monkeypatch.context() as slower:
                slower.setattr(store, "_etag", lambda _, etag=stale: etag)
                store.write(uri, b"slower")
            assert store.read(uri) == b"faster"


def test_a_run_in_a_bucket_that_is_not_there_says_so_before_it_reads_a_row() -> None:
    source = FakeSource(things(JUNE, days=60))
    with moto_server() as env, asked_at(env):
        make_bucket("another-bucket")
        with pytest.raises(StoreRefused, match="there is no such bucket"):
            build_snapshot(
                small_spec(),
                datetime(2013, 7, 8, tzinfo=UTC),
                source,
                PartitionStore("s3://acme-snapshots/weekly"),
            )
    assert source.asked == []


@pytest.mark.parametrize("uri", ["http://example.com/x", "gs://bucket/x", "no scheme at all"])
def test_a_place_of_another_kind_is_refused(uri: str) -> None:
    with pytest.raises(StoreRefused, match="it should start with file:// or s3://"):
        files_of(uri)
