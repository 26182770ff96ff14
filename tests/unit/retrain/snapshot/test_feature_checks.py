"""What rows show about features and label, before a weekly run finds it."""

from __future__ import annotations

from datetime import date
from typing import Any

import pyarrow as pa
import pytest

from retrain.contract import Feature
from retrain.snapshot.canonical_rows import in_canonical_types
from retrain.snapshot.feature_checks import mistakes_in_rows, warnings_about_rows
from retrain.spec.model_file import ModelSpec
from tests.fakes.row_source import JUNE, small_spec, things


def rows(**columns: list[Any] | pa.Array) -> pa.Table:
    """Eight rows of the small model with other columns."""
    table = things(JUNE, days=1)
    late = [True, False] * 4
    table = table.set_column(table.column_names.index("late"), "late", [late])
    table = table.set_column(table.column_names.index("size"), "size", [[1.5, 2.0, 3.0, 4.0] * 2])
    colours = ["red", "blue"] * 4
    table = table.set_column(table.column_names.index("colour"), "colour", [colours])
    for name, cells in columns.items():
        place = table.column_names.index(name)
        table = table.set_column(place, name, [cells])
    return in_canonical_types(table)


def spec_with(**changed: Any) -> ModelSpec:
    size = Feature(name="size", type="number")
    colour = Feature(name="colour", type="category")
    return small_spec(features=(size.model_copy(update=changed), colour))


def test_rows_as_the_model_file_says_have_nothing_against_them() -> None:
    assert list(mistakes_in_rows(spec_with(), rows())) == []
    assert list(warnings_about_rows(spec_with(minimum=0, maximum=4), rows())) == []


@pytest.mark.parametrize(
    ("declared", "cells", "found"),
    [
        ("number", ["1", "2"] * 4, "text"),
        ("boolean", ["yes", "no"] * 4, "text"),
        ("integer", [date(2013, 6, 1), date(2013, 6, 2)] * 4, "date"),
        ("category", [date(2013, 6, 1), date(2013, 6, 2)] * 4, "date"),
        ("category", [JUNE] * 8, "moment"),
    ],
)
def test_a_column_of_another_type_is_a_mistake(declared: str, cells: list[Any], found: str) -> None:
    (sentence,) = mistakes_in_rows(spec_with(type=declared), rows(size=cells))
    assert f"`features.size` is of the type {declared}, and small.sql returns a {found}" in sentence


@pytest.mark.parametrize("declared", ["number", "integer", "boolean", "category"])
@pytest.mark.parametrize("cells", [[0, 1] * 4, [0.5, 1.0] * 4, [True, False] * 4, [None] * 8])
def test_what_training_can_read_is_no_mistake(declared: str, cells: list[Any]) -> None:
    assert list(mistakes_in_rows(spec_with(type=declared), rows(size=cells))) == []


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        ([0, 2] * 4, "must be true or false, or 1 or 0; it goes from 0 to 2"),
        ([True] * 8, "the label `late` is True in all 8 rows"),
        ([0] * 8, "the label `late` is 0 in all 8 rows"),
    ],
)
def test_a_label_that_no_classifier_learns_is_a_mistake(cells: list[Any], sentence: str) -> None:
    (found,) = mistakes_in_rows(spec_with(), rows(late=cells))
    assert sentence in found


@pytest.mark.parametrize(
    ("changed", "cells", "sentence"),
    [
        (
            {},
            [None, float("nan"), 1.0, 2.0] * 2,
            "50.0% of the rows have no value",
        ),
        ({}, [7.0] * 8, "all rows have the same value"),
        (
            {"minimum": 0, "maximum": 3},
            [-1.0, 2.0, 2.5, 9.0] * 2,
            "50.0% of the rows are outside 0",
        ),
        (
            {"minimum": 2},
            [1.0, 2.0, 3.0, 4.0] * 2,
            "25.0% of the rows are outside 2..;",
        ),
        ({"maximum": 1}, [None, 2.0, 0.5, 1.0] * 2, "no value"),
    ],
)
def test_what_callers_would_meet_is_a_warning(
    changed: dict[str, Any], cells: list[Any], sentence: str
) -> None:
    spec, table = spec_with(**changed), rows(size=cells)
    assert list(mistakes_in_rows(spec, table)) == []
    found = list(warnings_about_rows(spec, table))
    assert sentence in found[0]


def test_optional_features_may_be_missing() -> None:
    assert list(warnings_about_rows(spec_with(required=False), rows(size=[None, 1.0] * 4))) == [
        "`features.size`: all rows have the same value, so no model learns from it"
    ]


def test_very_many_categories_are_a_warning() -> None:
    spec = small_spec(features=(Feature(name="colour", type="category"),))
    table = things(JUNE, days=200)
    names = pa.array([f"colour {number}" for number in range(table.num_rows)])
    table = table.set_column(table.column_names.index("colour"), "colour", names)
    (found,) = warnings_about_rows(spec, in_canonical_types(table))
    assert found == "`features.colour`: 1,600 categories are very many for one-hot columns"


def test_a_regressions_label_may_be_any_finite_number() -> None:
    spec = spec_with().model_copy(update={"task": "regression"})
    found = [
        list(mistakes_in_rows(spec, rows(late=cells)))
        for cells in (
            [0.5, 2.5, -7.0, 4.0] * 2,
            [1.0, float("inf")] * 4,
            [3.0] * 8,
        )
    ]
    assert found == [
        [],
        ["the label `late` must be finite; it goes from 1 to inf"],
        ["the label `late` is 3.0 in all 8 rows"],
    ]
