"""What the labels of every task must be. Pure."""

from __future__ import annotations

import numpy as np

from retrain.errors import TrainingError
from retrain.tasks.task import Floats


def require_labels(values: Floats, *, column: str, split: str) -> None:
    """Raise TrainingError when a row has no label."""
    if missing := int(np.isnan(values).sum()):
        raise TrainingError(
            f"{missing} of {len(values)} {split} rows have no label ({column});"
            " leave such rows out in the query"
        )
