"""S3 servers for tests: moto in this process, and the real server that infra/local builds.

Each yields AWS's own environment variables.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from infra.local.s3_server import start_s3
from retrain.snapshot import files_s3

MOTO_KEYS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@contextmanager
def moto_server() -> Iterator[Mapping[str, str]]:
    """Start moto, empty, over HTTP on loopback. Its state is global: start only one at a time."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        forget = urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST")
        urllib.request.urlopen(
            forget, timeout=30
        ).close()  # what an earlier test of this process made
        yield {**MOTO_KEYS, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}
    finally:
        server.stop()


@contextmanager
def real_s3_server(folder: Path) -> Iterator[Mapping[str, str]]:
    server = start_s3(folder)
    try:
        yield server.env
    finally:
        server.program.stop()


@contextmanager
def asked_at(env: Mapping[str, str]) -> Iterator[None]:
    """boto3 and retrain's client meet the server of these variables, and no person's profile."""
    with pytest.MonkeyPatch.context() as patched:
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
            patched.delenv(name, raising=False)
        patched.setenv("AWS_CONFIG_FILE", "/dev/null")
        patched.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        patched.setenv("AWS_EC2_METADATA_DISABLED", "true")
        for name, value in env.items():
            patched.setenv(name, value)
        files_s3.s3_files.cache_clear()
        try:
            yield
        finally:
            files_s3.s3_files.cache_clear()


def make_bucket(name: str) -> str:
    boto3.Session().client("s3").create_bucket(Bucket=name)
    return f"s3://{name}"
