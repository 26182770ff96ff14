"""The SQL of a model file as one statement, and the statement that asks for a time range. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import sqlglot
from sqlglot import TokenType
from sqlglot.errors import TokenError

from retrain.errors import BadColumn, MissingColumn, QueryFailed
from retrain.spec.model_file import ModelSpec

Dialect = Literal["duckdb", "postgres", "sqlite"]
"""Whose rules of quoting and comments hold."""


def only_statement(spec: ModelSpec, dialect: Dialect) -> str:
    """Return the query without a semicolon at its end.

    Raises:
        QueryFailed: The file holds no statement, or more than one.
    """
    text = spec.query_text
    try:
        tokens = sqlglot.tokenize(text, read=dialect)
    except TokenError as error:
        raise QueryFailed(f"{spec.query} cannot be read as SQL: {error}") from error
    ends = [token for token in tokens if token.token_type is TokenType.SEMICOLON]
    words = [token for token in tokens if token.token_type is not TokenType.SEMICOLON]
    if not words:
        raise QueryFailed(f"{spec.query} holds no SQL: write one SELECT statement")
    if ends and (after := [word for word in words if word.start > ends[0].start]):
        raise QueryFailed(
            f"{spec.query}:{after[0].line}: a second statement begins here:"
            " write one SELECT statement, or one WITH … SELECT"
        )
    return text[: ends[0].start] if ends else text


def rows_where(statement: str, condition: str) -> str:
    """Return SQL for all columns of the rows that meet a condition.

    Args:
        statement: One SELECT. A comment at its end does no harm.
        condition: SQL that names the statement's columns.

    >>> print(rows_where("SELECT * FROM t -- all", "size > 1"))
    SELECT * FROM (
    SELECT * FROM t -- all
    ) AS rows_of_query WHERE size > 1
    """
    return f"{_as_table(statement)} WHERE {condition}"


def first_rows(statement: str, rows: int) -> str:
    """Return SQL for at most `rows` rows."""
    return f"{_as_table(statement)} LIMIT {rows}"


def require_event_time(spec: ModelSpec, columns: Sequence[str]) -> None:
    """Raise MissingColumn unless the query returns the event time."""
    if spec.columns.event_time not in columns:
        raise MissingColumn(
            f"{spec.query} does not return `{spec.columns.event_time}`, the event time;"
            f" it returns {', '.join(columns)}"
        )


def require_distinct(spec: ModelSpec, columns: Sequence[str]) -> None:
    """Raise BadColumn when the query returns a column twice."""
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        raise BadColumn(
            f"{spec.query} returns the column `{twice[0]}` twice; give each column its own name"
        )


def no_moment(spec: ModelSpec, kind: object) -> BadColumn:
    """Return the error for an event time that is no timestamp."""
    return BadColumn(
        f"the event time `{spec.columns.event_time}` of {spec.query} has the type {kind};"
        " cast it in the query to a timestamp, best with a time zone"
    )


def _as_table(statement: str) -> str:
    return f"SELECT * FROM (\n{statement}\n) AS rows_of_query"  # noqa: S608 - the owners' own SQL
