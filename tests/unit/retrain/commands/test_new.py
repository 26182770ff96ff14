"""`retrain new`: a first model file from the rows, without a wrong guess."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner, Result

from retrain.cli import app
from retrain.spec.files import load_model
from retrain.spec.first_file import schedule_of
from tests.fakes.row_source import JUNE, things

runner = CliRunner()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of models, and a query beside it on rows of forty days."""
    with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
        connection.register("arrived", things(JUNE, days=40))
        connection.execute("CREATE TABLE things AS SELECT * FROM arrived")
    address = json.dumps({"warehouse": f"duckdb://{tmp_path}/w.duckdb"})
    monkeypatch.setenv("RETRAIN_SOURCES", address)
    (tmp_path / "models").mkdir()
    monkeypatch.setenv("RETRAIN_MODELS", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)
    ask(tmp_path, "SELECT * FROM things")
    return tmp_path


def ask(folder: Path, query: str) -> None:
    (folder / "q.sql").write_text(query)


def new(words: str = "") -> Result:
    return runner.invoke(app, ["new", "small", "--query", "q.sql", *shlex.split(words)])


def answered(folder: Path) -> None:
    """Answer the one question of the file."""
    path = folder / "models" / "small.yaml"
    path.write_text(path.read_text().replace("label_delay: unknown", "label_delay: 1 day"))


def test_the_written_file_asks_one_question_and_has_no_other_mistake(folder: Path) -> None:
    assert new().exit_code == 0
    mistakes = runner.invoke(app, ["check", "small"]).stderr.splitlines()
    assert len(mistakes) == 1
    assert "`label_delay` must be a number with minutes, hours, days or weeks" in mistakes[0]
    answered(folder)
    assert runner.invoke(app, ["check", "small", "--data"]).stdout.startswith("small: no mistakes")


def test_the_parts_and_features_are_those_of_the_rows(folder: Path) -> None:
    new('--owner "@acme/things"')
    answered(folder)
    spec = load_model(folder / "models", "small")
    assert spec.columns.model_dump() == {
        "key": "id",
        "event_time": "at",
        "label": "late",
        "groups": "day",
    }
    features = {each.name: (each.type, each.required, each.minimum) for each in spec.features}
    assert features == {"size": ("number", False, None), "colour": ("category", False, None)}
    assert spec.owner == "@acme/things"
    assert spec.query_text == "SELECT * FROM things"


def test_numbers_that_are_never_negative_get_a_limit_and_others_none(folder: Path) -> None:
    ask(
        folder,
        'SELECT id, "at", day, late, abs(least(coalesce(size, 1), 9)) AS up, -1 AS same'
        " FROM things",
    )
    new()
    answered(folder)
    features = load_model(folder / "models", "small").features
    assert [(each.name, each.required, each.minimum) for each in features] == [("up", True, 0.0)]
    assert "same is left out: all rows have" in (folder / "models" / "small.yaml").read_text()


@pytest.mark.parametrize(
    ("columns", "words", "sentence"),
    [
        (
            '*, "at" AS seen_at',
            "",
            "--event-time: it is a timestamp, and several columns do: at, se",
        ),
        ('* EXCLUDE ("at")', "", "--event-time: it is a timestamp, and no column does"),
        ("*, NOT late AS early", "", "--label: it is true or false, or 1 or 0, and several"),
        ("* EXCLUDE (day)", "", "--groups: it is a date, such as the local day, and no column"),
        ("* REPLACE ('a' AS id)", "", "--key: it names each row, and no column does"),
        ("*", "--label lat", "--label lat is no column; there are id, at, day, late, size, colour"),
        ('id, "at", day, late', "", "no column of q.sql can be a feature"),
    ],
)
def test_what_the_rows_do_not_show_is_asked_for_and_nothing_is_written(
    folder: Path, columns: str, words: str, sentence: str
) -> None:
    ask(folder, f"SELECT {columns} FROM things")
    done = new(words)
    assert done.exit_code == 2
    assert sentence in done.stderr
    assert not list((folder / "models").iterdir())


def test_a_named_column_goes_before_what_the_rows_show(folder: Path) -> None:
    ask(folder, "SELECT *, NOT late AS early FROM things")
    assert new("--label early").exit_code == 0
    answered(folder)
    spec = load_model(folder / "models", "small")
    assert spec.columns.label == "early"
    assert "late" in [feature.name for feature in spec.features]


@pytest.mark.parametrize("taken", ["small.yaml", "small.sql"])
def test_a_file_that_is_there_is_never_overwritten(folder: Path, taken: str) -> None:
    (folder / "models" / taken).write_text("mine")
    done = new()
    assert done.exit_code == 2
    assert f"{taken} is there already" in done.stderr
    assert [path.name for path in (folder / "models").iterdir()] == [taken]
    assert (folder / "models" / taken).read_text() == "mine"


def test_a_query_that_lies_beside_the_models_stays_where_it_is(folder: Path) -> None:
    path = folder / "models" / "small.sql"
    path.write_text("SELECT * FROM things")
    assert runner.invoke(app, ["new", "small", "--query", str(path)]).exit_code == 0
    assert path.read_text() == "SELECT * FROM things"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--query missing.sql", "--query missing.sql cannot be read"),
        ("--source lake", "RETRAIN_SOURCES names warehouse"),
    ],
)
def test_wrong_words_are_answered_in_a_sentence(folder: Path, words: str, sentence: str) -> None:
    done = new(words)
    assert done.exit_code == 2
    assert sentence in done.stderr


def test_a_name_that_no_model_can_have_is_refused(folder: Path) -> None:
    done = runner.invoke(app, ["new", "Small_Model", "--query", "q.sql"])
    assert done.exit_code == 2
    assert "It is `Small_Model`" in done.stderr


def test_schedules_spread_over_the_morning_and_are_always_the_same() -> None:
    times = {schedule_of(f"model-{number}") for number in range(1000)}
    assert len(times) > 300
    assert {int(time.split()[1]) for time in times} == set(range(3, 9))
    assert all(time.endswith(" * * MON") and 0 <= int(time.split()[0]) < 60 for time in times)
    assert schedule_of("flight-delay") == schedule_of("flight-delay")


def test_a_number_as_label_makes_a_regression_with_an_output(folder: Path) -> None:
    ask(folder, 'SELECT id, "at", day, late, coalesce(size, 1) * 2.5 AS price, size FROM things')
    assert new("--label price").exit_code == 0
    answered(folder)
    spec = load_model(folder / "models", "small")
    assert (spec.task, spec.answer.name, spec.gate.metric) == ("regression", "price", "mae")
    assert "late" in {feature.name for feature in spec.features}
    checked = runner.invoke(app, ["check", "small", "--data"])
    assert checked.stdout.startswith("small: no mistakes"), checked.output
