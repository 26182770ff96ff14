"""Media types, and the JSON of an OCI image that other files read. Pure, standard library only."""

from __future__ import annotations

import json
from typing import Any

from promote.errors import InvalidImage
from promote.images.names import is_digest

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"


def read_object(content: bytes, what: str) -> dict[str, Any]:
    """Return a JSON object.

    Args:
        content: The bytes.
        what: Their name in an error.

    Raises:
        InvalidImage: The content is no JSON object.
    """
    try:
        value = json.loads(content)
    except ValueError as error:
        raise InvalidImage(f"{what} is not JSON ({error}).") from error
    if not isinstance(value, dict):
        raise InvalidImage(f"{what} is not a JSON object.")
    return value


def read_manifest_object(content: bytes, what: str) -> dict[str, Any]:
    """Return an image's manifest; `config` and each of `layers` have a digest.

    Raises:
        InvalidImage: The content is no manifest of one image.
    """
    manifest = read_object(content, what)
    layers = manifest.get("layers")
    parts = (manifest.get("config"), *(layers if isinstance(layers, list) else (None,)))
    if not all(is_descriptor(part) for part in parts):
        raise InvalidImage(f"{what} is not an image manifest ({MANIFEST_TYPE}).")
    return manifest


def is_descriptor(value: object) -> bool:
    """Return whether a value is an object with a digest."""
    return isinstance(value, dict) and is_digest(str(value.get("digest")))
