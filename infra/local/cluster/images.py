"""Gets an image by digest from the OCI layout folders, as a node's container runtime would.

Every blob is verified. The last layer holds the model.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import zlib
from pathlib import Path
from typing import Any

from infra.local.cluster.desired import IMAGE


class ImageUnusable(RuntimeError):
    """The image is not there, damaged, or holds no model."""


def pull(root: Path, image: str, into: Path) -> None:
    """Write the model files of an image into a new folder.

    Raises:
        ImageUnusable: A blob is missing or has another digest, or the layer holds other files
            than those below /model/.
    """
    match = IMAGE.fullmatch(image)
    if match is None:
        raise ImageUnusable(f"{image} is not repository@sha256:…")
    blobs = root / match["repository"] / "blobs" / "sha256"
    layers = _object(_blob(blobs, match["digest"], "manifest"), "manifest").get("layers")
    if not isinstance(layers, list) or not layers or not isinstance(layers[-1], dict):
        raise ImageUnusable(f"{image}: the manifest has no layer, so no model")
    files = _model_files(_blob(blobs, str(layers[-1].get("digest")), "model layer"))
    into.mkdir(parents=True)
    for name, content in files.items():
        (into / name).write_bytes(content)


def _blob(blobs: Path, digest: str, what: str) -> bytes:
    algorithm, _, hexadecimal = digest.partition(":")
    if algorithm != "sha256" or len(hexadecimal) != 64 or not hexadecimal.isalnum():
        raise ImageUnusable(f"the {what} has digest {digest!r}, which is no sha256")
    try:
        content = (blobs / hexadecimal).read_bytes()
    except OSError as problem:
        raise ImageUnusable(
            f"the {what} {digest} cannot be read from {blobs}: {problem.strerror}"
        ) from problem
    if hashlib.sha256(content).hexdigest() != hexadecimal:
        raise ImageUnusable(
            f"the {what} {digest} in {blobs} is damaged: its bytes have another digest"
        )
    return content


def _object(content: bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except ValueError as problem:
        raise ImageUnusable(f"the {what} is not JSON: {problem}") from problem
    if not isinstance(value, dict):
        raise ImageUnusable(f"the {what} is not a JSON object")
    return value


def _model_files(layer: bytes) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(layer)), mode="r:") as archive:
            for member in archive:
                if member.isdir() and member.name.rstrip("/") == "model":
                    continue
                folder, _, name = member.name.rpartition("/")
                content = archive.extractfile(member) if member.isreg() else None
                if content is None or folder != "model" or name in {"", ".", ".."}:
                    raise ImageUnusable(
                        f"the model layer holds {member.name!r}: only regular files directly"
                        " below /model/ are taken"
                    )
                files[name] = content.read()
    except (tarfile.TarError, zlib.error, EOFError, OSError) as problem:
        raise ImageUnusable(f"the model layer is not a gzipped tar: {problem}") from problem
    return files
