"""Skopeo, written by others, reads our images back."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from promote.images.image import MODEL_DIGEST_LABEL, BaseImage, build_image
from promote.images.names import image_tag
from promote.images.opening import open_image_registry
from retrain.contract import canonical_json, digest_of_bytes

REPOSITORY = "ratchet/flight-delay"
ONNX = bytes(range(256)) * 2000
FOLDER = {
    "model.onnx": ONNX,
    "model.json": canonical_json(
        {"files": {"model.onnx": digest_of_bytes(ONNX)}, "snapshot_id": digest_of_bytes(b"")}
    ),
}
TAG = image_tag(8, digest_of_bytes(FOLDER["model.json"]))

pytestmark = pytest.mark.skipif(
    shutil.which("skopeo") is None, reason="skopeo reads our images back: apt-get install skopeo"
)


def skopeo(*arguments: str) -> bytes:
    run = subprocess.run(
        ["skopeo", "--insecure-policy", *arguments], check=False, capture_output=True, timeout=60
    )
    assert run.returncode == 0, run.stderr.decode()
    return run.stdout


def blob_of(folder: Path, digest: str) -> bytes:
    return (folder / digest.removeprefix("sha256:")).read_bytes()


def test_skopeo_inspects_the_image_by_its_tag(tmp_path: Path) -> None:
    image = build_image(FOLDER)
    open_image_registry(f"oci-layout:{tmp_path}").push(REPOSITORY, image, tag=TAG)
    source = f"oci:{tmp_path}/{REPOSITORY}:{TAG}"
    assert skopeo("inspect", "--raw", source) == image.manifest.content
    inspected = json.loads(skopeo("inspect", source))
    assert inspected["Digest"] == image.digest
    assert inspected["Layers"] == [image.model_layer.digest]
    assert inspected["Labels"][MODEL_DIGEST_LABEL] == digest_of_bytes(FOLDER["model.json"])


def test_skopeo_copies_the_image_with_every_digest_the_same(tmp_path: Path) -> None:
    image = build_image(FOLDER)
    open_image_registry(f"oci-layout:{tmp_path}/images").push(REPOSITORY, image, tag=TAG)
    skopeo(
        "copy",
        "--preserve-digests",
        f"oci:{tmp_path}/images/{REPOSITORY}:{TAG}",
        f"dir:{tmp_path}/copy",
    )
    copied = tmp_path / "copy"
    assert digest_of_bytes((copied / "manifest.json").read_bytes()) == image.digest
    assert blob_of(copied, image.model_layer.digest) == image.model_layer.content
    assert blob_of(copied, image.config.digest) == image.config.content


def test_an_image_on_a_base_is_whole_to_skopeo(tmp_path: Path) -> None:
    """skopeo copies the base into the layout, as a person would. Its layers are not sent again."""
    registry = open_image_registry(f"oci-layout:{tmp_path}/images")
    registry.push("ratchet/base", build_image(FOLDER), tag="base")
    skopeo(
        "copy",
        f"oci:{tmp_path}/images/ratchet/base:base",
        f"oci:{tmp_path}/images/{REPOSITORY}:base",
    )
    manifest = skopeo("inspect", "--raw", f"oci:{tmp_path}/images/{REPOSITORY}:base")
    config = skopeo("inspect", "--config", "--raw", f"oci:{tmp_path}/images/{REPOSITORY}:base")
    onnx = b"another model"
    folder = {
        "model.onnx": onnx,
        "model.json": canonical_json(
            {"files": {"model.onnx": digest_of_bytes(onnx)}, "snapshot_id": digest_of_bytes(b"")}
        ),
    }
    image = build_image(folder, base=BaseImage(manifest, config))
    assert registry.push(REPOSITORY, image, tag="v9") == registry.find(REPOSITORY, "v9")
    skopeo(
        "copy",
        "--preserve-digests",
        f"oci:{tmp_path}/images/{REPOSITORY}:v9",
        f"dir:{tmp_path}/copy",
    )
    assert digest_of_bytes((tmp_path / "copy" / "manifest.json").read_bytes()) == image.digest
    assert registry.model_folder(REPOSITORY, image.digest) == folder
