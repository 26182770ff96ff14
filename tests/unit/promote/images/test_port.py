"""A folder of OCI layouts: which URLs name a folder, and what damage and disk errors become."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from promote.errors import (
    ImageFolderFull,
    ImageFolderUnwritable,
    ImageRegistryUnavailable,
    InvalidImage,
    InvalidName,
    UnsupportedRegistry,
)
from promote.images.blobs import locked
from promote.images.image import Image, build_image
from promote.images.layout import LayoutRegistry
from promote.images.opening import open_image_registry
from retrain.contract import canonical_json, digest_of_bytes

REPOSITORY = "ratchet/flight-delay"


def image_of(onnx: bytes) -> Image:
    return build_image(
        {
            "model.onnx": onnx,
            "model.json": canonical_json(
                {
                    "files": {"model.onnx": digest_of_bytes(onnx)},
                    "snapshot_id": digest_of_bytes(b""),
                }
            ),
        }
    )


IMAGE = image_of(b"weights" * 1000)


@pytest.fixture
def registry(tmp_path: Path) -> LayoutRegistry:
    return LayoutRegistry(tmp_path / "images", lock_timeout_seconds=0.1)


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    return tmp_path / "images" / REPOSITORY


def content_of(layout: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(layout)): path.read_bytes()
        for path in sorted(layout.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "Write oci-layout:/an/absolute/folder"),
        ("/srv/images", "Write oci-layout:/an/absolute/folder"),
        ("ftp://registry.example/ratchet", "unknown form.*https://<host> or ecr:<host>"),
        ("123456789012.dkr.ecr.eu-central-1.amazonaws.com", "ecr:<host>"),
        ("ecr:", "not an address of ECR"),
        ("ecr:1234.dkr.ecr.eu-central-1.amazonaws.com", "not an address of ECR"),
        (
            "ecr:123456789012.dkr.ecr.eu-central-1.amazonaws.com.evil.example",
            "not an address of ECR",
        ),
        ("https://", "https://<host>, with /prefix if needed"),
        ("https://registry.example/a?b=c", "https://<host>, with /prefix if needed"),
        ("https://registry.example:port", "not readable"),
        ("oci-layout:images", "an absolute path"),
        ("oci-layout:", "an absolute path"),
        ("oci-layout:/srv/../etc", "an absolute path"),
        ("oci-layout:/srv\0", "an absolute path"),
    ],
)
def test_a_registry_that_is_not_supported_says_what_is(url: str, message: str) -> None:
    with pytest.raises(UnsupportedRegistry, match=message):
        open_image_registry(url)


def test_a_password_in_the_url_is_not_repeated() -> None:
    with pytest.raises(UnsupportedRegistry) as caught:
        open_image_registry("https://user:hunter2@registry.example")
    assert "hunter2" not in str(caught.value)


def test_a_password_goes_over_https_only_or_stays_on_this_machine() -> None:
    with pytest.raises(UnsupportedRegistry, match="without encryption"):
        open_image_registry("http://registry.example", user="promote", password="hunter2")
    open_image_registry("https://registry.example", user="promote", password="hunter2")
    open_image_registry("http://127.0.0.1:5000", user="promote", password="hunter2")


DIGEST = digest_of_bytes(b"base")


def test_a_folder_has_the_empty_base_only() -> None:
    assert open_image_registry("oci-layout:/srv").base_image() is None
    with pytest.raises(UnsupportedRegistry, match="have the empty base"):
        open_image_registry("oci-layout:/srv", base_image=f"ratchet/serving@{DIGEST}")


@pytest.mark.parametrize(
    "base",
    [
        "ratchet/serving",
        "ratchet/serving:v1",
        "https://registry.example/ratchet/serving:v1",
        "registry.example:5000/serving@" + DIGEST,
    ],
)
def test_a_base_is_named_by_its_digest(base: str) -> None:
    with pytest.raises(InvalidName):
        open_image_registry("https://registry.example", base_image=base)


def test_a_release_names_an_image_as_the_cluster_pulls_it() -> None:
    assert (
        open_image_registry("oci-layout:/srv").reference("ratchet/a", DIGEST)
        == f"ratchet/a@{DIGEST}"
    )
    assert (
        open_image_registry("http://127.0.0.1:5000/teams/one").reference("ratchet/a", DIGEST)
        == f"127.0.0.1:5000/teams/one/ratchet/a@{DIGEST}"
    )
    assert (
        open_image_registry("http://127.0.0.1:5000", pull_host="registry.local:5000").reference(
            "ratchet/a", DIGEST
        )
        == f"registry.local:5000/ratchet/a@{DIGEST}"
    )


def test_the_folder_is_an_oci_layout(registry: LayoutRegistry, layout: Path) -> None:
    registry.push(REPOSITORY, IMAGE, tag="v8-0123456789ab")
    blobs = {
        f"blobs/sha256/{blob.digest[7:]}": blob.content
        for blob in (IMAGE.manifest, IMAGE.config, IMAGE.model_layer)
    }
    found = content_of(layout)
    index = json.loads(found.pop("index.json"))
    assert found == {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', **blobs}
    assert index["manifests"] == [
        {
            **IMAGE.manifest.descriptor,
            "annotations": {"org.opencontainers.image.ref.name": "v8-0123456789ab"},
        }
    ]


def test_everybody_may_read_what_was_written(registry: LayoutRegistry, layout: Path) -> None:
    registry.push(REPOSITORY, IMAGE, tag="v1")
    assert {path.stat().st_mode & 0o777 for path in layout.rglob("*") if path.is_file()} == {0o644}


def test_a_blob_that_is_there_is_not_written_again(registry: LayoutRegistry, layout: Path) -> None:
    registry.push(REPOSITORY, IMAGE, tag="v1")
    layer = layout / "blobs" / "sha256" / IMAGE.model_layer.digest[7:]
    before = layer.stat()
    registry.push(REPOSITORY, IMAGE, tag="v2")
    assert (layer.stat().st_ino, layer.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize(
    "blob", [IMAGE.manifest, IMAGE.config, IMAGE.model_layer], ids=["manifest", "config", "layer"]
)
@pytest.mark.parametrize("damage", ["flipped", "truncated", "gone", "emptied"])
def test_a_damaged_image_is_not_found_not_read_and_mended_by_the_next_push(
    registry: LayoutRegistry, layout: Path, blob: object, damage: str
) -> None:
    registry.push(REPOSITORY, IMAGE, tag="v1")
    whole = content_of(layout)
    path = layout / "blobs" / "sha256" / blob.digest[7:]
    content = path.read_bytes()
    path.write_bytes(
        {
            "flipped": content[:-1] + bytes([content[-1] ^ 1]),
            "truncated": content[:-1],
            "gone": b"",
            "emptied": b"",
        }[damage]
    )
    if damage == "gone":
        path.unlink()
    assert registry.find(REPOSITORY, "v1") is None
    if blob != IMAGE.config:
        with pytest.raises(InvalidImage, match="Push the image again"):
            registry.model_folder(REPOSITORY, IMAGE.digest)
    registry.push(REPOSITORY, IMAGE, tag="v1")
    assert content_of(layout) == whole


def test_a_tag_that_names_a_damaged_image_may_be_written_again(
    registry: LayoutRegistry, layout: Path
) -> None:
    registry.push(REPOSITORY, IMAGE, tag="v1")
    (layout / "blobs" / "sha256" / IMAGE.digest[7:]).unlink()
    assert registry.push(REPOSITORY, image_of(b"on another base"), tag="v1") == registry.find(
        REPOSITORY, "v1"
    )


def test_other_entries_of_the_index_stay(registry: LayoutRegistry, layout: Path) -> None:
    registry.push(REPOSITORY, IMAGE, tag="v1")
    index = json.loads((layout / "index.json").read_bytes())
    foreign = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest_of_bytes(b"base"),
        "size": 4,
    }
    (layout / "index.json").write_text(
        json.dumps(
            {**index, "manifests": [foreign, *index["manifests"]], "annotations": {"kept": "yes"}}
        )
    )
    registry.push(REPOSITORY, image_of(b"two"), tag="v2")
    index = json.loads((layout / "index.json").read_bytes())
    assert (index["manifests"][0], index["annotations"], len(index["manifests"])) == (
        foreign,
        {"kept": "yes"},
        3,
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"manifests":{}}',
        b'{"manifests":[1]}',
        b'{"manifests":[{"digest":"../x"}]}',
    ],
)
def test_an_unreadable_index_is_an_error_never_an_absence(
    registry: LayoutRegistry, layout: Path, content: bytes
) -> None:
    registry.push(REPOSITORY, IMAGE, tag="v1")
    (layout / "index.json").write_bytes(content)
    for act in (
        lambda: registry.find(REPOSITORY, "v1"),
        lambda: registry.push(REPOSITORY, IMAGE, tag="v1"),
    ):
        with pytest.raises(InvalidImage, match=r"index\.json is not .*Remove the file"):
            act()


@pytest.mark.parametrize(
    "content",
    [
        b"not json",
        b"[]",
        b'{"layers":[]}',
        b'{"layers":[{"digest":"x"}],"config":{}}',
        b'{"layers":null}',
    ],
)
def test_a_digest_that_is_no_image_is_not_read(
    registry: LayoutRegistry, layout: Path, content: bytes
) -> None:
    registry.push(REPOSITORY, IMAGE, tag="v1")
    (layout / "blobs" / "sha256" / digest_of_bytes(content)[7:]).write_bytes(content)
    with pytest.raises(InvalidImage, match=r"is not (a|an|JSON)"):
        registry.model_folder(REPOSITORY, digest_of_bytes(content))


def test_an_image_without_a_layer_holds_no_model(registry: LayoutRegistry, layout: Path) -> None:
    registry.push(REPOSITORY, IMAGE, tag="v1")
    empty = canonical_json({"config": IMAGE.config.descriptor, "layers": []})
    (layout / "blobs" / "sha256" / digest_of_bytes(empty)[7:]).write_bytes(empty)
    with pytest.raises(InvalidImage, match="no layer"):
        registry.model_folder(REPOSITORY, digest_of_bytes(empty))


def test_what_a_killed_push_left_is_removed(registry: LayoutRegistry, layout: Path) -> None:
    layout.mkdir(parents=True)
    (layout / ".unfinished-abc").write_bytes(b"half of a layer")
    registry.push(REPOSITORY, IMAGE, tag="v1")
    assert not list(layout.glob(".unfinished*"))


def test_a_folder_that_another_push_holds_is_an_outage_that_names_it(
    registry: LayoutRegistry, layout: Path
) -> None:
    layout.mkdir(parents=True)
    with (
        locked(layout, 0),
        pytest.raises(ImageRegistryUnavailable, match=f"has been writing {layout} for over 0.1 s"),
    ):
        registry.push(REPOSITORY, IMAGE, tag="v1")
    assert registry.push(REPOSITORY, IMAGE, tag="v1") == IMAGE.digest


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_names_the_folder_and_leaves_nothing_half_written(
    registry: LayoutRegistry, layout: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(
            ImageFolderFull, match=f"cannot write an image to {layout}: .*Free space"
        ):
            registry.push(REPOSITORY, IMAGE, tag="v1")
    assert content_of(layout) == {}
    assert registry.find(REPOSITORY, "v1") is None
    assert registry.push(REPOSITORY, IMAGE, tag="v1") == IMAGE.digest


def test_a_folder_that_cannot_be_made_names_itself_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "images").write_text("a file in the way")
    registry = LayoutRegistry(tmp_path / "images")
    with pytest.raises(
        ImageFolderUnwritable, match=f"{tmp_path}/images/.*set PROMOTE_IMAGES to another folder"
    ):
        registry.push(REPOSITORY, IMAGE, tag="v1")


def test_a_folder_that_cannot_be_read_is_an_outage_not_an_absence(tmp_path: Path) -> None:
    (tmp_path / "images").write_text("a file in the way")
    registry = LayoutRegistry(tmp_path / "images")
    for act in (
        lambda: registry.find(REPOSITORY, "v1"),
        lambda: registry.model_folder(REPOSITORY, IMAGE.digest),
    ):
        with pytest.raises(ImageRegistryUnavailable, match="cannot read the images in"):
            act()
