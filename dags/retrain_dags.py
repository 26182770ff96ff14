"""One DAG per model file: retrain weekly, then ask promotion for its verdict.

Airflow decides when; the retrain command and the promotion service decide what. Neither task holds
a credential of the forge, the registry or the cluster. Airflow parses this file every few seconds,
so it imports Airflow, PyYAML and the standard library only, and `ratchet_tasks` beside it.

Airflow variables: `promote_url` (the promotion service), and for the links `tracking_url` (MLflow).
Both are optional while parsing.

Environment: RATCHET_TASKS is `local` (retrain is installed beside Airflow) or `kubernetes`. Then
each run is a pod; `ratchet_tasks/retraining_pod.py` has its settings.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from airflow.sdk import DAG, BaseOperator, Param, Variable, get_parsing_context, task
from airflow.sdk.exceptions import AirflowFailException
from airflow.timetables.trigger import CronTriggerTimetable
from ratchet_tasks.promotion import promote
from ratchet_tasks.retraining import RETRAIN, UNCHANGED, RetrainHere

MODELS = Path(__file__).parent / "models"
EVERY_WEEK = "0 6 * * MON"
LABEL = "before {{ params.window_end or (dag_run.run_after | ds) }}"
"""What Airflow's list of task instances shows of `retrain`, in the column Map Index."""

DOC = """
### {title}

Retrains `{name}` on the window that ends at `window_end` (default: the UTC day the run was due),
registers a challenger in MLflow when rows changed, then waits for the verdict of the promotion
service. Any verdict is a success of this run. A person decides about the merge of the pull request.

- **skipped** `retrain`: no row of the window changed, nothing was trained
- a failed `retrain` says why in its log; another run is always safe
- Airflow tries again when something was not reachable; a refusal or a mistake fails at once
- the tab *Task Instances* shows each run's window and verdict in the column *Map Index*
- [runs and versions in MLflow]({tracking_url}/#/experiments?workflowType=machine_learning)
- [promotions]({promote_url}/promotions/{name}) · model file `dags/models/{file}`
"""


def retrain_dag(model: dict[str, Any], file: str, links: dict[str, str]) -> DAG:
    """Return the DAG of one model.

    Args:
        model: What its file says.
        file: The file's name.
        links: Roots of MLflow and of the promotion service, as Airflow's variables name them.
    """
    name = model["name"]
    with DAG(
        dag_id=f"retrain-{name}",
        dag_display_name=f"Retrain {name}",
        description=model.get("title", ""),
        doc_md=DOC.format(name=name, title=model.get("title") or name, file=file, **links),
        schedule=model.get("schedule", EVERY_WEEK),
        # Neither catchup nor start_date: a DAG that is switched on waits for its next due time.
        catchup=False,
        max_active_runs=1,
        tags=["retrain", name],
        default_args={
            "owner": model["owner"],
            "retries": 2,
            "retry_delay": timedelta(minutes=5),
            "retry_exponential_backoff": True,
        },
        params=form(),
    ) as dag:
        environment = {
            "RATCHET_MODEL": name,
            "RATCHET_WINDOW_END": "{{ params.window_end or (dag_run.run_after | ds) }}",
            "RATCHET_REASON": "{{ params.reason }}",
        }
        where = os.environ.get("RATCHET_TASKS", "local")
        retrain = retrain_task(where, environment, model.get("resources", {}))
        promote(name, retrain.output)  # so `promote` runs after `retrain`
    return dag


def form() -> dict[str, Param]:
    """Return what a person may fill in to start a run by hand."""
    return {
        "window_end": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Window end",
            description="Rows before this UTC day; empty: the day it was due.",
        ),
        "reason": Param(
            "",
            type="string",
            maxLength=500,
            title="Reason",
            description="Why this run was started by hand; kept in MLflow.",
        ),
    }


def retrain_task(
    where: str, environment: dict[str, str], resources: dict[str, Any]
) -> BaseOperator:
    """Return the task that retrains, here or in a pod of the cluster.

    Command, exit codes and time limit are the same.

    Args:
        where: `local` or `kubernetes`.
        environment: Its values are templates. The command reads the variables, so that no text of
            a person becomes code.
        resources: What the model file asks for; a pod's only.
    """
    usual = {
        "task_id": "retrain",
        "skip_on_exit_code": UNCHANGED,
        "execution_timeout": timedelta(hours=2),
        "map_index_template": LABEL,
    }
    if where == "local":
        return RetrainHere(bash_command=RETRAIN, env=environment, append_env=True, **usual)
    if where == "kubernetes":
        # The operator of pods takes seconds to load; a laptop does not need it.
        return import_module("ratchet_tasks.retraining_pod").retrain_pod(
            environment, resources, usual
        )
    raise ValueError(f"RATCHET_TASKS is {where!r}; it should be local or kubernetes")


def broken_dag(path: Path, fault: Exception) -> DAG:
    """Return a DAG that says what is wrong with a model file. The other models go on."""
    sentence = (
        f"dags/models/{path.name} has no DAG: {fault!r}. Run `retrain check`;"
        " see the head of dags/retrain_dags.py for its settings."
    )
    dag = DAG(
        dag_id=f"broken-{path.stem}",
        schedule=None,
        catchup=False,
        tags=["retrain", "broken"],
        doc_md=sentence,
    )

    @task(dag=dag, task_id="say_what_is_wrong")
    def say_what_is_wrong(message: str) -> None:
        raise AirflowFailException(message)

    say_what_is_wrong(sentence)
    return dag


def dags(wanted: str | None) -> Iterator[DAG]:
    """Yield the DAG of each model file, or only the wanted one.

    A worker that starts a task wants one DAG. Of a thousand files it then parses one.
    """
    links = {name: Variable.get(name, default="#") for name in ("tracking_url", "promote_url")}
    for path in sorted(MODELS.glob("*.yaml")):
        if wanted in {None, f"broken-{path.stem}", f"retrain-{path.stem}"}:
            yield _dag_of(path, links)


def _dag_of(path: Path, links: dict[str, str]) -> DAG:
    try:
        model = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
        if model["name"] != path.stem:
            raise ValueError(f"has the name {model['name']!r}; rename it to {model['name']}.yaml")
        # Airflow would check the schedule later, and hide the DAGs of all models.
        CronTriggerTimetable(model.get("schedule", EVERY_WEEK), timezone="UTC").validate()
        return retrain_dag(model, path.name, links)
    except Exception as fault:  # noqa: BLE001 - one model's file must not hide the others
        return broken_dag(path, fault)


for _dag in dags(get_parsing_context().dag_id):
    globals()[_dag.dag_id] = _dag
