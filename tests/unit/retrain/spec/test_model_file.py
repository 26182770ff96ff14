import importlib
import inspect
import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from retrain.errors import InvalidSpec
from retrain.spec.estimators import CHOSEN_BY_RATCHET, ESTIMATORS, parameters_of
from retrain.spec.model_file import ModelSpec, parse_spec, published_schema

MINIMAL = """\
name: flight-delay
owner: "@acme/ml-platform"
task: binary_classification
query: flight-delay.sql
columns: {key: id, event_time: at, label: late, groups: day}
label_delay: 1 day
features: {carrier: category, distance: {type: number, unit: mile, minimum: 0}}
"""
MODELS = Path(__file__).parents[4] / "dags" / "models"


def parsed(text: str = MINIMAL, query: str | None = "SELECT 1") -> ModelSpec:
    return parse_spec(text, path="m.yaml", query_text=query)


def mistakes_in(text: str, query: str | None = "SELECT 1") -> list[str]:
    with pytest.raises(InvalidSpec) as caught:
        parsed(text, query)
    return [str(mistake) for mistake in caught.value.mistakes]


def test_a_minimal_file_has_the_defaults_of_the_design() -> None:
    spec = parsed()
    assert (spec.schedule, spec.source, spec.window_months, spec.serving.replicas) == (
        "0 6 * * MON",
        "warehouse",
        3,
        2,
    )
    assert (spec.validation, spec.test, spec.late_rows) == (
        timedelta(days=14),
        timedelta(days=7),
        timedelta(days=14),
    )
    assert list(spec.techniques) == ["boosted_trees", "logistic"]
    assert (
        spec.gate.metric,
        spec.gate.refresh.worse_by_at_most,
        spec.gate.change.better_with_confidence,
    ) == ("log_loss", 0.01, 0.95)


def test_features_are_read_in_short_and_in_long_form() -> None:
    carrier, distance = parsed().features
    assert (carrier.name, carrier.type, carrier.required) == ("carrier", "category", True)
    assert (distance.unit, distance.minimum) == ("mile", 0)


def test_three_mistakes_are_reported_at_once_each_with_its_line() -> None:
    text = (
        MINIMAL.replace("label_delay: 1 day", "label_delay: soon")
        .replace("owner:", "ownr:")
        .replace("type: number", "type: numbr")
    )
    assert mistakes_in(text) == [
        "m.yaml:1: `owner` is missing; it has no default",
        "m.yaml:2: `ownr` is not a field; did you mean `owner`?",
        "m.yaml:6: `label_delay` must be a number with minutes, hours, days or weeks,"
        " such as `14 days`, is `soon`",
        "m.yaml:7: `features.distance.type` must be `number`, `integer`, `boolean` or `category`,"
        " is `numbr`",
    ]


@pytest.mark.parametrize(
    ("added", "sentence"),
    [
        ("owner: again", "m.yaml:8: `owner` is given twice, first on line 2"),
        (
            "gate: {metric: log_los}",
            "m.yaml:8: `gate.metric` must be a metric, is `log_los`; did you mean `log_loss`?",
        ),
        (
            "gate: {guardrails: {auc: 0.1}}",
            "m.yaml:8: `gate.guardrails.auc` must be a metric, is `auc`; did you mean `roc_auc`?",
        ),
        ("gate: {worthwhile: 200 %}", "m.yaml:8: `gate.worthwhile` must be below 1.0, is `2.0`"),
        (
            "gate: {worthwhile: .nan}",
            "m.yaml:8: `gate.worthwhile` must be a finite number, is `nan`",
        ),
        ("gate: {slices: {by: origin}}", "m.yaml:8: `gate.slices.by` must be a list, is `origin`"),
        (
            "gate: {refresh: {confidnce: 0.9}}",
            "m.yaml:8: `gate.refresh.confidnce` is not a field; did you mean `confidence`?",
        ),
        ("serving: {replicas: '2'}", "m.yaml:8: `serving.replicas` must be a whole number, is `2`"),
        (
            "window: 14 days",
            "m.yaml:8: `window` must be calendar months, such as `3 months`, is `14 days`",
        ),
        (
            "window: 0 months",
            "m.yaml:8: `window` must be calendar months, such as `3 months`, is `0 months`",
        ),
        ("test: 0 days", "m.yaml:8: `test` must be above 0 seconds, is `0:00:00`"),
        (
            "validation: 80 days\ntest: 13 days",
            "m.yaml:9: `label_delay`, `validation` and `test` leave no day of the window of 3"
            " months to train on",
        ),
        (
            "window: 1 month\ntest: 20 days",
            "m.yaml:9: `label_delay`, `validation` and `test` leave no day of the window of a"
            " month to train on",
        ),
        ("schedule: 60 6 * * MON", "m.yaml:8: `schedule` has the minute 60; it goes from 0 to 59"),
        (
            "schedule: '0 6 0 * *'",
            "m.yaml:8: `schedule` has the day of the month 0;",
        ),
        ("schedule: 0 6,24 * * 1", "m.yaml:8: `schedule` has the hour 24; it goes from 0 to 23"),
        ("schedule: weekly", r"m.yaml:8: `schedule` must match ^\S+( \S+){4}$, is `weekly`"),
        ("query_text: SELECT 1", "m.yaml:8: `query_text` is not a field; did you mean `query`?"),
        (
            "techniques: {a: {estimator: os.system}}",
            "m.yaml:8: `techniques.a.estimator` must be an estimator that exports exactly,"
            " is `os.system`",
        ),
        (
            "techniques: {a: {estimator: sklearn.linear_model.LogisticRegression, params: {c: 1}}}",
            "m.yaml:8: `techniques.a` has no parameter `c`",
        ),
        (
            "techniques: {a: {estimator: sklearn.linear_model.LogisticRegression,"
            " params: {random_state: 1}}}",
            "m.yaml:8: `techniques.a` leaves random_state to Ratchet",
        ),
    ],
)
def test_a_mistake_is_named_with_what_is_allowed(added: str, sentence: str) -> None:
    (found,) = mistakes_in(MINIMAL + added + "\n")
    assert found.startswith(sentence)


@pytest.mark.parametrize(
    "schedule", ["*/90 6 * * MON#2", "0-59/7 0,23 1-31 JAN-DEC 0-7", "@ 6 L ? SUN", "0 6 * * 5#3"]
)
def test_what_airflow_may_understand_is_left_to_airflow(schedule: str) -> None:
    assert parsed(MINIMAL + f'schedule: "{schedule}"\n').schedule == schedule


def test_a_label_delay_as_long_as_the_window_is_refused() -> None:
    (found,) = mistakes_in(re.sub(r"label_delay: .*", "label_delay: 93 days", MINIMAL))
    assert "`label_delay` is as long as the window of 3 months: no label would be known" in found


@pytest.mark.parametrize("task", ["multiclass_classification", "ranking"])
def test_a_task_that_is_not_built_yet_is_refused(task: str) -> None:
    (found,) = mistakes_in(MINIMAL.replace("binary_classification", task))
    assert found.startswith(
        f"m.yaml:3: `task` must be `binary_classification` or `regression`, is `{task}`"
    )


def test_the_label_cannot_be_a_feature() -> None:
    assert mistakes_in(MINIMAL.replace("carrier: category", "late: boolean")) == [
        "m.yaml:7: `features.late` is the label of the rows and cannot be an input of the model"
    ]


def test_one_column_cannot_play_two_parts() -> None:
    assert mistakes_in(MINIMAL.replace("groups: day", "groups: id")) == [
        "m.yaml:5: `columns.groups` names the column `id`, which is the key already"
    ]


def test_a_minimum_above_the_maximum_and_a_bounded_category_are_mistakes() -> None:
    text = MINIMAL.replace("carrier: category", "carrier: {type: category, minimum: 1}").replace(
        "minimum: 0", "minimum: 3, maximum: 1"
    )
    assert mistakes_in(text) == [
        "m.yaml:7: `features.carrier` is a category and has no minimum or maximum",
        "m.yaml:7: `features.distance` has a minimum of 3.0 above its maximum of 1.0",
    ]


def test_a_query_that_is_not_beside_the_yaml_is_a_mistake() -> None:
    assert mistakes_in(MINIMAL, query=None) == [
        "m.yaml:4: `query` names `flight-delay.sql`, which is not beside the YAML"
    ]


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words"])
def test_a_file_that_is_no_mapping_is_one_mistake(text: str) -> None:
    (found,) = mistakes_in(text)
    assert found.startswith("m.yaml:1: `the file` must be a mapping")


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "a: b: c",
        "a: &x [*x]\nb: *y",
        "\ta: 1",
        "{" * 3000,
        "a: &x [*x]",
        "name: 2013-13-45",
    ],
)
def test_text_that_is_no_yaml_is_a_mistake_with_a_line(text: str) -> None:
    assert mistakes_in(text)[0].startswith("m.yaml:")


def test_python_objects_in_yaml_are_not_made() -> None:
    assert mistakes_in(MINIMAL + "title: !!python/object/apply:os.getcwd []\n") == [
        "m.yaml:8: `tag:yaml.org,2002:python/object/apply:os.getcwd` has no meaning here;"
        " write plain values",
        "m.yaml:8: `title` must be text, is `None`",
    ]


def test_the_plan_changes_with_what_is_learned_and_not_with_words_or_the_gate() -> None:
    plan = parsed().plan_digest
    same = (
        MINIMAL.replace("unit: mile", "unit: km, description: far").replace(
            "@acme/ml-platform", "someone"
        )
        + "title: T\ngate: {worthwhile: 2 %}\nserving: {replicas: 5}\n"
    )
    assert parsed(same).plan_digest == plan
    others = [
        parsed(query="SELECT 2"),
        parsed(MINIMAL.replace("minimum: 0", "minimum: 1")),
        parsed(MINIMAL.replace("1 day", "2 days")),
        parsed(MINIMAL + "window: 2 months\n"),
        parsed(MINIMAL + "gate: {metric: brier}\n"),
        parsed(
            MINIMAL
            + "techniques: {logistic: {estimator: sklearn.linear_model.LogisticRegression}}\n"
        ),
    ]
    assert len({plan, *(other.plan_digest for other in others)}) == 7


def test_a_recipe_is_the_plan_with_one_technique() -> None:
    both, one = (
        parsed(),
        parsed(
            MINIMAL
            + "techniques: {logistic: {estimator: sklearn.linear_model.LogisticRegression}}\n"
        ),
    )
    assert both.recipe_digest("logistic") == one.recipe_digest("logistic") == one.plan_digest
    assert both.recipe_digest("logistic") != both.recipe_digest("boosted_trees")


def test_line_ends_of_another_system_do_not_change_the_query() -> None:
    assert (
        parsed(query="SELECT 1\nFROM x").query_digest
        == parsed(query="SELECT 1\r\nFROM x").query_digest
    )


@pytest.mark.parametrize("path", sorted(ESTIMATORS))
def test_allowed_parameters_are_the_estimators_own(path: str) -> None:
    module, _, name = path.rpartition(".")
    parameters = set(inspect.signature(getattr(importlib.import_module(module), name)).parameters)
    assert parameters >= parameters_of(path)
    assert not parameters_of(path) & CHOSEN_BY_RATCHET


def test_the_page_of_estimators_names_those_that_a_model_file_may_name() -> None:
    page = (MODELS.parents[1] / "docs" / "estimators.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(sklearn\S+)` \| [^|]* \| \d+e", page, re.MULTILINE)
    assert set(listed) == set(ESTIMATORS)
    kinds = list(ESTIMATORS.values())
    assert (kinds.count("classifier"), kinds.count("regressor")) >= (12, 33)
    assert f"each of these {kinds.count('classifier')} classifiers" in page


def test_the_published_schema_is_the_one_that_retrain_prints_and_accepts_our_models() -> None:
    published = json.loads((MODELS / "model.schema.json").read_text(encoding="utf-8"))
    assert published == json.loads(json.dumps(published_schema())), (
        "run `retrain schema > dags/models/model.schema.json`"
    )
    validator = Draft202012Validator(published)
    for text in (MINIMAL, (MODELS / "flight-delay.yaml").read_text(encoding="utf-8")):
        assert list(validator.iter_errors(yaml.safe_load(text))) == []
    assert list(
        validator.iter_errors(yaml.safe_load(MINIMAL.replace("type: number", "type: numbr")))
    )


REGRESSION = MINIMAL.replace("binary_classification", "regression") + (
    "output: {name: delay, unit: minute}\n"
)


def test_a_regression_has_the_metric_and_the_techniques_of_its_task() -> None:
    spec = parsed(REGRESSION)
    assert (spec.gate.metric, list(spec.techniques)) == ("mae", ["boosted_trees", "ridge"])
    assert (spec.answer.name, spec.answer.unit) == ("delay", "minute")
    assert parsed(REGRESSION + "gate: {metric: {quantile: 0.9}}\n").gate.metric == "quantile_0.9"
    assert parsed(REGRESSION + "gate: {churn: 5 minutes}\n").gate.churn == (5.0, "minutes")


def test_words_about_the_output_change_no_digest_and_its_name_does() -> None:
    spec = parsed(REGRESSION)
    assert parsed(REGRESSION.replace("minute", "hour")).plan_digest == spec.plan_digest
    assert parsed(REGRESSION.replace("name: delay", "name: late")).plan_digest != spec.plan_digest


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (MINIMAL.replace("binary_classification", "regression"), "`output` is missing;"),
        (MINIMAL + "output: {name: delay}\n", "`output` is for regression;"),
        (MINIMAL + "gate: {metric: mae}\n", "`gate.metric` cannot be `mae`: binary_classification"),
        (MINIMAL + "gate: {churn: 5}\n", "`gate.churn` is for regression;"),
        (REGRESSION + "gate: {guardrails: {roc_auc: 0.1}}\n", "has mae, rmse"),
        (REGRESSION + "gate: {churn: 5 hours}\n", "is in hours, and the output is in minute"),
        (
            REGRESSION + "techniques: {a: {estimator: sklearn.linear_model.LogisticRegression}}\n",
            "`techniques.a.estimator` is a classifier, and regression needs a regressor",
        ),
        (REGRESSION + "gate: {churn: soon}\n", "must be a number with its unit"),
        (REGRESSION + "gate: {metric: {quantile: 2}}\n", "must be a metric, is"),
        (REGRESSION + "gate: {metric: [mae]}\n", "must be a metric, is"),
    ],
)
def test_what_does_not_fit_the_task_is_refused_with_its_line(text: str, sentence: str) -> None:
    (found,) = mistakes_in(text)
    assert sentence in found
    assert re.match(r"m.yaml:\d+: ", found)


def test_resources_of_the_pod_are_part_of_no_digest_and_quantities_of_kubernetes() -> None:
    asked = parsed(MINIMAL + "resources: {cpu: 2, memory: 8Gi, gpu: 1}\n")
    assert asked.plan_digest == parsed().plan_digest
    assert (asked.resources.memory, asked.resources.gpu) == ("8Gi", 1)
    (found,) = mistakes_in(MINIMAL + "resources: {memory: 8 GB}\n")
    assert "`resources.memory` must match" in found


def test_a_fixed_test_has_days_and_is_part_of_the_plan_only_when_it_is_written() -> None:
    fixed = parsed(MINIMAL + "fixed_test: {from: 2013-02-01, to: 2013-02-15}\n")
    assert fixed.fixed_test is not None
    assert str(fixed.fixed_test.to) == "2013-02-15"
    assert fixed.plan_digest != parsed().plan_digest
    sampled = parsed(MINIMAL + "max_training_rows: 2_000_000\n")
    assert sampled.max_training_rows == 2_000_000
    assert sampled.plan_digest != parsed().plan_digest


@pytest.mark.parametrize(
    "line",
    [
        "fixed_test: {from: 2013-02-15, to: 2013-02-15}",
        "fixed_test: {from: 2013-02-01}",
        "fixed_test: {from: yesterday, to: 2013-02-15}",
        "fixed_test: 2013-02-01",
        "max_training_rows: 0",
        "max_training_rows: 2e6",
        "max_training_rows: many",
    ],
)
def test_impossible_rows_of_a_test_or_a_fit_are_mistakes_with_their_line(line: str) -> None:
    (mistake,) = mistakes_in(MINIMAL + line + "\n")
    number = len(MINIMAL.splitlines()) + 1
    assert mistake.startswith(f"m.yaml:{number}: `{line.partition(':')[0]}")


def test_a_weight_is_a_column_of_training_and_of_the_plan_only_when_it_is_named() -> None:
    weighted = parsed(MINIMAL.replace("groups: day", "groups: day, weight: paid"))
    assert weighted.training_columns[-1] == "paid"
    assert "weight" not in parsed().columns.model_dump()
    assert weighted.plan_digest != parsed().plan_digest
    (found,) = mistakes_in(MINIMAL.replace("groups: day", "groups: day, weight: carrier"))
    assert "`features.carrier` is the weight of the rows" in found
