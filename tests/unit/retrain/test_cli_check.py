import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from retrain.cli import app
from retrain.spec.model_file import published_schema
from tests.fakes.row_source import JUNE, SMALL_MODEL, things

runner = CliRunner()


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the small model, its warehouse and an empty store."""
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "small.yaml").write_text(SMALL_MODEL)
    (folder / "small.sql").write_text("SELECT * FROM things")
    with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
        connection.register("arrived", things(JUNE, days=40))
        connection.execute("CREATE TABLE things AS SELECT * FROM arrived")
    monkeypatch.setenv("RETRAIN_MODELS", str(folder))
    monkeypatch.setenv("RETRAIN_SNAPSHOTS", str(tmp_path / "store"))
    monkeypatch.setenv(
        "RETRAIN_SOURCES", json.dumps({"warehouse": f"duckdb://{tmp_path}/w.duckdb"})
    )
    return folder


def test_help_names_the_exit_codes_and_loads_nothing_heavy() -> None:
    script = (
        "import sys\nfrom retrain.cli import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'mlflow', 'sklearn', 'pandas', 'duckdb', 'ibis', 'numpy', 'pyarrow'}\n"
        "print(sorted((heavy | {'pydantic', 'skl2onnx', 'matplotlib'}) & set(sys.modules)))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    assert shown.endswith("[]\n")
    for code in ("0 done", "2 usage", "75 try again", "99 unchanged"):
        assert code in " ".join(shown.split())


def test_the_version_is_one_line_and_that_of_the_package() -> None:
    shown = runner.invoke(app, ["--version"])
    assert (shown.exit_code, shown.stdout) == (0, f"ratchet {version('ratchet')}\n")


def test_a_model_without_mistakes_exits_0(models: Path) -> None:
    done = runner.invoke(app, ["check"])
    assert (done.exit_code, done.stdout) == (0, "small: no mistakes\n")


def test_three_mistakes_are_printed_with_file_and_line_and_exit_2(models: Path) -> None:
    text = (
        SMALL_MODEL.replace("owner:", "ownr:")
        .replace("test: 3 days", "test: 3 dais")
        .replace("window: 1 month", "gate: {metric: auc}")
    )
    (models / "small.yaml").write_text(text)
    done = runner.invoke(app, ["check", "small"])
    assert done.exit_code == 2
    assert [
        line.partition("small.yaml:")[2].partition(":")[0] for line in done.stderr.splitlines()
    ] == ["1", "2", "9", "11"]
    assert "`ownr` is not a field; did you mean `owner`?" in done.stderr


def test_check_in_json_is_the_last_line(models: Path) -> None:
    (models / "other.yaml").write_text("name: other\n")
    answer = json.loads(runner.invoke(app, ["check", "--json"]).stdout.splitlines()[-1])
    assert answer["models"] == ["small"]
    assert {
        "path": str(models / "other.yaml"),
        "line": 1,
        "sentence": "`query` is missing; it has no default",
    } in answer["mistakes"]


def test_check_with_data_runs_the_query(models: Path) -> None:
    assert runner.invoke(app, ["check", "--data"]).stdout == "small: no mistakes, 320 rows read\n"
    (models / "small.sql").write_text("SELECT * FROM things UNION ALL SELECT * FROM things")
    done = runner.invoke(app, ["check", "--data"])
    assert "keys of the column `id` name more than one row" in done.stderr
    (models / "small.sql").write_text("SELECT id, day, late, size, colour FROM things")
    done = runner.invoke(app, ["check", "--data"])
    assert done.exit_code == 2
    assert "small.sql does not return `at`, which the YAML names" in done.stderr


def test_check_with_data_finds_a_slice_by_a_column_that_the_query_lacks(models: Path) -> None:
    (models / "small.yaml").write_text(f"{SMALL_MODEL}gate: {{slices: {{by: [shape]}}}}\n")
    done = runner.invoke(app, ["check", "--data"])
    assert done.exit_code == 2
    assert "`gate.slices.by` names `shape`, which small.sql does not return" in done.stderr


def test_a_warehouse_that_is_not_there_yet_exits_75(
    models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(
        "RETRAIN_SOURCES", json.dumps({"warehouse": f"duckdb://{tmp_path}/later.duckdb"})
    )
    done = runner.invoke(app, ["check", "--data"])
    assert done.exit_code == 75
    assert "later.duckdb, which is not there; load the rows first" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["check", "smal"], "has the name `smal`; there are small.yaml"),
        (["plan", "small", "--end", "July"], "--end must be a day or a moment such as 2013-07-08"),
        (["plan", "small"], "Missing option '--end'"),
    ],
)
def test_wrong_usage_exits_2_and_says_what_is_right(
    models: Path, arguments: list[str], sentence: str
) -> None:
    done = runner.invoke(app, arguments)
    assert done.exit_code == 2
    assert sentence in done.stderr


def test_wrong_settings_exit_2(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETRAIN_WORKERS", "many")
    done = runner.invoke(app, ["check"])
    assert done.exit_code == 2
    assert "the settings are wrong" in done.stderr


def test_a_folder_without_models_says_which_setting_names_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RETRAIN_MODELS", str(tmp_path))
    assert "set RETRAIN_MODELS" in runner.invoke(app, ["check"]).stderr


def test_a_plan_says_what_would_be_read_trained_and_compared(models: Path) -> None:
    said = runner.invoke(app, ["plan", "small", "--end", "2013-07-08"]).stdout
    assert "small over [2013-06-08T00:00:00Z, 2013-07-08T00:00:00Z)" in said
    assert (
        "reads     [2013-05-27T00:00:00Z, 2013-07-08T00:00:00Z) from the source;"
        " nothing from the store" in said
    )
    assert "trains    logistic: sklearn.linear_model.LogisticRegression" in said
    assert "compares  techniques by log_loss" in said


def test_the_schema_is_printed_as_json() -> None:
    assert json.loads(runner.invoke(app, ["schema"]).stdout) == json.loads(
        json.dumps(published_schema())
    )


END = ("--data", "--end", "2013-07-08")


def test_a_whole_window_says_its_rows_and_what_a_constant_scores(models: Path) -> None:
    done = runner.invoke(app, ["check", *END])
    assert done.exit_code == 0, done.output
    assert re.fullmatch(
        r"small: no mistakes, [\d,]+ rows, of them [\d,]+ test rows;"
        r" a constant scores the log loss 0\.\d{4} on them\n",
        done.stdout,
    )
    assert not list(models.parent.glob("store/*"))


def test_a_query_that_is_not_repeatable_is_found_by_reading_twice(models: Path) -> None:
    (models / "small.sql").write_text("SELECT * REPLACE (random() AS size) FROM things")
    done = runner.invoke(app, ["check", *END])
    assert done.exit_code == 2
    assert "the query is not repeatable. Leave out random()" in done.stderr


def test_too_few_groups_for_the_gate_are_said_before_a_run(models: Path) -> None:
    text = SMALL_MODEL + ("" if "test:" in SMALL_MODEL else "test: 3 days\n")
    (models / "small.yaml").write_text(re.sub(r"(?m)^test: .*$", "test: 3 days", text))
    done = runner.invoke(app, ["check", *END])
    assert "the 3 groups of the test are worth 3.0 of equal size, and the gate needs 5" in (
        done.stderr
    )


def test_one_models_rows_do_not_hide_another_models_mistakes(models: Path) -> None:
    for name, query in (("other", "SELECT id FROM things"), ("third", "SELECT * FROM nowhere")):
        text = SMALL_MODEL.replace("name: small", f"name: {name}").replace(
            "small.sql", f"{name}.sql"
        )
        (models / f"{name}.yaml").write_text(text)
        (models / f"{name}.sql").write_text(query)
    for words in (["--data"], list(END)):
        done = runner.invoke(app, ["check", *words])
        assert done.exit_code == 2
        assert "other: other.sql does not return" in done.stderr or "event time" in done.stderr
        assert "third: the source `warehouse` refuses third.sql" in done.stderr
        assert "small: no mistakes" in done.stdout
