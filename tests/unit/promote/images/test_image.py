"""The image is a function of base and model folder, and of nothing else."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promote.errors import InvalidImage, InvalidName
from promote.images.image import (
    MODEL_DIGEST_LABEL,
    SNAPSHOT_LABEL,
    BaseImage,
    Image,
    build_image,
)
from promote.images.layer import read_model_layer, stored_gzip
from promote.images.manifest import LAYER_TYPE, MANIFEST_TYPE
from retrain.contract import (
    Feature,
    ModelCard,
    ModelSchema,
    Output,
    canonical_json,
    digest_of_bytes,
)

SNAPSHOT_ID = "sha256:" + "5" * 64


def model_folder(onnx: bytes = b"the fitted model" * 9000) -> dict[str, bytes]:
    """A folder as retrain writes it; the default is larger than one stored block."""
    schema = ModelSchema(
        features=(Feature(name="carrier", type="category"),), outputs=(Output(name="probability"),)
    )
    card = ModelCard(
        model="flight-delay",
        task="binary_classification",
        technique="boosted_trees",
        io=schema,
        snapshot_id=SNAPSHOT_ID,
        recipe_digest="sha256:" + "7" * 64,
        files={"model.onnx": digest_of_bytes(onnx)},
    )
    return {"model.onnx": onnx, "model.json": card.to_bytes()}


def base_image(**changes: object) -> BaseImage:
    config = {
        "architecture": "arm64",
        "os": "linux",
        "created": "2026-01-02T03:04:05Z",
        "config": {"Env": ["PATH=/usr/bin"], "User": "65532", "Labels": {"maintainer": "platform"}},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "1" * 64]},
        "history": [{"created": "2026-01-02T03:04:05Z", "created_by": "debian"}],
    }
    content = canonical_json(config)
    manifest = {
        "schemaVersion": 2,
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "digest": digest_of_bytes(content),
            "size": len(content),
        },
        "layers": [
            {
                "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                "digest": "sha256:" + "2" * 64,
                "size": 10,
            }
        ],
    }
    return BaseImage(canonical_json(manifest | changes), content)


def manifest_of(image: Image) -> dict[str, Any]:
    return json.loads(image.manifest.content)


def test_the_digest_is_a_constant_of_the_folder() -> None:
    folder = {
        "model.json": b'{"files":{"model.onnx":"'
        + digest_of_bytes(b"weights").encode()
        + b'"},"snapshot_id":"'
        + SNAPSHOT_ID.encode()
        + b'"}',
        "model.onnx": b"weights",
    }
    assert (
        build_image(folder).digest
        == "sha256:c8969042c81abdca53f4cbc460b2887fa7f3330a0bc5d0514bc550b63c9279c3"
    )


def test_the_order_of_the_files_does_not_count() -> None:
    folder = model_folder()
    assert build_image(folder) == build_image(dict(reversed(folder.items())))


def test_other_bytes_of_the_model_or_another_base_make_another_image() -> None:
    images = [
        build_image(model_folder()),
        build_image(model_folder(b"other")),
        build_image(model_folder(), base=base_image()),
    ]
    assert len({image.digest for image in images}) == 3


def test_the_layer_is_a_plain_tar_with_fixed_modes_owners_and_times() -> None:
    layer = build_image(model_folder()).model_layer.content
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(layer)), mode="r:") as archive:
        members = [
            (m.name, m.mode, m.uid, m.gid, m.uname, m.gname, m.mtime, m.isreg()) for m in archive
        ]
    assert members == [
        ("model", 0o755, 0, 0, "", "", 0, False),
        ("model/model.json", 0o644, 0, 0, "", "", 0, True),
        ("model/model.onnx", 0o644, 0, 0, "", "", 0, True),
    ]


def test_the_layer_is_stored_not_compressed() -> None:
    assert b"the fitted model" * 3000 in build_image(model_folder()).model_layer.content


def test_the_manifest_describes_its_blobs_and_the_config_the_uncompressed_layer() -> None:
    image = build_image(model_folder())
    manifest, config = manifest_of(image), json.loads(image.config.content)
    assert manifest["mediaType"] == MANIFEST_TYPE
    assert manifest["config"]["digest"] == digest_of_bytes(image.config.content)
    assert manifest["layers"] == [
        {
            "mediaType": LAYER_TYPE,
            "digest": digest_of_bytes(image.model_layer.content),
            "size": len(image.model_layer.content),
        }
    ]
    assert config["rootfs"]["diff_ids"] == [
        digest_of_bytes(gzip.decompress(image.model_layer.content))
    ]


def test_the_only_labels_are_model_digest_and_snapshot() -> None:
    folder = model_folder()
    labels = json.loads(build_image(folder).config.content)["config"]["Labels"]
    assert labels == {
        MODEL_DIGEST_LABEL: digest_of_bytes(folder["model.json"]),
        SNAPSHOT_LABEL: SNAPSHOT_ID,
    }


def test_a_base_keeps_its_layers_settings_and_platform_below_ours() -> None:
    image = build_image(model_folder(), base=base_image())
    manifest, config = manifest_of(image), json.loads(image.config.content)
    assert [layer["digest"] for layer in manifest["layers"]] == [
        "sha256:" + "2" * 64,
        image.model_layer.digest,
    ]
    assert {layer["mediaType"] for layer in manifest["layers"]} == {LAYER_TYPE}
    assert config["architecture"] == "arm64"
    assert config["config"]["User"] == "65532"
    assert config["config"]["Labels"]["maintainer"] == "platform"
    assert len(config["rootfs"]["diff_ids"]) == len(config["history"]) == 2


def test_a_base_without_settings_or_history_is_accepted() -> None:
    config = canonical_json(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": None,
            "rootfs": {"type": "layers", "diff_ids": []},
        }
    )
    manifest = canonical_json(
        {"schemaVersion": 2, "config": {"digest": digest_of_bytes(config)}, "layers": []}
    )
    assert build_image(model_folder(), base=BaseImage(manifest, config)).base_layers == ()


@pytest.mark.parametrize(
    ("base", "message"),
    [
        (BaseImage(canonical_json({"manifests": []}), b"{}"), "one platform"),
        (BaseImage(b"<html>", b"{}"), "not JSON"),
        (BaseImage(b"[]", b"{}"), "not a JSON object"),
        (BaseImage(base_image().manifest, b"{}"), "configuration should be"),
        (base_image(config=None), "one platform"),
        (base_image(layers=[]), "another number"),
        (
            base_image(
                layers=[{"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"}]
            ),
            "may not be copied",
        ),
        (base_image(layers=[{"mediaType": LAYER_TYPE, "size": 1}]), "may not be copied"),
    ],
)
def test_a_base_that_is_not_one_platforms_image_is_refused(base: BaseImage, message: str) -> None:
    with pytest.raises(InvalidImage, match=message):
        build_image(model_folder(), base=base)


def test_a_folder_that_is_not_what_its_card_says_is_refused() -> None:
    folder = model_folder()
    for broken, message in [
        ({"model.onnx": b""}, "no model.json"),
        ({"model.json": folder["model.json"]}, "lacks model.onnx"),
        ({**folder, "MLmodel": b""}, "contains MLmodel, which"),
        ({**folder, "model.onnx": b"tampered"}, "model.onnx of the model folder should be"),
        ({**folder, "model.json": b"{"}, "not JSON"),
        ({**folder, "model.json": b"{}"}, "should have `files`"),
    ]:
        with pytest.raises(InvalidImage, match=message):
            build_image(broken)


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/etc/passwd",
        "a/b",
        "..",
        ".",
        "",
        ".hidden",
        "-rf",
        "model.onnx\n",
        "a\0b",
        "ü",
        "x" * 81,
    ],
)
def test_a_file_name_that_could_leave_the_folder_is_refused(name: str) -> None:
    card = {"files": {name: digest_of_bytes(b"x")}, "snapshot_id": SNAPSHOT_ID}
    with pytest.raises(InvalidName):
        build_image({name: b"x", "model.json": canonical_json(card)})


def test_what_was_packed_is_read_back() -> None:
    assert read_model_layer(build_image(model_folder()).model_layer.content) == model_folder()


def foreign_layer(name: str, kind: bytes = tarfile.REGTYPE) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    return gzip.compress(buffer.getvalue())


LAYERS_NOT_OURS = {
    "nothing": b"",
    "not gzip": b"not gzip",
    "not a tar": gzip.compress(b"not a tar" * 100),
    "cut": build_image(model_folder()).model_layer.content[:-4000],
    "a folder above": foreign_layer("../evil"),
    "an absolute path": foreign_layer("/model/model.json"),
    "a folder below": foreign_layer("model/deep/model.json"),
    "a symbolic link": foreign_layer("model/model.json", tarfile.SYMTYPE),
    "a hard link": foreign_layer("model/model.json", tarfile.LNKTYPE),
    "an empty file": foreign_layer("model/model.json"),
}


# The cases have names: gzip writes the second into its header, and two test processes must
# collect the same cases.
@pytest.mark.parametrize("layer", LAYERS_NOT_OURS.values(), ids=LAYERS_NOT_OURS.keys())
def test_a_layer_that_is_not_ours_is_refused(layer: bytes) -> None:
    with pytest.raises(InvalidImage):
        read_model_layer(layer)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([0, 1, 65534, 65535, 65536, 131070, 131071]), st.binary(min_size=1, max_size=8)
)
def test_astored_gzip_is_read_back_by_zlib_at_every_block_boundary(
    length: int, pattern: bytes
) -> None:
    content = (pattern * (length // len(pattern) + 1))[:length]
    assert gzip.decompress(stored_gzip(content)) == content
