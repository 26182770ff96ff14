"""A model's YAML and SQL that came by value: one gzipped tar in base64.

Airflow's task packs the files of the commit that its run is of (dags/ratchet_tasks/model_files.py).
So a merged change needs no other image.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import io
import tarfile
import zlib

from retrain.errors import InvalidSpec, Mistake
from retrain.spec.files import MOST_LETTERS, spec_among
from retrain.spec.model_file import ModelSpec

MOST_BYTES = 4 * 1024 * 1024
"""Unpacked: far beyond what fits into `MOST_LETTERS` of text that a person wrote."""
_PLACE = "RETRAIN_MODEL_FILES"


def model_by_value(text: str, name: str) -> ModelSpec:
    """Return the spec of the model called `name`.

    Raises:
        InvalidSpec: The text is no such archive, it lacks the model, or the model has mistakes.
    """
    files = unpacked(text)
    if f"{name}.yaml" not in files:
        there = ", ".join(sorted(files)) or "nothing"
        raise _refused(f"holds {there}, and not {name}.yaml")
    return spec_among(f"{name}.yaml", files.get)


def unpacked(text: str) -> dict[str, bytes]:
    """Return the files by name.

    Raises:
        InvalidSpec: The text is too long, damaged, or holds something else than plain files.
    """
    if len(text) > MOST_LETTERS:
        raise _refused(f"has {len(text):,} letters; {MOST_LETTERS:,} are the most")
    try:
        packed = base64.b64decode(text.encode("utf-8", "replace"), validate=True)
        with gzip.open(io.BytesIO(packed)) as stream:
            content = stream.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise _refused(f"holds more than {MOST_BYTES:,} bytes")
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            return _plain_files(archive)
    except (binascii.Error, OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise _refused(f"is no gzipped tar in base64: {error}") from error


def _plain_files(archive: tarfile.TarFile) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for entry in archive:
        stream = archive.extractfile(entry) if entry.isreg() else None
        if stream is None or "/" in entry.name or entry.name in files:
            raise _refused(f"holds `{entry.name[:80]}`, which is no plain file of its own")
        files[entry.name] = stream.read()
    return files


def _refused(sentence: str) -> InvalidSpec:
    return InvalidSpec([Mistake(_PLACE, 1, sentence)])
