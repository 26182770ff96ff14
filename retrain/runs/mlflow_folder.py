"""What MLflow needs beside a model folder: `MLmodel` with the signature, and an example.

The model card does not list these files. promote, serving and batch never open them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, Schema

from retrain.contract import ModelSchema


def describe_for_mlflow(
    folder: Path, io: ModelSchema, example: Mapping[str, float | str | None]
) -> None:
    """Add MLflow's files to a model folder.

    Not by `log_model`, which takes seconds to guess the requirements.

    Args:
        folder: Holds the model's own files.
        io: Inputs and outputs of the model.
        example: One row of inputs by feature.
    """
    columns = [
        ColSpec(
            "string" if feature.type == "category" else "float",
            feature.name,
            required=feature.required,
        )
        for feature in io.features
    ]
    signature = ModelSignature(
        Schema(columns), Schema([ColSpec("double", output.name) for output in io.outputs])
    )
    saved = {"artifact_path": "input_example.json", "type": "dataframe", "pandas_orient": "split"}
    (folder / "input_example.json").write_text(
        json.dumps({"columns": list(example), "data": [list(example.values())]})
    )
    Model(
        signature=signature,
        saved_input_example_info=saved,
        flavors={"onnx": {"data": "model.onnx"}},
    ).save(str(folder / "MLmodel"))
