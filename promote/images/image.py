"""The bytes of an OCI image: a base's layers, and one more layer with the model folder.

The bytes depend on the base and the folder only. Pure, standard library only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from promote.errors import InvalidImage
from promote.images.layer import check_model_folder, model_tar, stored_gzip
from promote.images.manifest import CONFIG_TYPE, LAYER_TYPE, MANIFEST_TYPE, read_object
from promote.images.names import digest_of

MODEL_DIGEST_LABEL = "io.ratchet.model_digest"
SNAPSHOT_LABEL = "io.ratchet.snapshot_id"

_EPOCH = "1970-01-01T00:00:00Z"
_OCI_LAYER_TYPES = {  # Docker has its own name for OCI's type. One manifest should not mix the two.
    "application/vnd.docker.image.rootfs.diff.tar.gzip": LAYER_TYPE,
    LAYER_TYPE: LAYER_TYPE,
    "application/vnd.oci.image.layer.v1.tar": "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
}


@dataclass(frozen=True)
class Blob:
    """Bytes with their media type. A registry stores them by `digest`."""

    media_type: str
    content: bytes

    @property
    def digest(self) -> str:
        """The sha256 of the content."""
        return digest_of(self.content)

    @property
    def descriptor(self) -> dict[str, Any]:
        """The blob's entry in a manifest."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.content)}


@dataclass(frozen=True)
class BaseImage:
    """The manifest and configuration of one platform's image. Its layers stay in their registry."""

    manifest: bytes
    config: bytes


@dataclass(frozen=True)
class Image:
    """The parts that a registry needs. The registry must already have the base's layers."""

    manifest: Blob
    config: Blob
    model_layer: Blob
    base_layers: tuple[dict[str, Any], ...] = ()
    """Descriptors."""

    @property
    def digest(self) -> str:
        """The digest that names the image."""
        return self.manifest.digest


def build_image(folder: Mapping[str, bytes], *, base: BaseImage | None = None) -> Image:
    """Return the image of a model folder on a base.

    Args:
        folder: `model.json` and exactly the files that it lists. Their digests are checked, since
            only judged bytes may ship.
        base: None for the empty image, which contains only the model.

    Raises:
        InvalidImage: A file is missing, not listed, or differs from `model.json`; or the base is
            not the image of one platform.
        InvalidName: A file's name could lead out of the folder.
    """
    snapshot_id = check_model_folder(folder)
    tar = model_tar(folder)
    model_layer = Blob(LAYER_TYPE, stored_gzip(tar))
    manifest, config = _empty_base() if base is None else _read_base(base)
    config["rootfs"]["diff_ids"].append(digest_of(tar))
    config.setdefault("history", []).append(
        {"created": _EPOCH, "created_by": "ratchet: the model folder at /model"}
    )
    labels = {MODEL_DIGEST_LABEL: digest_of(folder["model.json"]), SNAPSHOT_LABEL: snapshot_id}
    settings = config["config"] = config.get("config") or {}
    settings["Labels"] = {**(settings.get("Labels") or {}), **labels}
    config_blob = Blob(CONFIG_TYPE, _canonical_json(config))
    base_layers = tuple(_oci_layer(layer) for layer in manifest["layers"])
    content = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": config_blob.descriptor,
        "layers": [*base_layers, model_layer.descriptor],
    }
    manifest_blob = Blob(MANIFEST_TYPE, _canonical_json(content))
    return Image(manifest_blob, config_blob, model_layer, base_layers)


def _empty_base() -> tuple[dict[str, Any], dict[str, Any]]:
    # A platform is required. Nothing in the image depends on it.
    config = {
        "architecture": "amd64",
        "os": "linux",
        "created": _EPOCH,
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": []},
        "history": [],
    }
    return {"layers": []}, config


def _read_base(base: BaseImage) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the base's manifest and configuration."""
    manifest = read_object(base.manifest, "the base's manifest")
    config = read_object(base.config, "the base's configuration")
    layers, descriptor = manifest.get("layers"), manifest.get("config")
    if (
        not isinstance(layers, list)
        or not isinstance(descriptor, dict)
        or "digest" not in descriptor
    ):
        raise InvalidImage(
            "the base image is not the manifest of one platform. Perhaps it is an index of "
            "several platforms. Name one platform's digest in PROMOTE_BASE_IMAGE."
        )
    if descriptor["digest"] != (actual := digest_of(base.config)):
        raise InvalidImage(
            f"the base's configuration should be {descriptor['digest']} and is {actual}. "
            "Read the base again."
        )
    if len(layers) != len(config.get("rootfs", {}).get("diff_ids", ())):
        raise InvalidImage(
            f"the base's manifest has {len(layers)} layers and its configuration another number. "
            "Use an image that an image builder wrote."
        )
    return manifest, config


def _oci_layer(layer: Mapping[str, Any]) -> dict[str, Any]:
    media_type = _OCI_LAYER_TYPES.get(layer.get("mediaType", ""))
    if media_type is None or not {"digest", "size"} <= layer.keys():
        raise InvalidImage(
            f"the base has a layer that may not be copied between registries: {layer}. "
            "Choose another base."
        )
    return {"mediaType": media_type, "digest": layer["digest"], "size": layer["size"]}


def _canonical_json(content: object) -> bytes:
    # Same encoding as retrain.contract, which needs pydantic. This file must run without packages.
    text = json.dumps(
        content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode() + b"\n"
