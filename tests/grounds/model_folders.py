"""Makes small, real model folders: a fitted pipeline as ONNX and its card."""

# ruff: noqa: PLC0415  (skl2onnx takes seconds to import: only tests that make a folder pay)

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path

from retrain.contract import Feature, ModelAbout, ModelCard, ModelSchema, Output, digest_of_bytes

FEATURES = (
    Feature(name="carrier", type="category", known_categories=("AA", "B6", "UA")),
    Feature(name="distance", type="number", unit="mile", minimum=0),
    Feature(name="hour", type="integer", minimum=0, maximum=23),
    Feature(name="weekend", type="boolean"),
    Feature(name="wind_speed", type="number", unit="mile/hour", required=False),
)
"""One feature of each type, and one that a caller may leave out."""


ABOUT = ModelAbout(
    title="Will this flight arrive more than 15 minutes late?",
    example={"carrier": "UA", "distance": 1400.0, "hour": 17, "weekend": False},
)


def make_model_folder(
    folder: Path,
    *,
    seed: int = 0,
    features: tuple[Feature, ...] = FEATURES,
    model: str = "flight-delay",
    about: ModelAbout | None = None,
) -> ModelCard:
    """Write `model.onnx`, `model.json` and, when `about` is given, `about.json`; return the card.

    The same arguments give the same bytes within a session. Another seed gives other answers.
    """
    network = _onnx(seed, features)
    card = ModelCard(
        model=model,
        task="binary_classification",
        technique="boosted_trees",
        io=ModelSchema(
            features=features, outputs=(Output(name="probability", minimum=0, maximum=1),)
        ),
        snapshot_id=digest_of_bytes(f"snapshot {seed}".encode()),
        recipe_digest=digest_of_bytes(b"recipe"),
        files={"model.onnx": digest_of_bytes(network)}
        | ({"about.json": digest_of_bytes(about.to_bytes())} if about else {}),
    )
    folder.mkdir(parents=True, exist_ok=True)
    if about:
        (folder / "about.json").write_bytes(about.to_bytes())
    (folder / "model.onnx").write_bytes(network)
    (folder / "model.json").write_bytes(card.to_bytes())
    return card


@cache
def _onnx(seed: int, features: tuple[Feature, ...]) -> bytes:
    import numpy as np
    import pandas as pd
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OrdinalEncoder

    random = np.random.default_rng(seed)
    rows = 400
    columns = {f.name: _values(f, random, rows) for f in features}
    label = random.random(rows) < np.clip(
        sum((_score(v) for v in columns.values()), start=np.zeros(rows)) / len(columns), 0.05, 0.95
    )
    categories = [f.name for f in features if f.type == "category"]
    numbers = [f.name for f in features if f.type != "category"]
    encoder = OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=-1,
        encoded_missing_value=-2,
        dtype=np.float32,
    )
    pipeline = Pipeline(
        [
            (
                "columns",
                ColumnTransformer([("cat", encoder, categories), ("num", "passthrough", numbers)]),
            ),
            (
                "trees",
                HistGradientBoostingClassifier(
                    max_iter=20, max_leaf_nodes=7, early_stopping=False, random_state=seed
                ),
            ),
        ]
    ).fit(pd.DataFrame(columns), label)
    inputs = [
        (
            f.name,
            StringTensorType([None, 1]) if f.type == "category" else FloatTensorType([None, 1]),
        )
        for f in features
    ]
    with warnings.catch_warnings():
        # skl2onnx gives protobuf 6 booleans instead of integers. As an error this is a ValueError.
        warnings.simplefilter("ignore", DeprecationWarning)
        exported = to_onnx(
            pipeline,
            initial_types=inputs,
            options={"zipmap": False},
            target_opset={"": 17, "ai.onnx.ml": 3},
        )
    return bytes(exported.SerializeToString())


def _values(feature, random, rows):
    import numpy as np

    if feature.type == "category":
        return random.choice(np.array(feature.known_categories or ("A", "B"), dtype=object), rows)
    lower, upper = feature.minimum or 0.0, feature.maximum or 3000.0
    drawn = random.uniform(lower, upper, rows)
    if feature.type == "boolean":
        drawn = drawn > (lower + upper) / 2
    missing = random.random(rows) < (0.0 if feature.required else 0.2)
    return np.where(missing, np.nan, drawn).astype(np.float32)


def _score(values):
    import numpy as np

    codes = (
        np.unique(values, return_inverse=True)[1]
        if values.dtype == object
        else np.nan_to_num(values)
    )
    return codes / max(1.0, float(codes.max()))
