"""A fitted pipeline as ONNX, the proof that the answers agree, and the model's card.

The bytes depend on the fit alone, so the same fit has the same model digest.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from retrain.contract import (
    Feature,
    ModelAbout,
    ModelCard,
    ModelSchema,
    Output,
    digest_of_bytes,
)
from retrain.fitting.frames import to_frame
from retrain.model.arrow import columns_of_rows
from retrain.model.columns import MISSING_CATEGORY
from retrain.model.folder import ABOUT_FILE, NETWORK_FILE
from retrain.model.program import Program
from retrain.spec.model_file import ModelSpec
from retrain.tasks.task import Task

if TYPE_CHECKING:
    from sklearn.pipeline import (
        Pipeline,
    )  # takes seconds to import, which only a worker that fits should pay

OPSETS = {"": 17, "ai.onnx.ml": 3}
"""Fixed, so that a newer exporter does not change a model's bytes."""
LOG_LINKED = frozenset({"poisson", "gamma"})
"""Losses of boosted trees whose trees add up to the logarithm of the answer."""
EXTREME_NUMBERS = (0.0, -1.0, 0.5, 16_777_217.0, 1e30, -1e30, None)
"""16,777,217 is the first whole number that float32 lacks."""
EXTREME_CATEGORIES = ("never seen in training", "żółć 雪", " ", MISSING_CATEGORY, None)
Floats = npt.NDArray[np.float64]
AsFitted = Callable[[Sequence[Feature], pa.Table], pd.DataFrame]


@dataclass(frozen=True)
class Parity:
    """How far the exported model's answers are from scikit-learn's on the same rows."""

    rows: int
    largest_difference: float
    """As the task measures it; infinite when an answer is not a number."""
    flipped_labels: int
    tolerance: float
    """The task's."""

    @property
    def is_exact(self) -> bool:
        """True when the export may ship."""
        return self.flipped_labels == 0 and self.largest_difference <= self.tolerance

    def __str__(self) -> str:
        flipped = f"{self.flipped_labels} labels flipped, in {self.rows} rows"
        return f"largest difference {self.largest_difference:.1e}, {flipped}"


def to_onnx(pipeline: Pipeline, features: Sequence[Feature]) -> bytes:
    """Return the network, with an input [N, 1] a feature.

    Its outputs are `label` [N] and `probabilities` [N, 2], or `variable` [N, 1] of a regressor.
    """
    from skl2onnx import to_onnx as convert  # noqa: PLC0415 - slow to import, and only a worker that exports needs it
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType  # noqa: PLC0415 - as above
    from sklearn.base import is_classifier  # noqa: PLC0415 - as above

    _floor_thresholds(pipeline)
    inputs = [
        (
            feature.name,
            StringTensorType([None, 1])
            if feature.type == "category"
            else FloatTensorType([None, 1]),
        )
        for feature in features
    ]
    # The name is among the bytes, and the exporter's own name is random in some functions.
    # skl2onnx 1.20 writes booleans where protobuf 7 takes integers only: protobuf stays below 7.
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Field onnx.AttributeProto.ints: Expected an int", DeprecationWarning
        )
        network = convert(
            pipeline,
            name="model",
            initial_types=inputs,
            options={"zipmap": False} if is_classifier(pipeline) else {},
            target_opset=OPSETS,
        )
    if getattr(pipeline[-1], "loss", None) in LOG_LINKED and hasattr(pipeline[-1], "_predictors"):
        _append_exp(network.graph)
    opsets = sorted(
        network.opset_import, key=lambda opset: str(opset.domain)
    )  # the exporter's order is a set's: another in each process
    del network.opset_import[:]
    network.opset_import.extend(opsets)
    return bytes(network.SerializeToString(deterministic=True))


def _append_exp(graph: Any) -> None:
    """Make the answer of boosted trees exp(sum of the trees), which the exporter leaves out."""
    from onnx.helper import make_node  # noqa: PLC0415 - slow to import, as above

    (answer,) = graph.output
    for node in graph.node:
        node.output[:] = ["sum_of_trees" if it == answer.name else it for it in node.output]
    graph.node.append(make_node("Exp", ["sum_of_trees"], [answer.name], name="Exp"))


def _floor_thresholds(pipeline: Pipeline) -> None:
    """Make each threshold of boosted trees the largest 32-bit number that is not above it.

    The trees compare 64-bit thresholds, ONNX 32-bit ones. A rounded threshold may reach a value
    that lies just above it, such as 0.18 between 0.17 and 0.19. Numbers of rows have 32 bits, so
    the trees' own answers stay.
    """
    for stage in getattr(pipeline[-1], "_predictors", ()):
        for predictor in stage:
            wide = predictor.nodes["num_threshold"]
            narrow = wide.astype(np.float32)
            is_above = narrow > wide
            narrow[is_above] = np.nextafter(narrow[is_above], np.float32(-np.inf))
            predictor.nodes["num_threshold"] = narrow


def loaded(network: bytes, features: Sequence[Feature], answer: Output) -> Program:
    """Return an exported network, ready to answer."""
    return Program(network, ModelSchema(features=tuple(features), outputs=(answer,)))


def scores_of(
    program: Program, answer: Output, features: Sequence[Feature], rows: pa.Table
) -> Floats:
    """Return the answer to each row, shape [N]."""
    columns = columns_of_rows(features, rows)
    return program.answer(columns)[answer.name].astype(np.float64)


def check_parity(
    task: Task,
    pipeline: Pipeline,
    program: Program,
    features: Sequence[Feature],
    rows: pa.Table,
    *,
    as_fitted: AsFitted = to_frame,
) -> Parity:
    """Compare both on `rows`, and on the first row with extreme, missing and unknown values.

    Args:
        task: The model's.
        pipeline: Fitted.
        program: Its export, loaded.
        features: The model's inputs.
        rows: At least one.
        as_fitted: Makes the frame that scikit-learn answers, as the one it was fitted on was made.
    """
    asked = _in_two_types(features, rows)
    asked = pa.concat_tables([asked, extreme_rows(features, asked)])
    answers = program.run(task.network_outputs, columns_of_rows(features, asked))
    found = task.difference(answers, pipeline, as_fitted(features, asked), ordinary=rows.num_rows)
    return Parity(asked.num_rows, found.largest, found.flipped, task.tolerance)


def extreme_rows(features: Sequence[Feature], rows: pa.Table) -> pa.Table:
    """Return copies of the first row with one extreme value each, and one of missing values."""
    first = rows.slice(0, 1).to_pylist()[0]
    changed = [
        {**first, feature.name: value} for feature in features for value in _extremes(feature)
    ]
    changed.append({feature.name: None for feature in features})
    return pa.Table.from_pylist(changed, schema=rows.schema)


def model_schema(features: Sequence[Feature], rows: pa.Table, answer: Output) -> ModelSchema:
    """Return the input and output of a model fitted on `rows`, with the categories that it saw."""
    return ModelSchema(
        features=tuple(
            feature.model_copy(update={"known_categories": _known_categories(feature, rows)})
            for feature in features
        ),
        outputs=(answer,),
    )


def model_about(title: str, features: Sequence[Feature], rows: pa.Table) -> ModelAbout:
    """Return title and example, which is the first of `rows` without its missing values."""
    row = rows.slice(0, 1).to_pylist()[0]
    example = {feature.name: _as_sent(feature, row[feature.name]) for feature in features}
    return ModelAbout(
        title=title, example={name: value for name, value in example.items() if value is not None}
    )


def model_card(
    spec: ModelSpec,
    technique: str,
    snapshot_id: str,
    io: ModelSchema,
    network: bytes,
    *,
    about: ModelAbout,
) -> ModelCard:
    """Return the card that names the model's content."""
    return ModelCard(
        format_version=2,
        model=spec.name,
        task=spec.task,
        technique=technique,
        io=io,
        snapshot_id=snapshot_id,
        recipe_digest=spec.recipe_digest(technique),
        files={
            NETWORK_FILE: digest_of_bytes(network),
            ABOUT_FILE: digest_of_bytes(about.to_bytes()),
        },
    )


def _as_sent(feature: Feature, value: Any) -> bool | int | float | str | None:
    """Return a cell as a caller sends it; None when it is missing or no JSON number."""
    if value is None or value == MISSING_CATEGORY:
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    kinds: Mapping[str, Callable[[Any], bool | int | float | str]] = {
        "number": float,
        "integer": int,
        "boolean": bool,
        "category": str,
    }
    return kinds[feature.type](value)


def _extremes(feature: Feature) -> Sequence[float | str | None]:
    return EXTREME_CATEGORIES if feature.type == "category" else EXTREME_NUMBERS


def _in_two_types(features: Sequence[Feature], rows: pa.Table) -> pa.Table:
    types = [pa.string() if feature.type == "category" else pa.float64() for feature in features]
    columns = [
        rows.column(feature.name).cast(kind, safe=False)
        for feature, kind in zip(features, types, strict=True)
    ]
    return pa.table(columns, names=[feature.name for feature in features])


def _known_categories(feature: Feature, rows: pa.Table) -> tuple[str, ...]:
    if feature.type != "category":
        return ()
    seen = pc.unique(rows.column(feature.name).cast(pa.string())).to_pylist()
    return tuple(sorted(name for name in seen if name))
