"""Rows in files are the rows, whatever their weeks, and a sample is even over all of them."""

import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain.contract import Feature
from retrain.fitting.frames import to_frame
from retrain.fitting.stored_rows import StoredRows, evenly_spaced, store_rows, table_of
from retrain.fitting.training import Fitted, fit
from retrain.model.arrow import columns_of_rows
from tests.grounds.learnable_rows import FEATURES, LOGISTIC, TREES, make_rows
from tests.unit.retrain.fitting.test_training import task

CARRIER = frozenset({"carrier"})
ROWS = make_rows(900)


def stored(folder: Path, rows: pa.Table, cuts: list[int], sample: int | None = None) -> StoredRows:
    edges = [0, *sorted(cuts), rows.num_rows]
    weeks = [rows.slice(start, end - start) for start, end in pairwise(edges)]
    return store_rows(folder, weeks, codes_of=CARRIER, total=rows.num_rows, sample=sample)


@pytest.mark.parametrize("sample", [None, 1, 7, 333, 899, 900, 5000])
def test_files_hold_the_rows_of_a_sample_over_all_weeks(tmp_path: Path, sample: int | None) -> None:
    found = stored(tmp_path / "rows", ROWS, [0, 5, 5, 640], sample)
    expected = ROWS if sample is None else evenly_spaced(ROWS, sample)
    table = found.table()
    assert found.num_rows == table.num_rows == expected.num_rows
    plain = table.set_column(
        table.column_names.index("carrier"), "carrier", table.column("carrier").cast(pa.string())
    )
    assert plain.equals(expected.cast(plain.schema))


def test_two_splits_follow_each_other(tmp_path: Path) -> None:
    first = stored(tmp_path / "first", ROWS.slice(0, 600), [300])
    both = first + stored(tmp_path / "second", ROWS.slice(600), [100])
    assert both.num_rows == 900
    assert both.table().column("key").to_pylist() == ROWS.column("key").to_pylist()


def test_what_is_sent_to_a_worker_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    found = stored(tmp_path / "rows", make_rows(20_000), [9_000])
    assert len(pickle.dumps(found)) < 1_000


def test_categories_are_codes_and_the_frame_is_the_same(tmp_path: Path) -> None:
    table = stored(tmp_path / "rows", ROWS, [10, 500]).table()
    assert pa.types.is_dictionary(table.schema.field("carrier").type)
    assert to_frame(FEATURES, table).equals(to_frame(FEATURES, ROWS))


@pytest.mark.parametrize("technique", [LOGISTIC, TREES])
def test_a_fit_on_files_has_the_bytes_and_scores_of_a_fit_on_tables(
    tmp_path: Path, technique
) -> None:
    given_rows = {"train": make_rows(600), "held_out": make_rows(300, seed=1)}
    on_tables = fit(task("one", technique, **given_rows))
    on_files = fit(
        task(
            "one",
            technique,
            **{name: stored(tmp_path / name, rows, [77]) for name, rows in given_rows.items()},
        )
    )
    assert isinstance(on_files, Fitted)
    assert isinstance(on_tables, Fitted)
    assert on_files.network == on_tables.network
    assert np.array_equal(on_files.scores, on_tables.scores)


@given(
    st.lists(st.none() | st.text(max_size=3), max_size=30), st.lists(st.integers(0, 30), max_size=4)
)
def test_codes_and_texts_give_the_same_cells(cells: list[str | None], cuts: list[int]) -> None:
    feature = [Feature(name="colour", type="category")]
    plain = pa.table({"colour": pa.array(cells, pa.string())})
    edges = [0, *sorted(min(cut, len(cells)) for cut in cuts), len(cells)]
    chunks = [
        pa.array(cells[start:end], pa.string()).dictionary_encode()
        for start, end in pairwise(edges)
    ]
    coded = pa.table({"colour": pa.chunked_array(chunks)})
    expected = [["" if cell is None else cell] for cell in cells]
    assert columns_of_rows(feature, plain)["colour"].tolist() == expected
    assert columns_of_rows(feature, coded)["colour"].tolist() == expected


def test_a_table_is_a_table_already() -> None:
    assert table_of(ROWS) is ROWS
