"""Techniques are fitted side by side; one that fails says why, and the others go on."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from retrain.contract import Feature
from retrain.errors import OneClassLabel, TrainingError
from retrain.fitting.training import Fit, Fitted, Ineligible, fit, fit_all, labels_of, warm_up
from retrain.spec.technique import Technique
from retrain.tasks.binary import BINARY
from retrain.tasks.regression import REGRESSION
from retrain.tasks.table import TASKS
from retrain.tasks.task import OutputForm
from tests.grounds.learnable_rows import FEATURES, LOGISTIC, TREES, make_rows

ROOT = Path(__file__).parents[4]
TRAIN, HELD_OUT = make_rows(1200), make_rows(300, seed=1)


def task(name: str, technique: Technique, **changes) -> Fit:
    return Fit(
        **{
            "name": name,
            "technique": technique,
            "task": BINARY.name,
            "weight": None,
            "answer": BINARY.output("late", None),
            "features": FEATURES,
            "label": "late",
            "train": TRAIN,
            "held_out": HELD_OUT,
            "seed": 7,
            **changes,
        }
    )


def test_a_fit_answers_with_the_scores_of_what_ships():
    found = fit(task("boosted_trees", TREES))
    assert isinstance(found, Fitted)
    assert found.scores.shape == (300,)
    assert np.mean((found.scores > 0.5) == labels_of(HELD_OUT, "late", task=BINARY.name)) > 0.6


def test_the_seed_decides_the_bytes():
    technique = Technique(estimator=TREES.estimator, params={"max_iter": 5, "max_features": 0.4})
    one, again, other = (fit(task("boosted_trees", technique, seed=seed)) for seed in (1, 1, 2))
    assert one.network == again.network != other.network


def test_a_feature_without_any_value_is_left_out():
    empty = TRAIN.set_column(
        TRAIN.column_names.index("wind_speed"), "wind_speed", pa.nulls(TRAIN.num_rows, pa.float64())
    )
    for technique in (TREES, LOGISTIC):
        found = fit(task("t", technique, train=empty))
        assert isinstance(found, Fitted), found
        assert "wind_speed" not in [feature.name for feature in found.features]


def test_a_technique_that_cannot_be_fitted_says_why_and_the_others_go_on():
    refused = task("refused", Technique(estimator=LOGISTIC.estimator, params={"C": -1}))
    found = fit_all([refused, task("logistic", LOGISTIC)], workers=1)
    assert isinstance(found[0], Ineligible)
    assert "'C' parameter" in found[0].reason
    assert isinstance(found[1], Fitted)


def test_a_technique_whose_export_is_wrong_is_not_eligible(monkeypatch):
    stricter = replace(BINARY, tolerance=0.0)  # no export is that exact
    monkeypatch.setitem(TASKS, BINARY.name, stricter)
    found = fit(task("boosted_trees", TREES))
    assert isinstance(found, Ineligible)
    says = re.search(
        r"does not answer as scikit-learn does: largest difference .* in (\d+) rows", found.reason
    )
    assert int(says[1]) > HELD_OUT.num_rows  # all of them, and rows of extreme values


def die(_: Fit) -> None:
    os._exit(9)


def die_or_fit(one: Fit):
    return die(one) if one.name == "deadly" else fit(one)


def test_processes_give_what_one_process_gives_and_outlive_a_technique_that_dies(monkeypatch):
    monkeypatch.setattr("retrain.fitting.training.fit", die_or_fit)
    warm_up()
    tasks = [task("deadly", TREES), task("logistic", LOGISTIC), task("boosted_trees", TREES)]
    deadly, *others = fit_all(tasks, workers=2)
    assert isinstance(deadly, Ineligible)
    assert "its process died" in deadly.reason
    assert [one.network for one in others] == [fit(one).network for one in tasks[1:]]


WITHOUT_A_GUARD = """
import sys
from pathlib import Path
from tests.unit.retrain.fitting.test_training import LOGISTIC, TREES, task
from retrain.fitting.training import fit_all
fit_all([task("logistic", LOGISTIC), task("boosted_trees", TREES)], workers=2)
"""


def test_processes_that_cannot_start_end_the_run_and_say_so(tmp_path):
    program = tmp_path / "retrain"
    program.write_text(WITHOUT_A_GUARD)  # each process would do all of it again
    done = subprocess.run(
        [sys.executable, program],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1
    assert "TrainingError: the processes that train cannot start" in done.stderr
    assert "before the\n        current process has finished its bootstrapping phase" in done.stderr


WAIT_FOR_WORK = """
import os
from retrain.fitting.training import _pool
with _pool(1) as pool:
    print(pool.submit(os.getpid).result(), flush=True)
    input()
"""


def test_a_worker_that_waits_for_work_ends_when_its_parent_is_killed():
    with subprocess.Popen(
        [sys.executable, "-c", WAIT_FOR_WORK],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        worker = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    ended, _, _ = select.select([worker], [], [], 10)
    os.close(worker)
    assert ended


def test_a_label_of_one_class_is_refused_by_name():
    late = TRAIN.filter(TRAIN.column("late"))
    with pytest.raises(
        OneClassLabel, match=rf"all {late.num_rows} validation rows have late = True"
    ):
        labels_of(late, "late", task=BINARY.name, split="validation")


@pytest.mark.parametrize(
    ("labels", "says"),
    [([True, None], "1 of 2 train rows have no label"), ([1, 2], "must be true or false")],
)
def test_a_label_that_is_missing_or_neither_is_refused(labels, says):
    with pytest.raises(TrainingError, match=says):
        labels_of(pa.table({"late": labels}), "late", task=BINARY.name)


def test_labels_of_zero_and_one_are_labels():
    assert labels_of(pa.table({"late": [0, 1, 1]}), "late", task=BINARY.name).tolist() == [0, 1, 1]


def test_a_column_of_the_wrong_kind_is_the_techniques_failure_not_the_runs():
    found = fit(
        task("boosted_trees", TREES, features=(*FEATURES, Feature(name="not_there", type="number")))
    )
    assert isinstance(found, Ineligible)


@pytest.mark.parametrize(
    ("estimator", "params"),
    [
        ("ensemble.HistGradientBoostingRegressor", {}),
        ("ensemble.HistGradientBoostingRegressor", {"loss": "poisson"}),
        ("ensemble.HistGradientBoostingRegressor", {"loss": "gamma"}),
        ("ensemble.RandomForestRegressor", {"n_estimators": 10}),
        ("linear_model.Ridge", {}),
    ],
)
def test_a_regression_is_fitted_exported_and_scored_in_the_labels_unit(estimator, params):
    minutes = REGRESSION.output("delay", OutputForm(name="delay", unit="minute"))

    def with_delays(rows):
        miles = rows.column("distance").to_numpy().astype(float)
        return rows.append_column("delay", pa.array(1_000 + np.nan_to_num(miles) / 5))

    given = Fit(
        "one",
        Technique(estimator=f"sklearn.{estimator}", params=params),
        FEATURES,
        REGRESSION.name,
        "delay",
        None,
        minutes,
        with_delays(TRAIN),
        with_delays(HELD_OUT),
        7,
    )
    found = fit(given)
    assert isinstance(found, Fitted), found
    truth = labels_of(given.held_out, "delay", task=REGRESSION.name)
    errors = np.abs(found.scores - truth)
    assert errors.mean() < 0.3 * np.abs(truth - np.median(truth)).mean()


def test_an_estimator_of_another_task_is_not_eligible_and_says_why():
    found = fit(replace(task("logistic", LOGISTIC), task=REGRESSION.name))
    assert isinstance(found, Ineligible)
    assert "LogisticRegression is no regressor" in found.reason


def with_weights(rows: pa.Table, weights) -> pa.Table:
    return rows.append_column("weight", pa.array(weights))


def test_weights_count_in_the_fit():
    """Rows of weight 0 are as if they were not there."""
    carriers = np.array([name or "" for name in TRAIN.column("carrier").to_pylist()])
    kept = TRAIN.filter(pa.array(carriers != "B6"))
    plain = replace(task("logistic", LOGISTIC), train=kept)
    weighted = replace(
        task("logistic", LOGISTIC),
        train=with_weights(TRAIN, (carriers != "B6").astype(float)),
        weight="weight",
    )
    found, expected = fit(weighted), fit(plain)
    assert isinstance(found, Fitted), found
    assert isinstance(expected, Fitted)
    others = np.array([name != "B6" for name in HELD_OUT.column("carrier").to_pylist()])
    assert np.abs(found.scores - expected.scores)[others].max() < 0.02  # the scale saw all rows
    alike = replace(weighted, train=with_weights(TRAIN, np.ones(TRAIN.num_rows)))
    assert np.abs(fit(alike).scores - fit(task("logistic", LOGISTIC)).scores).max() < 1e-6


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        (np.zeros(TRAIN.num_rows), "above 0 somewhere"),
        (np.full(TRAIN.num_rows, -1.0), "at least 0"),
        (np.full(TRAIN.num_rows, np.nan), "must be finite"),
    ],
)
def test_weights_that_no_fit_can_use_are_refused(weights, sentence):
    found = fit(
        replace(task("logistic", LOGISTIC), train=with_weights(TRAIN, weights), weight="weight")
    )
    assert isinstance(found, Ineligible)
    assert sentence in found.reason


def test_an_estimator_without_weights_is_named():
    network = Technique(estimator="sklearn.linear_model.LassoLarsIC")
    given = replace(
        task("one", network),
        task=REGRESSION.name,
        answer=REGRESSION.output("late", OutputForm(name="late")),
        train=with_weights(TRAIN, np.ones(TRAIN.num_rows)),
        weight="weight",
    )
    found = fit(given)
    assert isinstance(found, Ineligible)
    assert "LassoLarsIC takes no weights, and `columns.weight` is weight" in found.reason
