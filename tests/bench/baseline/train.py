"""`python -m tests.bench.baseline.train FOLDER` fits one pipeline on the features of flight-delay.

It writes the pipeline as a pickle and as a model folder, and request bodies. The rows are drawn at
random: a pipeline's speed does not depend on what it learnt.
"""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder

from retrain.contract import Feature, ModelCard, ModelSchema, Output, digest_of_bytes
from retrain.fitting.export import to_onnx

CATEGORIES = {"carrier": 16, "origin": 3, "destination": 105}
NUMBERS = {
    "distance": (80, 2600),
    "departure_hour": (5, 23),
    "arrival_hour": (0, 24),
    "temperature": (10, 100),
    "humidity": (10, 100),
    "wind_speed": (0, 40),
    "precipitation": (0, 1),
    "pressure": (980, 1040),
    "visibility": (0, 10),
}
ROWS = 30_000


def rows(count: int) -> pd.DataFrame:
    """Drawn flights."""
    random = np.random.default_rng(8)
    columns = {
        name: random.choice([f"{name[:1].upper()}{number:02}" for number in range(kinds)], count)
        for name, kinds in CATEGORIES.items()
    }
    columns |= {
        name: random.uniform(low, high, count).astype(np.float32)
        for name, (low, high) in NUMBERS.items()
    }
    return pd.DataFrame(columns | {"weekday": random.integers(1, 8, count).astype(np.float32)})


def main() -> None:
    folder = Path(sys.argv[1])
    frame = rows(ROWS)
    late = (
        frame["departure_hour"] / 23
        + frame["wind_speed"] / 40
        + np.random.default_rng(9).normal(0, 0.5, ROWS)
    ) > 1.2
    numbers = [*NUMBERS, "weekday"]
    encoder = OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=-1,
        encoded_missing_value=-2,
        dtype=np.float32,
    )
    columns = ColumnTransformer(
        [("categories", encoder, list(CATEGORIES)), ("numbers", "passthrough", numbers)]
    )
    pipeline = Pipeline(
        [
            ("columns", columns),
            (
                "trees",
                HistGradientBoostingClassifier(max_iter=200, early_stopping=False, random_state=0),
            ),
        ]
    ).fit(frame, late)
    (folder / "pipeline.pkl").write_bytes(pickle.dumps(pipeline))
    (folder / "bodies").write_text(
        "\n".join(json.dumps({"instances": [row]}) for row in _json_rows(frame.head(500)))
    )
    _write_model_folder(folder / "model", pipeline, numbers)


def _json_rows(frame: pd.DataFrame) -> list[dict[str, object]]:
    return [
        row | {"weekday": int(row["weekday"])}
        for row in json.loads(frame.round(3).to_json(orient="records"))
    ]


def _write_model_folder(folder: Path, pipeline: Pipeline, numbers: list[str]) -> None:
    features = tuple(
        [Feature(name=name, type="category") for name in CATEGORIES]
        + [
            Feature(name=name, type="integer" if name == "weekday" else "number")
            for name in numbers
        ]
    )
    network = to_onnx(pipeline, features)
    card = ModelCard(
        model="flight-delay",
        task="binary_classification",
        technique="boosted_trees",
        io=ModelSchema(
            features=features, outputs=(Output(name="probability", minimum=0, maximum=1),)
        ),
        snapshot_id=digest_of_bytes(b"drawn"),
        recipe_digest=digest_of_bytes(b"bench"),
        files={"model.onnx": digest_of_bytes(network)},
    )
    folder.mkdir()
    (folder / "model.onnx").write_bytes(network)
    (folder / "model.json").write_bytes(card.to_bytes())


if __name__ == "__main__":
    main()
