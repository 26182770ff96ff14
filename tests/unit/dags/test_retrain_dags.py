"""The DAG file, parsed by Airflow itself in a process of its own, as the dag-processor does."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]

PARSE = """
import json, sys
from datetime import UTC, datetime
from types import SimpleNamespace
from airflow.dag_processing.dagbag import BundleDagBag

RUN = SimpleNamespace(run_after=datetime(2013, 7, 8, 6, tzinfo=UTC))

def environment(dag, typed):
    params, jinja = {"window_end": typed, "reason": "a late file came"}, dag.get_template_env()
    return {
        name: jinja.from_string(value).render(params=params, dag_run=RUN)
        for name, value in dag.get_task("retrain").env.items()
    }

def map_index(dag, task, typed):
    label = dag.get_template_env().from_string(dag.get_task(task).map_index_template or "")
    return label.render(params={"window_end": typed}, dag_run=RUN, verdict="v8 keep")

def describe_task(task):
    return {
        "owner": task.owner,
        "retries": task.retries,
        "rule": str(task.trigger_rule.value),
        "after": sorted(task.upstream_task_ids),
        "skip": sorted(getattr(task, "skip_on_exit_code", None) or []),
        "command": getattr(task, "bash_command", None),
        "inherits": getattr(task, "append_env", None),
        "limited": task.execution_timeout is not None,
    }

def describe(dag):
    return {
        "catchup": dag.catchup,
        "max_active_runs": dag.max_active_runs,
        "doc": dag.doc_md,
        "start_date": str(dag.start_date),
        "schedule": dag.schedule,
        "environments": [
            environment(dag, typed) for typed in (None, "2013-06-03") if "retrain" in dag.task_ids
        ],
        "map_indexes": [
            map_index(dag, task, typed)
            for task, typed in (("retrain", None), ("retrain", "2013-06-03"), ("promote", None))
            if task in dag.task_ids
        ],
        "params": {name: dag.params.get_param(name).schema for name in dag.params},
        "tasks": {task.task_id: describe_task(task) for task in dag.tasks},
    }

bag = BundleDagBag(sys.argv[1], bundle_path=sys.argv[1])
dags = {name: describe(dag) for name, dag in bag.dags.items()}
files = sorted(stat.file for stat in bag.dagbag_stats)
print(json.dumps({"errors": bag.import_errors, "dags": dags, "files": files}))
"""


EXECUTE = """
import json, sys
from types import SimpleNamespace
from airflow.dag_processing.dagbag import BundleDagBag

bag = BundleDagBag(sys.argv[1], bundle_path=sys.argv[1])
task = bag.dags["retrain-minimal"].get_task("retrain")
try:
    bundle = SimpleNamespace(version="c0ffee")
    ended = ["success", task.execute({"ti": SimpleNamespace(bundle_instance=bundle)})]
except Exception as error:
    ended = [type(error).__name__, str(error)]
print()
print(json.dumps(ended))
"""


@pytest.fixture(scope="module")
def airflow_env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home = tmp_path_factory.mktemp("airflow")
    return {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW_VAR_PROMOTE_URL": "http://127.0.0.1:1",
        "AIRFLOW_VAR_TRACKING_URL": "http://127.0.0.1:2",
    }


def copy_dags(folder: Path) -> None:
    without_models = shutil.ignore_patterns("models", "__pycache__")
    shutil.copytree(ROOT / "dags", folder, ignore=without_models, dirs_exist_ok=True)


def parse(folder: Path, env: dict[str, str], *, script: str = PARSE) -> dict:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(folder)],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def parsed(airflow_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("dags")
    copy_dags(folder)
    (folder / "models").mkdir()
    for path in (ROOT / "dags" / "models").glob("*.yaml"):
        shutil.copy(path, folder / "models")
    (folder / "models" / "minimal.yaml").write_text("name: minimal\nowner: '@someone'\n")
    (folder / "models" / "daily.yaml").write_text(
        "name: daily\nowner: '@someone'\nschedule: '30 4 * * *'\n"
    )
    (folder / "models" / "torn.yaml").write_text("name: [")
    (folder / "models" / "latin.yaml").write_bytes(b"name: latin\nowner: '@someone'\ntitle: \xe4\n")
    (folder / "models" / "ownerless.yaml").write_text("name: ownerless\n")
    (folder / "models" / "never.yaml").write_text(
        "name: never\nowner: '@someone'\nschedule: '0 6 * * XYZ'\n"
    )
    (folder / "models" / "old_name.yaml").write_text("name: old-name\nowner: '@someone'\n")
    return parse(folder, airflow_env)


def test_every_model_file_has_a_dag_named_for_its_model(parsed: dict) -> None:
    assert parsed["errors"] == {}
    names = {
        yaml.safe_load(path.read_text())["name"]
        for path in (ROOT / "dags" / "models").glob("*.yaml")
    }
    assert {f"retrain-{name}" for name in names} <= set(parsed["dags"])


def test_a_torn_or_ownerless_model_file_shows_itself_and_hides_no_other(parsed: dict) -> None:
    broken = {"broken-torn", "broken-ownerless", "broken-latin"}
    assert broken | {"retrain-minimal"} <= set(parsed["dags"])
    assert "torn.yaml" in parsed["dags"]["broken-torn"]["doc"]
    assert "owner" in parsed["dags"]["broken-ownerless"]["doc"]
    assert "xyz" in parsed["dags"]["broken-never"]["doc"]
    assert "retrain-never" not in parsed["dags"]
    assert "rename it to old-name.yaml" in parsed["dags"]["broken-old_name"]["doc"]
    assert "retrain-old-name" not in parsed["dags"]


def test_a_run_retrains_then_waits_for_the_verdict_even_when_nothing_changed(parsed: dict) -> None:
    tasks = parsed["dags"]["retrain-minimal"]["tasks"]
    assert set(tasks) == {"retrain", "promote"}
    assert tasks["retrain"]["skip"] == [99]
    assert tasks["promote"]["rule"] == "none_failed"
    assert tasks["promote"]["after"] == ["retrain"]
    assert all(
        task["owner"] == "@someone" and 0 < task["retries"] <= 3 and task["limited"]
        for task in tasks.values()
    )


def test_the_list_of_task_instances_shows_each_runs_window_and_verdict(parsed: dict) -> None:
    """In the column Map Index, as the DAG's page says."""
    shown = parsed["dags"]["retrain-minimal"]["map_indexes"]
    assert shown == ["before 2013-07-08", "before 2013-06-03", "v8 keep"]


def test_its_page_leads_to_mlflows_pages_for_model_training(parsed: dict) -> None:
    page = parsed["dags"]["retrain-minimal"]["doc"]
    assert "(http://127.0.0.1:2/#/experiments?workflowType=machine_learning)" in page


def test_it_is_due_when_the_model_file_says_else_on_mondays(parsed: dict) -> None:
    assert parsed["dags"]["retrain-minimal"]["schedule"] == "0 6 * * MON"
    assert parsed["dags"]["retrain-daily"]["schedule"] == "30 4 * * *"


def test_the_command_gets_the_due_day_or_the_typed_day_and_the_services_settings(
    parsed: dict,
) -> None:
    dag = parsed["dags"]["retrain-minimal"]
    usual = {
        "RATCHET_MODEL": "minimal",
        "RATCHET_WINDOW_END": "2013-07-08",
        "RATCHET_REASON": "a late file came",
    }
    assert dag["environments"] == [usual, {**usual, "RATCHET_WINDOW_END": "2013-06-03"}]
    assert dag["tasks"]["retrain"]["inherits"] is True


def test_nothing_a_person_types_reaches_the_shell_as_code(parsed: dict) -> None:
    command = parsed["dags"]["retrain-minimal"]["tasks"]["retrain"]["command"]
    assert "{{" not in command
    assert '"$RATCHET_REASON"' in command


def test_the_form_asks_for_a_date_and_a_reason(parsed: dict) -> None:
    params = parsed["dags"]["retrain-minimal"]["params"]
    assert params["window_end"]["format"] == "date"
    assert params["reason"]["maxLength"] <= 500


def test_a_dag_switched_on_late_starts_no_storm(parsed: dict) -> None:
    dag = parsed["dags"]["retrain-minimal"]
    assert dag["catchup"] is False
    assert dag["max_active_runs"] == 1
    assert dag["start_date"] == "None"


def test_at_a_tasks_start_only_the_wanted_model_is_parsed(
    parsed: dict, airflow_env: dict[str, str], tmp_path: Path
) -> None:
    copy_dags(tmp_path)
    (tmp_path / "models").mkdir()
    for name in ("a", "a-b", "minimal", "other"):
        (tmp_path / "models" / f"{name}.yaml").write_text(
            f"# a comment\nname: '{name}'  # as it is\nowner: '@someone'\n"
        )
    (tmp_path / "models" / "torn.yaml").write_text("name: [")
    for wanted in ("retrain-a", "retrain-minimal", "broken-torn"):
        env = {**airflow_env, "_AIRFLOW_PARSING_CONTEXT_DAG_ID": wanted}
        assert list(parse(tmp_path, env)["dags"]) == [wanted]
    minimal = parse(tmp_path, {**airflow_env, "_AIRFLOW_PARSING_CONTEXT_DAG_ID": "retrain-minimal"})
    shown = minimal["dags"]["retrain-minimal"]
    assert shown["tasks"] == parsed["dags"]["retrain-minimal"]["tasks"]


def test_airflow_parses_the_dag_file_only(parsed: dict) -> None:
    assert [Path(file).name for file in parsed["files"]] == ["retrain_dags.py"]


def test_parsing_imports_airflow_and_yaml_only() -> None:
    imported = {
        name.split(".")[0]
        for path in (ROOT / "dags").rglob("*.py")
        for name in imported_names(ast.parse(path.read_text()))
    }
    assert imported - set(sys.stdlib_module_names) == {
        "airflow",
        "kubernetes",
        "ratchet_tasks",
        "yaml",
    }


def test_only_the_file_of_the_pod_imports_the_slow_operator_of_pods() -> None:
    slow = {
        path.name
        for path in (ROOT / "dags").rglob("*.py")
        for name in imported_names(ast.parse(path.read_text()))
        if "kubernetes" in name or name.endswith("retraining_pod")
    }
    assert slow == {"retraining_pod.py"}


def imported_names(tree: ast.Module) -> set[str]:
    names = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    return names | {
        node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module
    }


@pytest.mark.parametrize(
    ("ends", "state", "said"),
    [
        (
            'echo "{\\"version\\": 8}" > "$8"; echo a library says goodbye >&2',
            "success",
            {"version": 8},
        ),
        (
            'printf "{\\"files\\": %s, \\"commit\\": \\"%s\\"}"'
            ' "${#RETRAIN_MODEL_FILES}" "$RETRAIN_GIT_REVISION" > "$8"',
            "success",
            {"files": 180, "commit": "c0ffee"},
        ),
        ("echo no rows >&2; exit 1", "AirflowFailException", "trying again will not help"),
        ("exit 2", "AirflowFailException", "it was asked wrongly"),
        ("exit 75", "AirflowException", "exit code 75"),
        ("kill -9 $$", "AirflowException", "exit code -9"),
        ('echo "{\\"version\\": 8}" > "$8"; exit 99', "AirflowSkipException", "Skipping"),
    ],
)
def test_the_exit_code_decides_whether_another_try_follows_and_a_file_hands_on_the_outcome(
    airflow_env: dict[str, str], tmp_path: Path, ends: str, state: str, said: object
) -> None:
    copy_dags(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "minimal.yaml").write_text("name: minimal\nowner: '@someone'\n")
    (tmp_path / "retrain").write_text(f"#!/bin/sh\necho progress\n{ends}\n")
    (tmp_path / "retrain").chmod(0o755)
    env = {**airflow_env, "PATH": f"{tmp_path}:/usr/bin:/bin"}
    found_state, found = parse(tmp_path, env, script=EXECUTE)
    assert found_state == state, found
    if isinstance(said, str):
        assert said in found
    else:
        assert found == said
