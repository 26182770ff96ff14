"""The one statement of a query's file, and what is asked with it."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain.errors import QueryFailed
from retrain.sources.statement import first_rows, only_statement, rows_where
from tests.fakes.row_source import small_spec

ENDS = st.text(alphabet="; \n\t", max_size=6)
COMMENTS = st.sampled_from(["", " -- ; the end", " /* ; */", "\n-- it's ; the end\n"])
STATEMENTS = st.sampled_from(
    [
        "SELECT 1 AS a",
        "SELECT ';' AS a",
        'SELECT 1 AS "a;"',
        "WITH x AS (SELECT 1 AS a) SELECT * FROM x",
        "/* ; */ SELECT $$ ; $$ AS a",
    ]
)


@given(STATEMENTS, COMMENTS, ENDS, COMMENTS)
def test_any_end_leaves_a_statement_that_runs_in_another(
    statement: str, before: str, end: str, after: str
) -> None:
    end = end if end.strip() or not before.rstrip(" ").startswith(" --") else f"\n{end}"
    text = f"{statement}{before}\n{end}{after}"
    only = only_statement(small_spec(query_text=text), "duckdb")
    assert only.startswith(statement)
    with duckdb.connect() as connection:
        assert len(connection.sql(first_rows(only, 1)).fetchall()) == 1
        assert len(connection.sql(rows_where(only, "true")).fetchall()) == 1


@given(STATEMENTS, COMMENTS, STATEMENTS)
def test_a_second_statement_is_never_taken(first: str, between: str, second: str) -> None:
    text = f"{first}{between}\n;\n{second}"
    with pytest.raises(QueryFailed, match="a second statement begins here"):
        only_statement(small_spec(query_text=text), "duckdb")


@pytest.mark.parametrize("text", ["SELECT 'open", 'SELECT "open'])
def test_an_open_quote_is_no_traceback(text: str) -> None:
    with pytest.raises(QueryFailed, match=r"small\.sql cannot be read as SQL"):
        only_statement(small_spec(query_text=text), "duckdb")
