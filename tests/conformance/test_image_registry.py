"""What promote relies on of any image registry.

It is checked on the fake, the OCI layout folder, docker-registry and ECR (moto before a registry).
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from promote.errors import ImageRegistryRefused, InvalidImage, InvalidName
from promote.images.http import HttpRegistry
from promote.images.image import BaseImage, Image, build_image
from promote.images.opening import open_image_registry
from promote.images.port import ImageRegistry
from retrain.contract import canonical_json, digest_of_bytes
from tests.fakes.image_registry import FakeImageRegistry
from tests.grounds.registry_server import EcrFront, start_open_registry

REPOSITORY = "ratchet/flight-delay"
ABSENT = digest_of_bytes(b"absent")


def folder_of(onnx: bytes) -> dict[str, bytes]:
    return {
        "model.onnx": onnx,
        "model.json": canonical_json(
            {"files": {"model.onnx": digest_of_bytes(onnx)}, "snapshot_id": ABSENT}
        ),
    }


def image_of(onnx: bytes) -> Image:
    return build_image(folder_of(onnx))


HOST = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
_prefixes = (f"test{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def docker_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program, url = start_open_registry(tmp_path_factory.mktemp("registry"))
    yield url
    program.stop()


@pytest.fixture
def ecr(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of moto's ECR."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        yield boto3.client("ecr", region_name="eu-central-1")


@pytest.fixture(params=["fake", "layout folder", "docker-registry", "ecr"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ImageRegistry]:
    """Each test has repositories of its own, below a prefix."""
    if request.param == "fake":
        yield FakeImageRegistry()
        return
    if request.param == "layout folder":
        yield open_image_registry(f"oci-layout:{tmp_path}/not/there/yet")
        return
    url, prefix = request.getfixturevalue("docker_registry"), next(_prefixes)
    if request.param == "docker-registry":
        opened = open_image_registry(f"{url}/{prefix}")
    else:
        opened = open_image_registry(
            f"ecr:{HOST}/{prefix}", transport=EcrFront(url, request.getfixturevalue("ecr"))
        )
    assert isinstance(opened, HttpRegistry)
    yield opened
    opened.close()


def test_nothing_is_found_where_nothing_was_pushed(registry: ImageRegistry) -> None:
    assert registry.find(REPOSITORY, "v1-0123456789ab") is None


def test_a_pushed_image_is_found_by_its_tag(registry: ImageRegistry) -> None:
    image = image_of(b"one")
    assert registry.push(REPOSITORY, image, tag="v1") == image.digest
    assert registry.find(REPOSITORY, "v1") == image.digest
    assert registry.find(REPOSITORY, "v2") is None
    assert registry.find("ratchet/other", "v1") is None


def test_a_second_push_changes_nothing(registry: ImageRegistry) -> None:
    digests = {registry.push(REPOSITORY, image_of(b"one"), tag="v1") for _ in range(3)}
    assert digests == {registry.find(REPOSITORY, "v1")}


def test_one_image_may_have_two_tags_and_one_repository_many_images(
    registry: ImageRegistry,
) -> None:
    for onnx, tag in [(b"one", "v1"), (b"one", "again"), (b"two", "v2")]:
        registry.push(REPOSITORY, image_of(onnx), tag=tag)
    assert [registry.find(REPOSITORY, tag) for tag in ("v1", "again", "v2")] == [
        image_of(b"one").digest,
        image_of(b"one").digest,
        image_of(b"two").digest,
    ]


def test_a_tag_is_written_once(registry: ImageRegistry) -> None:
    registry.push(REPOSITORY, image_of(b"one"), tag="v1")
    with pytest.raises(ImageRegistryRefused, match=r"already names sha256:"):
        registry.push(REPOSITORY, image_of(b"two"), tag="v1")
    assert registry.find(REPOSITORY, "v1") == image_of(b"one").digest


def test_the_model_folder_is_read_back_by_digest(registry: ImageRegistry) -> None:
    for onnx in (
        b"one",
        b"two" * 100_000,
        random.Random(0).randbytes(17 * 2**20),
    ):  # the last does not fit into two chunks
        digest = registry.push(REPOSITORY, image_of(onnx), tag=f"v{len(onnx)}")
        assert registry.model_folder(REPOSITORY, digest) == folder_of(onnx)


def test_an_image_that_is_not_there_is_an_error_to_read(registry: ImageRegistry) -> None:
    registry.push(REPOSITORY, image_of(b"one"), tag="v1")
    with pytest.raises(InvalidImage, match=ABSENT):
        registry.model_folder(REPOSITORY, ABSENT)


def test_a_base_whose_layers_are_not_there_is_refused(registry: ImageRegistry) -> None:
    config = canonical_json(
        {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [ABSENT]}}
    )
    layer = {
        "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
        "digest": ABSENT,
        "size": 1,
    }
    base = BaseImage(
        json.dumps({"config": {"digest": digest_of_bytes(config)}, "layers": [layer]}).encode(),
        config,
    )
    with pytest.raises(ImageRegistryRefused, match="base"):
        registry.push(REPOSITORY, build_image(folder_of(b"one"), base=base), tag="v1")
    assert registry.find(REPOSITORY, "v1") is None


@pytest.mark.parametrize(
    "repository",
    [
        "",
        "/etc",
        "../up",
        "a/../b",
        "a//b",
        "A",
        "a/",
        "a b",
        "a\n",
        "a\0",
        "-a",
        "a_",
        "a/blobs/sha256",
        "ü",
        "a" * 256,
        "https://h/a",
        "a:b",
        "a@b",
    ],
)
def test_a_hostile_repository_is_refused_before_anything_is_touched(
    registry: ImageRegistry, repository: str
) -> None:
    for act in (
        lambda: registry.find(repository, "v1"),
        lambda: registry.push(repository, image_of(b"one"), tag="v1"),
        lambda: registry.model_folder(repository, ABSENT),
    ):
        with pytest.raises(InvalidName):
            act()


@pytest.mark.parametrize(
    "tag", ["", ".", "..", "-x", "a/b", "a b", "v1\n", "a\0", "ü", "x" * 129, "a@b", "a:b"]
)
def test_a_hostile_tag_is_refused(registry: ImageRegistry, tag: str) -> None:
    for act in (
        lambda: registry.find(REPOSITORY, tag),
        lambda: registry.push(REPOSITORY, image_of(b"one"), tag=tag),
    ):
        with pytest.raises(InvalidName):
            act()


@pytest.mark.parametrize(
    "digest",
    [
        "",
        "sha256:",
        "sha256:../../../../etc/passwd",
        "sha256:" + "A" * 64,
        "sha512:" + "a" * 64,
        ABSENT + "\n",
        "../" + ABSENT,
    ],
)
def test_a_hostile_digest_is_refused(registry: ImageRegistry, digest: str) -> None:
    with pytest.raises(InvalidName):
        registry.model_folder(REPOSITORY, digest)
