"""The model folder as a layer of an image: a tar in gzip with the folder `/model`.

Pure, standard library only. Every Python, user, umask, time zone and zlib writes the same bytes.
"""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zlib
from collections.abc import Mapping
from typing import Any

from promote.errors import InvalidImage
from promote.images.manifest import read_object
from promote.images.names import check_file_name, digest_of, is_digest

_FOLDER = "model"
_STORED_BLOCK_BYTES = 0xFFFF


def read_model_layer(layer: bytes) -> dict[str, bytes]:
    """Return the model folder of a layer, by file name.

    Raises:
        InvalidImage: The layer is no tar in gzip, has something other than plain files directly
            below `/model`, or does not match its `model.json`.
    """
    folder: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(layer)), mode="r:") as archive:
            for member in archive:
                if member.isdir() and member.name == _FOLDER:
                    continue
                parent, _, name = member.name.rpartition("/")
                content = archive.extractfile(member) if member.isreg() else None
                if content is None or parent != _FOLDER or name in folder:
                    raise InvalidImage(
                        f"the model layer contains {member.name!r}. Only plain files directly "
                        "below /model are allowed. Build the image again."
                    )
                folder[name] = content.read()
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise InvalidImage(
            f"the model layer is not a gzipped tar ({error}). Build the image again."
        ) from error
    check_model_folder(folder)
    return folder


def check_model_folder(folder: Mapping[str, bytes]) -> str:
    """Return the snapshot's id.

    Raises:
        InvalidImage: The folder does not match its `model.json`.
        InvalidName: A file's name could lead out of the folder.
    """
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
                f"the model folder contains {name}, which model.json does not list. "
                "Only judged files may ship. Remove the file."
            )
        if files[name] != (actual := digest_of(folder[name])):
            raise InvalidImage(
                f"{name} of the model folder should be {files[name]} and is {actual}. "
                "Download the folder again."
            )
    return snapshot_id


def model_tar(folder: Mapping[str, bytes]) -> bytes:
    """Return the tar of a model folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        top = tarfile.TarInfo(_FOLDER)
        top.type, top.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(top)  # TarInfo's defaults: owner 0:0, no owner name, time 0
        for name in sorted(folder, key=str.encode):
            member = tarfile.TarInfo(f"{_FOLDER}/{name}")
            member.mode, member.size = 0o644, len(folder[name])
            archive.addfile(member, io.BytesIO(folder[name]))
    return buffer.getvalue()


def stored_gzip(content: bytes) -> bytes:
    """Return a gzip member of stored blocks (RFC 1952; RFC 1951, 3.2.4).

    zlib and zlib-ng compress differently at every level, so the content is not compressed.

    >>> import gzip
    >>> gzip.decompress(stored_gzip(b"model"))
    b'model'
    """
    # The header: deflate, no flags, no time, no level, unknown system.
    parts = [b"\x1f\x8b\x08\x00" + b"\0\0\0\0" + b"\x00\xff"]
    starts = range(0, max(len(content), 1), _STORED_BLOCK_BYTES)
    for start in starts:
        block = content[start : start + _STORED_BLOCK_BYTES]
        parts += [struct.pack("<BHH", start == starts[-1], len(block), len(block) ^ 0xFFFF), block]
    parts.append(struct.pack("<II", zlib.crc32(content), len(content) & 0xFFFFFFFF))
    return b"".join(parts)


def _read_card(folder: Mapping[str, bytes]) -> tuple[Mapping[str, Any], str]:
    if "model.json" not in folder:
        raise InvalidImage(f"the model folder has no model.json. Its files: {sorted(folder)}.")
    card = read_object(folder["model.json"], "model.json")
    files, snapshot_id = card.get("files"), card.get("snapshot_id")
    if not isinstance(files, dict) or not is_digest(str(snapshot_id)):
        raise InvalidImage(
            "model.json should have `files` with a digest for each name, and `snapshot_id`, "
            "a digest. Did retrain write the file?"
        )
    return files, str(snapshot_id)
