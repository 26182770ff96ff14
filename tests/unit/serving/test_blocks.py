"""A block's columns: what is taken, and what is said about what is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from retrain.model.columns import join, row_count
from serving.blocks import Unanswerable, columns_of_block
from tests.grounds.model_folders import FEATURES

GOOD: dict[str, list[Any]] = {
    "carrier": ["UA", "zz"],
    "distance": [700.0, 1],
    "hour": [9.0, 23],
    "weekend": [0.0, 1.0],
    "wind_speed": [4.0, None],
}


def refused(cells: dict[str, list[Any]], *, max_rows: int = 100) -> tuple[int, str]:
    with pytest.raises(Unanswerable) as refusal:
        columns_of_block(cells, FEATURES, max_rows=max_rows)
    return refusal.value.error.status, refusal.value.error.detail


def test_missing_numbers_become_nan_and_missing_categories_an_empty_string() -> None:
    columns = columns_of_block(GOOD, FEATURES, max_rows=2)
    assert list(columns) == [feature.name for feature in FEATURES]
    assert {name: array.shape for name, array in columns.items()} == dict.fromkeys(columns, (2, 1))
    assert columns["distance"].dtype == np.float32
    assert np.isnan(columns["wind_speed"][1, 0])
    assert columns["carrier"].tolist() == [["UA"], ["zz"]]


def test_a_column_that_may_be_missing_may_be_left_out() -> None:
    without = {name: cells for name, cells in GOOD.items() if name != "wind_speed"}
    assert np.isnan(columns_of_block(without, FEATURES, max_rows=2)["wind_speed"]).all()


@pytest.mark.parametrize(
    ("changed", "status", "sentence"),
    [
        ({"carrier": None}, 400, "column carrier is required and missing"),
        ({"distance": [1.0, None]}, 400, "column distance is required and missing in row 1"),
        (
            {"speed": [1.0, 2.0]},
            400,
            "unknown columns: speed; this model takes carrier, distance, hour, weekend, wind_speed",
        ),
        (
            {"hour": [1.0]},
            400,
            "columns have different lengths:"
            " carrier 2, distance 2, hour 1, weekend 2, wind_speed 2",
        ),
        ({"hour": [1.0, "2"]}, 400, "column hour holds numbers: send numbers, not strings"),
        (
            {"carrier": ["UA", 2.0]},
            400,
            "column carrier holds categories: send strings, not numbers",
        ),
        (
            {"distance": [1.0, float("nan")]},
            400,
            "column distance holds a number that is not finite or does not fit 32 bits",
        ),
        (
            {"distance": [1.0, float("inf")]},
            400,
            "column distance holds a number that is not finite or does not fit 32 bits",
        ),
        (
            {"distance": [1.0, 1e39]},
            400,
            "column distance holds a number that is not finite or does not fit 32 bits",
        ),
        (
            {"wind_speed": [None, -1e300]},
            400,
            "column wind_speed holds a number that is not finite or does not fit 32 bits",
        ),
    ],
)
def test_a_bad_column_is_named(changed: dict[str, Any], status: int, sentence: str) -> None:
    cells = {name: column for name, column in {**GOOD, **changed}.items() if column is not None}
    assert refused(cells) == (status, sentence)


def test_no_rows_and_too_many_rows_are_refused() -> None:
    assert refused({}) == (400, "the block has no rows")
    assert refused({name: [] for name in GOOD}) == (400, "the block has no rows")
    assert refused(GOOD, max_rows=1) == (
        413,
        "the block has 2 rows, at most 1 are answered at once: send several blocks",
    )


def test_joined_blocks_keep_their_order() -> None:
    one, two = (
        columns_of_block({**GOOD, "distance": [first, first + 1]}, FEATURES, max_rows=2)
        for first in (1.0, 3.0)
    )
    joined = join([one, two])
    assert row_count(joined) == 4
    assert joined["distance"].ravel().tolist() == [1, 2, 3, 4]
