"""The files of a snapshot store on S3, or on a server that speaks its protocol.

A PUT is whole or nothing, and conditional: it creates an object only when there is none, and
replaces only the version that was there. So the object of a faster writer stays; it holds the same
rows. boto3 finds credentials, region and address: `AWS_…` variables, a profile, or a pod's role.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, TypedDict

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

from retrain.errors import SnapshotError, StoreRefused, StoreUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_LOGIN = "renew them (`aws sso login`, or the pod's service account) and run again"
_ADVICE = {
    "NoSuchBucket": "there is no such bucket: create it (infra/aws/buckets.yaml),"
    " or correct RETRAIN_SNAPSHOTS",
    "AccessDenied": "the bucket refuses this role: give it the policy of infra/aws/roles.yaml"
    " (with `s3:ListBucket`: without that right, S3 answers 403 for a missing file)",
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
"""Another try may succeed. Any other error of boto3 is a wrong setting."""
_PASSING = {
    "SlowDown",
    "RequestTimeout",
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
    "ConditionalRequestConflict",
    "429",
}


@cache
def s3_files() -> S3Files:
    """Return the files of this process's AWS settings. boto3 finds region and credentials.

    A test that changes the AWS settings calls `s3_files.cache_clear()`.

    Raises:
        StoreRefused: boto3 cannot use the AWS settings.
    """
    usual = Config(
        retries={"mode": "standard", "max_attempts": 4}, connect_timeout=5, read_timeout=60
    )
    try:
        return S3Files(boto3.Session().client("s3", config=usual))
    except BotoCoreError as error:
        raise StoreRefused(f"S3 cannot be asked with these AWS settings: {error}") from error


class S3Files:
    """Objects as files; their names are `s3://bucket/key`."""

    def __init__(self, client: S3Client) -> None:
        self._client = client

    def read(self, uri: str) -> bytes:
        """Return an object's bytes."""
        with _translated(uri):
            return self._client.get_object(**_name(uri))["Body"].read()

    def opened(self, uri: str) -> pa.NativeFile:
        """Return a whole object: one request for a week is quicker than one for each column."""
        return pa.BufferReader(self.read(uri))

    def exists(self, uri: str) -> bool:
        """Say whether there is an object."""
        return self._etag(uri) is not None

    def write(self, uri: str, content: bytes) -> None:
        """Write an object in one conditional PUT. The object of a faster writer stays."""
        etag = self._etag(uri)
        condition = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
        with suppress(FileExistsError), _translated(uri):
            name = _name(uri)
            self._client.put_object(**name, Body=content, **condition)  # type: ignore[arg-type]  # one keyword

    def _etag(self, uri: str) -> str | None:
        try:
            with _translated(uri):
                return self._client.head_object(**_name(uri))["ETag"]
        except FileNotFoundError:
            return None


class _Name(TypedDict):
    Bucket: str
    Key: str


def _name(uri: str) -> _Name:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return {"Bucket": bucket, "Key": key}


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
            f"{uri}: the certificate of S3 is not trusted here ({error}): "
            "set AWS_CA_BUNDLE, or correct the address"
        ) from error
    except _OUTAGES as error:
        raise StoreUnavailable(f"{uri} cannot be reached: {error}") from error
    except BotoCoreError as error:
        raise StoreRefused(f"{uri}: S3 cannot be asked with these AWS settings: {error}") from error


def _refusal(uri: str, error: ClientError) -> SnapshotError | FileNotFoundError | FileExistsError:
    """The answer to a HEAD has no body, so its code is the HTTP status."""
    code = error.response["Error"]["Code"]
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    if code in {"NoSuchKey", "404"}:
        return FileNotFoundError(uri)
    if code in {"PreconditionFailed", "412"}:
        return FileExistsError(uri)  # of a faster writer
    if code in _PASSING or status >= 500:
        return StoreUnavailable(f"{uri} cannot be had now: {error}")
    advice = _ADVICE.get("AccessDenied" if code == "403" else code, "S3 refuses")
    return StoreRefused(f"{uri}: {advice} ({error})")
