"""`retrain try` on a real DuckDB file: figures beside the constant's, and nothing is kept."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from retrain.cli import app
from tests.grounds.learnable_rows import make_rows

MODEL = """
name: late
owner: "@someone"
task: binary_classification
query: late.sql
columns: {key: key, event_time: at, label: late, groups: day}
label_delay: 1 day
window: 1 month
validation: 5 days
test: 5 days
features: {carrier: category, distance: number, wind_speed: {type: number, required: false}}
techniques:
  logistic: {estimator: sklearn.linear_model.LogisticRegression}
  bayes: {estimator: sklearn.naive_bayes.BernoulliNB, params: {alpha: -1}}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rows = make_rows(3_000, days=26)
    with duckdb.connect(str(tmp_path / "rows.duckdb")) as connection:
        connection.execute("CREATE TABLE flights AS SELECT * FROM rows")
    assert rows.num_rows
    (tmp_path / "late.yaml").write_text(MODEL)
    (tmp_path / "late.sql").write_text("SELECT * FROM flights")
    monkeypatch.setenv("RETRAIN_MODELS", str(tmp_path))
    monkeypatch.setenv("RETRAIN_SOURCES", f'{{"warehouse": "duckdb://{tmp_path}/rows.duckdb"}}')
    monkeypatch.setenv("RETRAIN_TRACKING_URL", "http://127.0.0.1:9")  # nobody answers there
    monkeypatch.setenv("RETRAIN_WORKERS", "1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_technique_stands_beside_the_constant_and_nothing_is_kept(place: Path) -> None:
    before = sorted(place.iterdir())
    done = CliRunner().invoke(app, ["try", "late", "--end", "2013-05-04", "--sample", "500"])
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].endswith("techniques fitted on 500 rows")
    assert lines[1].split()[:2] == ["log", "loss"]
    constant, logistic = float(lines[2].split()[2]), float(lines[3].split()[1])
    assert lines[2].startswith("a constant")
    assert lines[3].startswith("logistic")
    assert 0 < logistic < constant
    assert lines[4].startswith("bayes: not eligible, InvalidParameterError")
    assert lines[5].startswith("logistic would ship: log loss")
    assert sorted(place.iterdir()) == before


def test_an_empty_window_says_so_in_a_sentence(place: Path) -> None:
    assert place
    done = CliRunner().invoke(app, ["try", "late", "--end", "2012-05-04"])
    assert done.exit_code == 1
    assert "Traceback" not in done.output
    assert "late.sql returns no rows in the window" in done.stderr
