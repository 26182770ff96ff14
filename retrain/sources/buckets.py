"""Files of S3 for DuckDB, read by pyarrow with the credentials, region and address of boto3."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import BotoCoreError
from fsspec.implementations.arrow import ArrowFSWrapper
from pyarrow.fs import S3FileSystem

from retrain.errors import SourceRefused

S3_ERROR = re.compile(r"AWS Error [A-Z_]+")
"""DuckDB passes on an error of a file system as text."""
S3_REFUSALS = re.compile(
    r"AWS Error (ACCESS_DENIED|NO_SUCH_BUCKET|INVALID_ACCESS_KEY_ID|INVALID_CLIENT_TOKEN_ID"
    r"|SIGNATURE_DOES_NOT_MATCH|UNRECOGNIZED_CLIENT|MISSING_AUTHENTICATION_TOKEN)"
)


class _BucketFiles(ArrowFSWrapper):
    """Says why a folder cannot be listed; fsspec would show an empty folder."""

    def walk(self, path: str, *options: Any, **named: Any) -> Iterator[Any]:
        """Yield the files below a folder."""
        yield from super().walk(path, *options, **{**named, "on_error": "raise"})


def bucket_files() -> ArrowFSWrapper:
    """Return the file system behind `s3://`.

    Raises:
        SourceRefused: boto3 finds no credentials, or its configuration is wrong.
    """
    try:
        session = boto3.Session()
        client = session.client("s3")
        credentials = session.get_credentials()
        if credentials is None:
            raise SourceRefused("the query reads from S3, but boto3 finds no AWS credentials")
        keys = credentials.get_frozen_credentials()
    except BotoCoreError as error:
        raise SourceRefused(f"the query reads from S3, but boto3 cannot log in: {error}") from error
    address = urlsplit(client.meta.endpoint_url)
    is_aws = (address.hostname or "").endswith("amazonaws.com")
    return _BucketFiles(
        S3FileSystem(
            access_key=keys.access_key,
            secret_key=keys.secret_key,
            session_token=keys.token,
            region=client.meta.region_name,
            scheme=address.scheme,
            endpoint_override=None if is_aws else address.netloc,
        )
    )
