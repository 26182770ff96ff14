"""The baseline model server, as BentoML's documentation shows it: a pickled pipeline, batched."""

import os
import pickle
from pathlib import Path
from typing import Any

import bentoml
import pandas as pd


@bentoml.service(traffic={"timeout": 60})
class FlightDelay:
    def __init__(self) -> None:
        self.pipeline = pickle.loads(Path(os.environ["BASELINE_PICKLE"]).read_bytes())

    @bentoml.api(batchable=True)
    def predict(self, rows: list[dict[str, Any]]) -> list[float]:
        return self.pipeline.predict_proba(pd.DataFrame(rows))[:, 1].tolist()
