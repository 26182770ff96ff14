"""The snapshot store's files on S3, or on what speaks its protocol.

A PUT is whole or nothing, and conditional: an object is created only where none is, and replaced only while it is the one that was seen. So a faster
writer's object stays, which holds the same rows. Credentials, region and address are boto3's own: `AWS_…` variables, a profile, or a pod's role.
"""

from __future__ import annotations

import base64
import hashlib
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, BinaryIO

import boto3
import pyarrow as pa
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ChecksumError,
    ClientError,
    CredentialRetrievalError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSLError,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import ConnectionError as NoConnection

from retrain.contract import Digest
from retrain.errors import SnapshotError, StoreRefused, StoreUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

_LOGIN = "renew them (`aws sso login`, or the pod's service account) and run again"
_ADVICE = {
    "NoSuchBucket": "there is no such bucket: create it (infra/aws/buckets.yaml), or correct RETRAIN_SNAPSHOTS",
    "AccessDenied": "the bucket refuses this role: give it the policy of infra/aws/roles.yaml (`s3:ListBucket` too, or a missing file looks forbidden)",
    "ExpiredToken": f"the AWS credentials have expired: {_LOGIN}",
    "ExpiredTokenException": f"the AWS credentials have expired: {_LOGIN}",
    "InvalidAccessKeyId": f"AWS does not know these credentials: {_LOGIN}",
    "SignatureDoesNotMatch": f"AWS does not accept these credentials: {_LOGIN}",
    "InvalidToken": f"AWS does not accept these credentials: {_LOGIN}",
    "RequestTimeTooSkewed": "this machine's clock is wrong: set it",
    "PermanentRedirect": "the bucket is in another region: set AWS_REGION",
    "AuthorizationHeaderMalformed": "the bucket is in another region: set AWS_REGION",
}
_NO_CREDENTIALS = (
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
_OUTAGES = (
    ChecksumError,  # of bytes on the way: S3 checks what it stores
    CredentialRetrievalError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
    NoConnection,
)
"""What another try may mend; any other error of boto3 is one of our settings."""
_PASSING = {
    "SlowDown",
    "RequestTimeout",
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
    "ConditionalRequestConflict",
    "429",
}
_CLIENT_LOCK = threading.Lock()


def s3_client() -> S3Client:
    """Return the process's client; a bucket's region and the credentials are found by boto3."""
    with _CLIENT_LOCK:  # threads would make several
        return _only_client()


def forget_client() -> None:
    """Let the next call make a client anew, from the AWS settings of that moment."""
    _only_client.cache_clear()


@cache
def _only_client() -> S3Client:
    usual = Config(
        retries={"mode": "standard", "max_attempts": 4}, connect_timeout=5, read_timeout=60
    )
    try:
        return boto3.Session().client("s3", config=usual)
    except BotoCoreError as error:
        raise StoreRefused(f"S3 cannot be asked with these AWS settings: {error}") from error


class S3Files:
    """Objects as files; their names are `s3://bucket/key`."""

    def __init__(self, client: S3Client) -> None:
        self._client = client

    def read(self, uri: str) -> bytes:
        """Return an object's bytes."""
        bucket, key = _split(uri)
        with _translated(uri):
            return self._client.get_object(Bucket=bucket, Key=key)["Body"].read()

    def opened(self, uri: str) -> pa.NativeFile:
        """Return an object, all of it fetched: one week is a few megabytes, and one request is quicker than one for each column."""
        return pa.BufferReader(self.read(uri))

    def exists(self, uri: str) -> bool:
        """Say whether there is an object."""
        return self._head(uri) is not None

    def digest(self, uri: str) -> Digest:
        """Return the sha256 that S3 checked when the object was written; an object written without one is fetched and hashed."""
        head = self._head(uri)
        if head is None:
            raise FileNotFoundError(uri)
        checked = head.get("ChecksumSHA256", "")
        if checked and "-" not in checked:  # `…-3` is of three parts' checksums, not of the bytes
            return "sha256:" + base64.b64decode(checked).hex()
        return "sha256:" + hashlib.sha256(self.read(uri)).hexdigest()

    @contextmanager
    def appearing_whole(self, uri: str) -> Iterator[BinaryIO]:
        """Give a file whose bytes become the object in one conditional PUT; when another writer was faster, that one's object stays."""
        bucket, key = _split(uri)
        seen = self._head(uri)
        content = io.BytesIO()
        yield content
        condition = {"IfMatch": seen["ETag"]} if seen else {"IfNoneMatch": "*"}
        checksum = base64.b64encode(hashlib.sha256(content.getbuffer()).digest()).decode()
        try:
            with _translated(uri):
                self._client.put_object(
                    Bucket=bucket,
                    Key=key,
                    Body=content.getvalue(),
                    ChecksumSHA256=checksum,
                    **condition,  # type: ignore[arg-type]  # one of two keywords
                )
        except _AnotherWasFaster:
            pass

    def _head(self, uri: str) -> HeadObjectOutputTypeDef | None:
        bucket, key = _split(uri)
        try:
            with _translated(uri):
                return self._client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        except FileNotFoundError:
            return None


class _AnotherWasFaster(Exception):
    """The object is not what it was when the writing began."""


def _split(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


@contextmanager
def _translated(uri: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise _refusal(uri, error) from error
    except _NO_CREDENTIALS as error:
        raise StoreRefused(
            f"{uri}: there are no AWS credentials to ask with ({error}): {_LOGIN}"
        ) from error
    except SSLError as error:
        raise StoreRefused(
            f"{uri}: the certificate of S3 is not trusted here ({error}): set AWS_CA_BUNDLE, or correct the address"
        ) from error
    except _OUTAGES as error:
        raise StoreUnavailable(f"{uri} cannot be reached: {error}") from error
    except BotoCoreError as error:
        raise StoreRefused(f"{uri}: S3 cannot be asked with these AWS settings: {error}") from error


def _refusal(uri: str, error: ClientError) -> SnapshotError | FileNotFoundError | _AnotherWasFaster:
    """An answer to HEAD has no body, so its code is the HTTP status alone."""
    code, status = (
        error.response["Error"]["Code"],
        error.response["ResponseMetadata"]["HTTPStatusCode"],
    )
    if code in {"NoSuchKey", "404"}:
        return FileNotFoundError(uri)
    if code in {"PreconditionFailed", "412"}:
        return _AnotherWasFaster(uri)
    if code in _PASSING or status >= 500:
        return StoreUnavailable(f"{uri} cannot be had now: {error}")
    return StoreRefused(
        f"{uri}: {_ADVICE.get('AccessDenied' if code == '403' else code, 'S3 refuses')} ({error})"
    )
