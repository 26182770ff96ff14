"""The smallest container image: some files and one command, pushed to a registry over HTTP."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import urllib.request
from collections.abc import Mapping
from urllib.parse import urljoin

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def push_image(
    registry: str, name: str, files: Mapping[str, bytes], command: list[str], *, tag: str = "1"
) -> str:
    """Push an image of executable `files` that runs `command` as user 65532. Return its reference.

    Args:
        registry: Its URL, http://….
        name: The repository in it.
        files: Content by absolute path.
        command: The entry point.
        tag: Moves to this image.
    """
    tar = _tar(files)
    layer = gzip.compress(tar, compresslevel=1, mtime=0)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": command, "User": "65532"},
        "rootfs": {"type": "layers", "diff_ids": [_digest(tar)]},
    }
    config_bytes = json.dumps(config).encode()
    layers = [{"mediaType": _LAYER, "digest": _digest(layer), "size": len(layer)}]
    config_entry = {
        "mediaType": _CONFIG,
        "digest": _digest(config_bytes),
        "size": len(config_bytes),
    }
    manifest = json.dumps(
        {"schemaVersion": 2, "mediaType": _MANIFEST, "config": config_entry, "layers": layers}
    ).encode()
    for blob in (layer, config_bytes):
        _push_blob(registry, name, blob)
    _call("PUT", f"{registry}/v2/{name}/manifests/{tag}", manifest, _MANIFEST)
    return f"{registry.removeprefix('http://')}/{name}@{_digest(manifest)}"


def _push_blob(registry: str, name: str, blob: bytes) -> None:
    place = _call("POST", f"{registry}/v2/{name}/blobs/uploads/", b"", "application/octet-stream")
    _call(
        "PUT",
        f"{place}{'&' if '?' in place else '?'}digest={_digest(blob)}",
        blob,
        "application/octet-stream",
    )


def _call(method: str, url: str, body: bytes, content_type: str) -> str:
    """Send, and return the Location that came back, made absolute."""
    request = urllib.request.Request(
        url, data=body, method=method, headers={"Content-Type": content_type}
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return urljoin(url, str(response.headers.get("Location", "")))


def _tar(files: Mapping[str, bytes]) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path, content in sorted(files.items()):
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
    return written.getvalue()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
