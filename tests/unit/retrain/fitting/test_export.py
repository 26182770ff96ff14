"""What leaves scikit-learn for ONNX exactly, and what the check must refuse."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from retrain.comparison.metrics import says_true
from retrain.contract import Feature, ModelAbout, ModelCard, ModelSchema, digest_of_bytes
from retrain.fitting.export import (
    OPSETS,
    Parity,
    check_parity,
    extreme_rows,
    loaded,
    model_about,
    model_card,
    model_schema,
    scores_of,
    to_onnx,
)
from retrain.fitting.frames import to_frame
from retrain.fitting.pipeline import make_pipeline
from retrain.fitting.training import labels_of
from retrain.model.arrow import columns_of_rows
from retrain.model.folder import write_folder
from retrain.model.program import Program
from retrain.spec.technique import Technique
from retrain.tasks.binary import BINARY
from tests.grounds.learnable_rows import FEATURES, LOGISTIC, TREES, make_rows, make_spec

ANSWER = BINARY.output("late", None)
IO = ModelSchema(features=FEATURES, outputs=(ANSWER,))
TRAIN, HELD_OUT = make_rows(3000), make_rows(600, seed=1)
LABELS = labels_of(TRAIN, "late", task="binary_classification")


def parity_of(pipeline, as_fitted=to_frame, train=TRAIN, held_out=HELD_OUT) -> Parity:
    pipeline.fit(as_fitted(FEATURES, train), LABELS)
    return check_parity(
        BINARY,
        pipeline,
        loaded(to_onnx(pipeline, FEATURES), FEATURES, ANSWER),
        FEATURES,
        held_out,
        as_fitted=as_fitted,
    )


def assembled(encode, prepare, estimator) -> Pipeline:
    columns = ColumnTransformer(
        [
            ("c", encode, ["carrier"]),
            ("n", prepare, ["distance", "weekday", "holiday", "wind_speed"]),
        ]
    )
    return Pipeline([("columns", columns), ("estimator", estimator)])


def codes(**options) -> OrdinalEncoder:
    return OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-1, dtype=np.float32, **options
    )


def trees(**options) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        max_iter=50, early_stopping=False, random_state=0, **options
    )


@pytest.mark.parametrize(
    "technique",
    [
        TREES,
        Technique(
            estimator=TREES.estimator,
            params={
                "max_iter": 30,
                "max_leaf_nodes": 8,
                "l2_regularization": 1.0,
                "learning_rate": 0.3,
            },
        ),
        LOGISTIC,
        Technique(estimator=LOGISTIC.estimator, params={"C": 0.01, "solver": "newton-cholesky"}),
    ],
    ids=["trees", "trees with parameters", "logistic", "logistic with parameters"],
)
def test_the_pipelines_we_build_answer_in_onnx_as_in_scikit_learn(technique):
    found = parity_of(make_pipeline(technique, FEATURES, seed=3))
    assert found.is_exact, found
    assert found.largest_difference < 1e-6


def with_nulls(features, rows):
    return to_frame(features, rows).assign(
        carrier=np.array(rows.column("carrier").to_pylist(), dtype=object)
    )


def test_the_check_refuses_a_fit_in_float64():
    def far(rows):
        """Distances as far apart as float32 cannot tell."""
        return rows.set_column(
            rows.column_names.index("distance"), "distance", pc.add(rows.column("distance"), 1e9)
        )

    found = parity_of(
        assembled(codes(encoded_missing_value=-2), "passthrough", trees()),
        in_float64,
        far(TRAIN),
        far(HELD_OUT),
    )
    assert not found.is_exact, found


def in_float64(features, rows):
    frame = to_frame(features, rows)
    return frame.assign(
        **{
            name: rows.column(name).cast("float64").to_numpy()
            for name in frame.columns
            if name != "carrier"
        }
    )


@pytest.mark.parametrize(
    ("pipeline", "as_fitted"),
    [
        (
            assembled(
                codes(encoded_missing_value=-2), "passthrough", trees(categorical_features=[0])
            ),
            to_frame,
        ),
        (assembled(codes(), "passthrough", trees()), with_nulls),
        (
            assembled(
                OneHotEncoder(handle_unknown="ignore"),
                SimpleImputer(add_indicator=True),
                LogisticRegression(solver="newton-cholesky"),
            ),
            to_frame,
        ),
    ],
    ids=["categorical_features", "encoder without a code for missing", "add_indicator"],
)
def test_the_check_refuses_what_exports_silently_wrong(pipeline, as_fitted):
    found = parity_of(pipeline, as_fitted)
    assert not found.is_exact, found


def test_what_is_wrong_for_a_missing_value_only_is_refused_though_no_held_out_row_misses_one():
    complete = HELD_OUT.filter(pc.is_valid(HELD_OUT.column("carrier")))
    found = parity_of(assembled(codes(), "passthrough", trees()), with_nulls, held_out=complete)
    assert not found.is_exact, found


def test_labels_are_compared_by_themselves():
    class OtherLabels(Program):
        def run(self, outputs, columns):
            labels, scores = super().run(outputs, columns)
            return np.where(np.arange(len(labels)) < 3, 1 - labels, labels), scores

    pipeline = make_pipeline(TREES, FEATURES, seed=0).fit(to_frame(FEATURES, TRAIN), LABELS)
    assert (
        check_parity(
            BINARY, pipeline, OtherLabels(to_onnx(pipeline, FEATURES), IO), FEATURES, HELD_OUT
        ).flipped_labels
        == 3
    )


@pytest.mark.parametrize("technique", [TREES, LOGISTIC], ids=["trees", "logistic"])
def test_the_networks_own_label_is_on_the_side_of_one_half_that_the_gate_reckons_with(technique):
    rows = pa.concat_tables(
        [HELD_OUT.slice(0, 1)] * 60
    )  # the same row, half of them true: nothing to learn
    pipeline = make_pipeline(technique, FEATURES, seed=0).fit(
        to_frame(FEATURES, rows), np.tile([0, 1], 30)
    )
    program = loaded(to_onnx(pipeline, FEATURES), FEATURES, ANSWER)
    labels, _ = program.run(["label", "probabilities"], columns_of_rows(FEATURES, rows))
    scores = scores_of(program, ANSWER, FEATURES, rows)
    assert set(scores) == {0.5}
    assert labels.astype(bool).tolist() == says_true(scores).tolist()


def test_a_flipped_label_is_refused_however_small_the_difference():
    assert Parity(rows=9, largest_difference=1e-9, flipped_labels=0, tolerance=1e-5).is_exact
    assert not Parity(rows=9, largest_difference=1e-9, flipped_labels=1, tolerance=1e-5).is_exact
    assert not Parity(rows=9, largest_difference=1.1e-5, flipped_labels=0, tolerance=1e-5).is_exact


def test_an_answer_that_is_no_number_is_an_infinite_difference():
    class NoNumber(Program):
        def run(self, outputs, columns):
            labels, scores = super().run(outputs, columns)
            scores[5] = np.nan
            return labels, scores

    pipeline = make_pipeline(TREES, FEATURES, seed=0).fit(to_frame(FEATURES, TRAIN), LABELS)
    found = check_parity(
        BINARY, pipeline, NoNumber(to_onnx(pipeline, FEATURES), IO), FEATURES, HELD_OUT
    )
    assert found.largest_difference == np.inf
    assert not found.is_exact


def test_every_feature_is_checked_missing_extreme_and_unknown():
    rows = extreme_rows(
        FEATURES, make_rows(1).select([feature.name for feature in FEATURES]).cast(_two_types())
    )
    for feature in FEATURES:
        assert rows.column(feature.name).null_count >= 2  # by itself, and with all others
        assert ("never seen in training" if feature.type == "category" else 1e30) in rows.column(
            feature.name
        ).to_pylist()


def _two_types() -> pa.Schema:
    return pa.schema(
        [
            (feature.name, pa.string() if feature.type == "category" else pa.float64())
            for feature in FEATURES
        ]
    )


FIT_ELSEWHERE = """
from tests.grounds.learnable_rows import *
from retrain.fitting.training import Fit, fit
from retrain.contract import digest_of_bytes
from retrain.tasks.binary import BINARY
for technique in (TREES, LOGISTIC):
    train, held_out = make_rows(3000), make_rows(600, seed=1)
    answer = BINARY.output("late", None)
    given = Fit("t", technique, FEATURES, BINARY.name, "late", None, answer, train, held_out, 7)
    print(digest_of_bytes(fit(given).network))
"""


def test_the_same_fit_has_the_same_bytes_in_another_process():
    """The exporter writes in the order of a set of strings, which depends on the hash seed."""
    found = set()
    for seed, threads in (("1", "1"), ("3", "2")):
        env = {**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": threads, "PYTHONPATH": "."}
        found.add(
            subprocess.run(
                [sys.executable, "-W", "ignore", "-c", FIT_ELSEWHERE],
                env=env,
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
    assert len(found) == 1, found


def test_a_model_is_written_in_the_operator_sets_that_we_fixed_not_in_the_exporters_newest():
    pipeline = make_pipeline(TREES, FEATURES, seed=0).fit(to_frame(FEATURES, TRAIN), LABELS)
    found = {
        opset.domain: opset.version
        for opset in onnx.load_from_string(to_onnx(pipeline, FEATURES)).opset_import
    }
    assert found[""] == OPSETS[""]
    assert (
        found["ai.onnx.ml"] <= OPSETS["ai.onnx.ml"]
    )  # the oldest that has all operators of the model


def test_a_model_folder_holds_what_its_card_names(tmp_path):
    about = model_about("Late?", FEATURES, TRAIN)
    card = model_card(
        make_spec(),
        "boosted_trees",
        digest_of_bytes(b"snapshot"),
        model_schema(FEATURES, TRAIN, ANSWER),
        b"network",
        about=about,
    )
    write_folder(tmp_path / "model", card, b"network", about=about)
    read = ModelCard.model_validate_json((tmp_path / "model" / "model.json").read_bytes())
    assert read == card
    assert {
        name: digest_of_bytes((tmp_path / "model" / name).read_bytes()) for name in read.files
    } == read.files
    assert digest_of_bytes((tmp_path / "model" / "model.json").read_bytes()) == card.model_digest


def test_the_example_is_the_first_row_as_a_caller_sends_it_without_missing_values():
    features = [
        Feature(name=name, type=name) for name in ("number", "integer", "boolean", "category")
    ]
    features += [
        Feature(name=f"no_{name}", type=name, required=False) for name in ("number", "category")
    ]
    row = {
        "number": 719,
        "integer": 4.0,
        "boolean": 1,
        "category": 7,
        "no_number": float("nan"),
        "no_category": "",
    }
    about = model_about("Late?", features, pa.Table.from_pylist([row, row]))
    assert (
        about.to_bytes()
        == b'{"example":{"boolean":true,"category":"7","integer":4,"number":719.0},'
        b'"title":"Late?"}\n'
    )
    assert ModelAbout.model_validate_json(about.to_bytes()) == about


def test_a_schema_knows_the_categories_of_the_training_rows_sorted_and_without_the_missing_one():
    schema = model_schema(FEATURES, TRAIN, ANSWER)
    assert schema.features[0].known_categories == ("AA", "B6", "UA", "żółć")
    empty = TRAIN.set_column(
        TRAIN.column_names.index("carrier"), "carrier", pc.fill_null(TRAIN.column("carrier"), "")
    )
    assert model_schema(FEATURES, empty, ANSWER) == schema
    assert [output.name for output in schema.outputs] == ["probability"]
    assert json.loads(schema.model_dump_json())["features"][1]["unit"] == "mile"


def test_a_missing_category_and_an_empty_one_are_the_same():
    pipeline = make_pipeline(TREES, FEATURES, seed=0).fit(to_frame(FEATURES, TRAIN), LABELS)
    program = loaded(to_onnx(pipeline, FEATURES), FEATURES, ANSWER)
    row = HELD_OUT.slice(0, 1)
    missing, empty = (
        row.set_column(
            row.column_names.index("carrier"), "carrier", [pa.array([value], pa.string())]
        )
        for value in (None, "")
    )
    assert scores_of(program, ANSWER, FEATURES, missing) == scores_of(
        program, ANSWER, FEATURES, empty
    )


def test_whole_numbers_and_booleans_enter_as_float32():
    features = (Feature(name="weekday", type="integer"), Feature(name="holiday", type="boolean"))
    assert {str(column.dtype) for column in columns_of_rows(features, HELD_OUT).values()} == {
        "float32"
    }


def test_a_value_between_two_values_of_the_training_rows_is_on_the_trees_side():
    """A threshold lies in the middle. Rounded to 32 bits it may be the value itself."""
    grid = np.round(np.arange(0, 2, 0.02), 2)
    train, between = np.tile(grid, 40), np.round(grid + 0.01, 2)
    wind = Feature(name="wind", type="number")
    rows, asked = pa.table({"wind": train}), pa.table({"wind": between})
    trees = Technique(
        estimator="sklearn.ensemble.HistGradientBoostingClassifier", params={"max_iter": 30}
    )
    pipeline = make_pipeline(trees, [wind], seed=0)
    pipeline.fit(to_frame([wind], rows), (np.arange(len(train)) * 7 % 3 == 0).astype(int))
    before = pipeline.predict_proba(to_frame([wind], asked))
    program = loaded(to_onnx(pipeline, [wind]), [wind], ANSWER)
    assert (pipeline.predict_proba(to_frame([wind], asked)) == before).all()
    found = check_parity(BINARY, pipeline, program, [wind], asked)
    assert found.is_exact, found
