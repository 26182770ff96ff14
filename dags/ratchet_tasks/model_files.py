"""A model's YAML and SQL as one text, which a retraining gets by value.

`retrain/spec/by_value.py` reads the text.
"""

from __future__ import annotations

import base64
import gzip
import io
import re
import tarfile
from pathlib import Path

MODELS = Path(__file__).parents[1] / "models"
MOST_LETTERS = 96 * 1024
"""Linux takes 128 KiB for one variable of a process."""
_QUERY = re.compile(rb"(?m)^query:\s*[\"']?([A-Za-z0-9_.-]+)")


def packed(folder: Path, model: str) -> str:
    """Return a model's files as a gzipped tar in base64. The same files give the same text.

    Raises:
        ValueError: The model has no file, or its files are too large.
    """
    path = folder / f"{model}.yaml"
    try:
        files = {path.name: path.read_bytes()}
        query = _QUERY.search(files[path.name])
        if query and (beside := folder / query[1].decode()).is_file():
            files[beside.name] = beside.read_bytes()
    except OSError as error:
        raise ValueError(f"dags/models/{path.name} cannot be read: {error}") from error
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)  # mode, owner and time are fixed
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    text = base64.b64encode(gzip.compress(content.getvalue(), mtime=0)).decode()
    if len(text) > MOST_LETTERS:
        raise ValueError(
            f"{', '.join(files)} need {len(text) / 1024:.0f} KiB packed; {MOST_LETTERS // 1024} are"
            " the most that a retraining can be handed. Shorten the query"
        )
    return text
