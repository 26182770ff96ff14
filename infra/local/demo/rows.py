"""Requests as a phone would send them: real flights, features only."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import yaml

from infra.local.root import ROOT


def example_rows(warehouse: Path, *, before: date, count: int = 50) -> list[dict[str, Any]]:
    """Return `count` instances of the last day before `before`, missing features left out."""
    spec = yaml.safe_load((ROOT / "dags/models/flight-delay.yaml").read_text(encoding="utf-8"))
    query = (ROOT / "dags/models" / spec["query"]).read_text(encoding="utf-8").rstrip().rstrip(";")
    features = ", ".join(f'"{name}"' for name in spec["features"])
    event_time = spec["columns"]["event_time"]
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        connection.execute("SET TimeZone='UTC'")
        newest = f"WHERE {event_time} < ? ORDER BY {event_time} DESC LIMIT {count}"
        asked = f"SELECT {features} FROM ({query}) {newest}"  # noqa: S608 - our own spec
        found = connection.execute(asked, [before])
        names = [column[0] for column in found.description]
        return [
            {name: value for name, value in zip(names, row, strict=True) if value is not None}
            for row in found.fetchall()
        ]
