"""A model folder in a notebook: a frame of inputs becomes a frame of outputs.

`model_from_code.py` in each registered model folder calls this file when somebody uses
`mlflow.pyfunc.load_model`. promote, serving and batch do not.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa

from retrain.contract import digest_of_bytes
from retrain.model.arrow import columns_of_rows
from retrain.model.folder import CARD_FILE, read_folder
from retrain.model.program import Program

MODEL_FROM_CODE = '''\
"""Run by mlflow.pyfunc.load_model. Needs Ratchet's package, pandas, pyarrow and onnxruntime."""

from pathlib import Path

from mlflow.models import set_model

from retrain.runs.notebook import predictor_of

set_model(predictor_of(Path(__file__).parent))
'''
"""The content of `model_from_code.py`. Registered models keep it: `predictor_of` must stay."""


def predictor_of(folder: Path) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Return a function that answers rows with a column for each output of the model card.

    The function takes a frame with a column for each feature, in any order. A feature that is not
    required may be absent. The card comes from the same folder, so its digest proves nothing.

    Raises:
        ModelMissing, ModelAltered, ModelUnusable: As `read_folder` does.
    """
    model = read_folder(folder, digest=digest_of_bytes((folder / CARD_FILE).read_bytes()))
    program, features = Program(model.network, model.card.io), model.card.io.features

    def predict(frame: pd.DataFrame) -> pd.DataFrame:
        inputs = frame.reindex(columns=[feature.name for feature in features])
        rows = pa.Table.from_pandas(inputs, preserve_index=False)
        return pd.DataFrame(program.answer(columns_of_rows(features, rows)), index=frame.index)

    return predict
