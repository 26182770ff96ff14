"""The digests of plans, recipes, policies, snapshots and rows stay as 7496720 computes them.

A failure means that after an upgrade every next challenger is a `change`, or every verdict is given
again, or every week is read again. Mend the code, not `digests.json`.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from tests.grounds.digests.compute_digests import (
    ALL_ROWS,
    HERE,
    columns_of_all_types,
    columns_of_decimals,
    model_digests,
    table_digests,
)

GOLDEN: dict[str, Any] = json.loads((HERE / "digests.json").read_text())


@pytest.mark.parametrize("name", sorted(GOLDEN["models"]))
def test_a_model_file_and_its_rows_keep_their_digests(name: str) -> None:
    assert model_digests(HERE / "models" / f"{name}.yaml") == GOLDEN["models"][name]


def test_rows_of_every_type_but_decimals_keep_their_digests() -> None:
    assert table_digests(columns_of_all_types(ALL_ROWS)) == GOLDEN["rows"]["all types but decimals"]


def test_decimals_keep_their_digests() -> None:
    """They changed once, when decimals began to be read exactly (CHANGELOG)."""
    assert table_digests(columns_of_decimals(ALL_ROWS)) == GOLDEN["rows"]["decimals"]


def test_five_model_files_are_compared() -> None:
    names = [path.stem for path in (HERE / "models").glob("*.yaml")]
    assert sorted(GOLDEN["models"]) == sorted(names)
    assert len(GOLDEN["models"]) == 5


def test_a_decimal_is_the_number_that_its_digits_name() -> None:
    columns = columns_of_decimals(ALL_ROWS)
    exact = {
        name: pa.array([None if cell is None else float(str(cell)) for cell in column.to_pylist()])
        for name, column in columns.items()
    }
    assert table_digests(columns) == table_digests(exact)
