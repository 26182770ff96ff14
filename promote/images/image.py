"""The bytes of an OCI image as a function of a base and a model folder: the base's layers and one more, `/model`.

Pure, and standard library only: any Python, user, umask, time zone and zlib writes the same bytes.
port.py says where the image goes.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import struct
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from promote.errors import InvalidImage
from promote.images.names import check_file_name, is_digest

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
MODEL_DIGEST_LABEL = "io.ratchet.model_digest"
SNAPSHOT_LABEL = "io.ratchet.snapshot_id"

_EPOCH = "1970-01-01T00:00:00Z"
_MODEL_FOLDER = "model"
_STORED_BLOCK_BYTES = 0xFFFF
_OCI_LAYER_TYPES = {  # Docker's names for what OCI calls otherwise; a manifest should not mix the two
    "application/vnd.docker.image.rootfs.diff.tar.gzip": LAYER_TYPE,
    LAYER_TYPE: LAYER_TYPE,
    "application/vnd.oci.image.layer.v1.tar": "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
}


@dataclass(frozen=True)
class Blob:
    """Bytes with their media type; registries know them by `digest`."""

    media_type: str
    content: bytes

    @property
    def digest(self) -> str:
        """The sha256 of the content."""
        return _digest(self.content)

    @property
    def descriptor(self) -> dict[str, Any]:
        """How a manifest refers to this blob."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.content)}


@dataclass(frozen=True)
class BaseImage:
    """The manifest and the configuration of one platform's image, as its registry gave them; its layers stay where they are."""

    manifest: bytes
    config: bytes


@dataclass(frozen=True)
class Image:
    """All that a registry needs besides the base's layers, which it must hold already."""

    manifest: Blob
    config: Blob
    model_layer: Blob
    base_layers: tuple[dict[str, Any], ...] = ()
    """Descriptors."""

    @property
    def digest(self) -> str:
        """The image's one name."""
        return self.manifest.digest


def build_image(folder: Mapping[str, bytes], *, base: BaseImage | None = None) -> Image:
    """Return the image of a model folder on a base.

    Args:
        folder: `model.json` and exactly the files it lists; the digests of those are checked, since what was judged is what ships.
        base: None for the empty image, which holds the model and nothing else.

    Raises:
        InvalidImage: A file is missing, unlisted or not what `model.json` says; or the base is not one platform's image.
        InvalidName: A file's name could leave the folder.
    """
    snapshot_id = _check_model_folder(folder)
    tar = _model_tar(folder)
    model_layer = Blob(LAYER_TYPE, _stored_gzip(tar))
    manifest, config = _empty_base() if base is None else _read_base(base)
    config["rootfs"]["diff_ids"].append(_digest(tar))
    config.setdefault("history", []).append(
        {"created": _EPOCH, "created_by": "ratchet: the model folder at /model"}
    )
    labels = {MODEL_DIGEST_LABEL: _digest(folder["model.json"]), SNAPSHOT_LABEL: snapshot_id}
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
    return Image(
        Blob(MANIFEST_TYPE, _canonical_json(content)), config_blob, model_layer, base_layers
    )


def read_model_layer(layer: bytes) -> dict[str, bytes]:
    """Return the model folder that a layer of ours holds, by name; the inverse of what `build_image` packs.

    Raises:
        InvalidImage: Not a layer of ours: not a gzipped tar, something beside plain files directly below `/model`, or files that `model.json` does not name.
    """
    folder: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(layer)), mode="r:") as archive:
            for member in archive:
                if member.isdir() and member.name == _MODEL_FOLDER:
                    continue
                parent, _, name = member.name.rpartition("/")
                content = archive.extractfile(member) if member.isreg() else None
                if content is None or parent != _MODEL_FOLDER or name in folder:
                    raise InvalidImage(
                        f"the model layer holds {member.name!r}; it may hold plain files directly below /model only. Build the image again."
                    )
                folder[name] = content.read()
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise InvalidImage(
            f"the model layer is not a gzipped tar ({error}). Build the image again."
        ) from error
    _check_model_folder(folder)
    return folder


def _check_model_folder(folder: Mapping[str, bytes]) -> str:
    """Raise unless the folder is what its `model.json` says; return the snapshot's id."""
    files, snapshot_id = _read_card(folder)
    for name in sorted({*folder, *files}):
        check_file_name(name)
        if name == "model.json" and name not in files:
            continue
        if name not in folder:
            raise InvalidImage(
                f"the model folder lacks {name}, which model.json lists. Download the folder again."
            )
        if name not in files:
            raise InvalidImage(
                f"the model folder holds {name}, which model.json does not list: only what was judged may ship. Leave it out."
            )
        if files[name] != (found := _digest(folder[name])):
            raise InvalidImage(
                f"{name} of the model folder should be {files[name]} and is {found}. Download the folder again."
            )
    return snapshot_id


def _read_card(folder: Mapping[str, bytes]) -> tuple[Mapping[str, Any], str]:
    if "model.json" not in folder:
        raise InvalidImage(f"the model folder has no model.json; it holds {sorted(folder)}.")
    card = read_object(folder["model.json"], "model.json")
    files, snapshot_id = card.get("files"), card.get("snapshot_id")
    if (
        not isinstance(files, dict)
        or not isinstance(snapshot_id, str)
        or not is_digest(snapshot_id)
    ):
        raise InvalidImage(
            "model.json should have `files` with a digest for each name, and `snapshot_id`, a sha256. Was it written by retrain?"
        )
    return files, snapshot_id


def _empty_base() -> tuple[dict[str, Any], dict[str, Any]]:
    # A platform is required; nothing in the image depends on it.
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
    manifest, config = (
        read_object(base.manifest, "the base's manifest"),
        read_object(base.config, "the base's configuration"),
    )
    layers, named = manifest.get("layers"), manifest.get("config")
    if not isinstance(layers, list) or not isinstance(named, dict) or "digest" not in named:
        raise InvalidImage(
            "the base image is not one platform's manifest (an index of several?). Name one platform's digest in PROMOTE_BASE_IMAGE."
        )
    if named["digest"] != (found := _digest(base.config)):
        raise InvalidImage(
            f"the base's configuration should be {named['digest']} and is {found}. Read the base again."
        )
    if len(layers) != len(config.get("rootfs", {}).get("diff_ids", ())):
        raise InvalidImage(
            f"the base's manifest has {len(layers)} layers and its configuration another number. Use an image that a builder wrote."
        )
    return manifest, config


def _oci_layer(layer: Mapping[str, Any]) -> dict[str, Any]:
    known = _OCI_LAYER_TYPES.get(layer.get("mediaType", ""))
    if known is None or not {"digest", "size"} <= layer.keys():
        raise InvalidImage(
            f"the base has a layer that may not be copied between registries: {layer}. Choose another base."
        )
    return {"mediaType": known, "digest": layer["digest"], "size": layer["size"]}


def _model_tar(folder: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        top = tarfile.TarInfo(_MODEL_FOLDER)
        top.type, top.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(top)  # owner 0:0, no owner's name and time 0 are TarInfo's own defaults
        for name in sorted(folder, key=str.encode):
            member = tarfile.TarInfo(f"{_MODEL_FOLDER}/{name}")
            member.mode, member.size = 0o644, len(folder[name])
            archive.addfile(member, io.BytesIO(folder[name]))
    return buffer.getvalue()


def _stored_gzip(content: bytes) -> bytes:
    """Return a gzip member of stored blocks (RFC 1952; RFC 1951, 3.2.4): zlib and zlib-ng compress differently, at every level.

    >>> import gzip
    >>> gzip.decompress(_stored_gzip(b"model"))
    b'model'
    """
    parts = [
        b"\x1f\x8b\x08\x00" + b"\0\0\0\0" + b"\x00\xff"
    ]  # deflate, no flags; no time; no level, unknown system
    starts = range(0, max(len(content), 1), _STORED_BLOCK_BYTES)
    for start in starts:
        block = content[start : start + _STORED_BLOCK_BYTES]
        parts += [struct.pack("<BHH", start == starts[-1], len(block), len(block) ^ 0xFFFF), block]
    parts.append(struct.pack("<II", zlib.crc32(content), len(content) & 0xFFFFFFFF))
    return b"".join(parts)


def read_object(content: bytes, what: str) -> dict[str, Any]:
    """Return a JSON object; raises `InvalidImage` with `what` it was to be."""
    try:
        value = json.loads(content)
    except ValueError as error:
        raise InvalidImage(f"{what} is not JSON ({error}).") from error
    if not isinstance(value, dict):
        raise InvalidImage(f"{what} is not a JSON object.")
    return value


def _canonical_json(content: object) -> bytes:
    # The same encoding as retrain.contract's, which needs pydantic; a plain interpreter must be able to run this file.
    return (
        json.dumps(
            content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        ).encode()
        + b"\n"
    )


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()
