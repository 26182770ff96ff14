"""Rows from PostgreSQL: `postgresql://user:password@host:5432/database?sslmode=require`.

Moments stand in the statement as literals, because the driver streams (COPY) only without
parameters. The session's time zone is UTC, and the session may only read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

import adbc_driver_postgresql.dbapi
import pyarrow as pa

from retrain.errors import UnknownSource
from retrain.sources.adbc import AdbcSource, errors_translated
from retrain.spec.model_file import ModelSpec

_SESSION = "-c TimeZone=UTC -c default_transaction_read_only=on"
_NOT_ENCODED = re.compile("%(?![0-9A-Fa-f]{2})")


class PostgresSource(AdbcSource):
    """An open PostgreSQL."""

    dialect = "postgres"

    def in_range(self, event_time: str, start: datetime, end: datetime) -> str:
        """Return SQL with moments of UTC. The session reads a naive event time as UTC too."""
        lower, upper = (f"TIMESTAMPTZ '{moment.isoformat()}'" for moment in (start, end))
        return f'"{event_time}" >= {lower} AND "{event_time}" < {upper}'

    def as_arrow(self, spec: ModelSpec, rows: pa.Table) -> pa.Table:  # noqa: ARG002 - SQLite needs it
        """Read `numeric`, which the driver gives as text, as a number."""
        for index, field in enumerate(rows.schema):
            if isinstance(field.type, pa.OpaqueType) and field.type.type_name == "numeric":
                storage = [chunk.storage for chunk in rows.column(index).chunks]
                numbers = pa.chunked_array(storage, pa.string()).cast(pa.float64())
                rows = rows.set_column(index, field.name, numbers)
        return rows


@contextmanager
def open_source(name: str, address: str) -> Iterator[PostgresSource]:
    """Give the warehouse called `name`; it is closed at the end.

    Raises:
        UnknownSource: The address cannot be read.
        SourceUnavailable: The server does not answer.
        SourceRefused: The server refuses the login.
    """
    with errors_translated(name, "the login"):
        connection = adbc_driver_postgresql.dbapi.connect(_address(name, address), autocommit=True)
    with connection:
        yield PostgresSource(name, connection)


def _address(name: str, address: str) -> str:
    """Return the address with the session's options. It may hold a password: never show it."""
    parts = _readable(address)
    if parts is None:
        raise UnknownSource(
            f"RETRAIN_SOURCES gives `{name}` an address that retrain cannot read; it must be"
            " postgresql://user:password@host:5432/database, with odd characters of the password"
            " percent-encoded"
        )
    options = {"connect_timeout": "10", "application_name": "ratchet-retrain"}
    options |= dict(parse_qsl(parts.query))
    options["options"] = f"{options.get('options', '')} {_SESSION}".strip()
    return parts._replace(query=urlencode(options, quote_via=quote)).geturl()


def _readable(address: str) -> SplitResult | None:
    """Return the parts of an address; None when libpq would show its password in an error."""
    try:
        parts = urlsplit(address)
        has_host = bool(parts.hostname) and (parts.port or True)
    except ValueError:
        return None
    login, _, _ = parts.netloc.rpartition("@")
    is_plain = "@" not in f"{login}{parts.path}" and "%00" not in address
    is_encoded = not _NOT_ENCODED.search(f"{parts.netloc}{parts.path}")
    return parts if has_host and is_plain and is_encoded else None
