"""What MLflow needs beside a model folder: signature, example, and code for notebooks.

The model card does not list these files. promote, serving and batch never open them.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path

from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, Schema
from mlflow.types.schema import AnyType

from retrain.contract import ModelSchema
from retrain.model.folder import NETWORK_FILE
from retrain.runs.notebook import MODEL_FROM_CODE

EXAMPLE_FILE, CODE_FILE = "input_example.json", "model_from_code.py"


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
    row = {"columns": list(example), "data": [list(example.values())]}
    (folder / EXAMPLE_FILE).write_text(json.dumps(row))
    (folder / CODE_FILE).write_text(MODEL_FROM_CODE)
    Model(
        signature=_signature(io),
        saved_input_example_info={
            "artifact_path": EXAMPLE_FILE,
            "type": "dataframe",
            "pandas_orient": "split",
        },
        flavors={
            "onnx": {"data": NETWORK_FILE},
            "python_function": {
                "loader_module": "mlflow.pyfunc.model",
                "model_code_path": CODE_FILE,
                "python_version": platform.python_version(),
            },
        },
    ).save(str(folder / "MLmodel"))


def _signature(io: ModelSchema) -> ModelSignature:
    """Return inputs and outputs; a number may have any type.

    MLflow refuses a column of integers for a `double`, and of 64 bits for a `float`.
    """
    inputs = [
        ColSpec(
            "string" if feature.type == "category" else AnyType(),
            feature.name,
            required=feature.required,
        )
        for feature in io.features
    ]
    return ModelSignature(
        Schema(inputs), Schema([ColSpec("double", output.name) for output in io.outputs])
    )
