"""One DAG per model file: retrain weekly, then ask promotion for its verdict.

Airflow decides when; the retrain command and the promotion service decide what. Neither task holds
a credential of the forge, the registry or the cluster. Airflow parses this file every few seconds,
so it imports Airflow, PyYAML and the standard library only.

Airflow variables: `promote_url` (the promotion service), and for the links `tracking_url` (MLflow).
Both are optional while parsing.

Environment: RATCHET_TASKS is `local` (retrain is installed beside Airflow) or `kubernetes`. There
each run is a pod of RATCHET_RETRAIN_IMAGE, which names a digest, in RATCHET_RETRAIN_NAMESPACE, with
RATCHET_RETRAIN_CPU and RATCHET_RETRAIN_MEMORY. Its settings are the ConfigMap and the Secret
`retrain` of that namespace.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
import urllib.error
import urllib.request
from datetime import timedelta
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, BaseOperator, Param, Variable, get_current_context, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

log = logging.getLogger(__name__)

UNCHANGED = 99
FINAL = {
    1: "it failed, and trying again will not help",
    2: "it was asked wrongly, or the model's file has a mistake",
    126: "the command cannot be started",
    127: "there is no command `retrain`",
}
"""Exit codes that another try does not change. Others are tried again: 75, a killed process."""
RETRAIN = (
    'exec retrain run "$RATCHET_MODEL" --end "$RATCHET_WINDOW_END" --reason "$RATCHET_REASON"'
    ' --outcome "$RATCHET_OUTCOME"'
)
XCOM_FILE = "/airflow/xcom/return.json"
NOBODY = 65532
UNPRIVILEGED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
MODELS = Path(__file__).parent / "models"
POLL_SECONDS = 1.0
PATIENCE_SECONDS = 20 * 60
"""How long `promote` waits for a verdict: judging takes a minute, a running rollout some more."""
PAUSE_SECONDS = 10.0
TRIES = 12
"""A promotion service that starts again is away for less than these two minutes."""
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


@task(
    task_id="promote",
    trigger_rule="none_failed",
    retries=2,  # for a killed worker; an error of this function itself is final
    retry_delay=timedelta(seconds=20),
    execution_timeout=timedelta(seconds=PATIENCE_SECONDS + 10 * 60),  # a last resort
    map_index_template="{{ verdict }}",
)
def promote(model: str, retrained: dict[str, Any] | None) -> dict[str, Any]:
    """Nudge the promotion service and return the promotion once its verdict stands.

    Args:
        model: The model's name.
        retrained: The outcome of `retrain run`; None when retraining was skipped.

    Raises:
        AirflowFailException: There is no verdict, and another try of this task would not bring one.
    """
    url = Variable.get("promote_url", default=None)
    if not url:
        raise AirflowFailException(
            "the Airflow variable promote_url is not set:"
            " it is the address of the promotion service"
        )
    promotion = _verdict(url.rstrip("/"), model, retrained["version"] if retrained else None)
    get_current_context()["verdict"] = _label(promotion)
    log.info("%s: %s", model, json.dumps(promotion))
    return promotion


def _label(promotion: dict[str, Any]) -> str:
    """Return what Airflow's list of task instances shows of `promote`, in the column Map Index."""
    version = f"v{promotion['version']} " if promotion["version"] else ""
    return version + (promotion["verdict"] or promotion["state"])


def _verdict(url: str, model: str, version: int | None) -> dict[str, Any]:
    """Ask until the verdict is there, a person has to act, or the patience is at its end."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    what = f"on version {version} of {model}" if version else f"on {model}"
    said = "nothing yet"
    _nudge(url, model)
    while True:
        promotion = _answer("GET", f"{url}/promotions/{model}")
        if promotion is None:
            _nudge(url, model)  # the service started again and does not know the model yet
        elif _has_verdict(promotion, version):
            return promotion
        else:
            state, waits_for, reason = (
                promotion[field] for field in ("state", "waits_for", "reason")
            )
            # Else the next pass of the service will see our version.
            is_ours = version is None or promotion["version"] in {None, version}
            if is_ours and waits_for == "person":
                raise AirflowFailException(
                    f"no verdict {what}, a person has to act first: {reason}"
                )
            said = f"{state}, waits for {waits_for or 'nothing'}: {reason}"
        if time.monotonic() > deadline:
            minutes = f"{PATIENCE_SECONDS / 60:g} minutes"
            raise AirflowFailException(
                f"no verdict {what} within {minutes}. The promotion service says: {said}"
            )
        time.sleep(POLL_SECONDS)  # bounded by the deadline above


def _has_verdict(promotion: dict[str, Any], version: int | None) -> bool:
    if version is None:
        return promotion["state"] not in {"unjudged", "blind"}
    if promotion["version"] is None:
        return False
    if promotion["version"] > version:
        return True  # a newer challenger took its place: ours will never be judged
    return promotion["version"] == version and (
        promotion["verdict"] is not None or promotion["waits_for"] in {None, "reviewer"}
    )


def _nudge(url: str, model: str) -> None:
    if _answer("POST", f"{url}/nudge/{model}") is None:
        raise AirflowFailException(
            f"the promotion service knows no model {model}: neither main nor MLflow has it"
        )


def _answer(method: str, url: str) -> dict[str, Any] | None:
    """Return what the promotion service answers; None is its 404.

    Raises:
        AirflowFailException: It refuses, or it did not answer in any of the tries.
    """
    path = url.partition("://")[2].partition("/")[2]  # without the host, which may hold a password
    asked, why = f"{method} {path}", ""
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE_SECONDS)  # bounded by TRIES
        request = urllib.request.Request(url, method=method)  # noqa: S310 - the owner's setting
        try:
            with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - as above
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            why = f"HTTP {error.code}: {_detail(error)}"
            if error.code == HTTPStatus.NOT_FOUND:
                return None
            if (
                error.code < HTTPStatus.INTERNAL_SERVER_ERROR
                and error.code != HTTPStatus.TOO_MANY_REQUESTS
            ):
                raise AirflowFailException(
                    f"the promotion service refused {asked} with {why}"
                ) from error
        except (OSError, HTTPException) as error:  # nobody listens, a timeout, a broken connection
            why = str(error) or type(error).__name__
        except ValueError as error:
            raise AirflowFailException(
                f"the answer to {asked} is not JSON; see the variable promote_url"
            ) from error
        else:
            return answer if isinstance(answer, dict) else {}
        log.warning(
            "the promotion service does not answer %s (%s); try %s of %s",
            asked,
            why,
            attempt + 1,
            TRIES,
        )
    raise AirflowFailException(
        f"the promotion service did not answer {asked} in {TRIES} tries ({why})."
        " Start it, then clear this task"
    )


def _detail(error: urllib.error.HTTPError) -> str:
    """Return the problem's detail (RFC 9457), or the status's own words."""
    try:
        problem = json.load(error)
    except (ValueError, OSError, HTTPException):
        return str(error.reason)
    return (
        str(problem.get("detail", error.reason)) if isinstance(problem, dict) else str(error.reason)
    )


def retrain_dag(model: dict[str, Any], file: str) -> DAG:
    """Return the DAG of one model."""
    name = model["name"]
    links = {
        "tracking_url": Variable.get("tracking_url", default="#"),
        "promote_url": Variable.get("promote_url", default="#"),
    }
    dag = DAG(
        dag_id=f"retrain-{name}",
        dag_display_name=f"Retrain {name}",
        description=model.get("title", ""),
        doc_md=DOC.format(name=name, title=model.get("title") or name, file=file, **links),
        schedule=model.get("schedule", "0 6 * * MON"),
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
        params={
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
        },
    )
    with dag:
        environment = {
            "RATCHET_MODEL": name,
            "RATCHET_WINDOW_END": "{{ params.window_end or (dag_run.run_after | ds) }}",
            "RATCHET_REASON": "{{ params.reason }}",
        }
        retrain = retrain_task(os.environ.get("RATCHET_TASKS", "local"), environment)
        promotion = promote(name, retrain.output)
        retrain >> promotion
    return dag


def retrain_task(where: str, environment: dict[str, str]) -> BaseOperator:
    """Return the task that retrains, here or in a pod of the cluster.

    Command, exit codes and time limit are the same.

    Args:
        where: `local` or `kubernetes`.
        environment: Its values are templates. The command reads the variables, so that no text of
            a person becomes code.
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
        return retrain_pod(environment, usual)
    raise ValueError(f"RATCHET_TASKS is {where!r}; it should be local or kubernetes")


class RetrainHere(BashOperator):
    """Runs the command beside Airflow.

    The outcome comes in a file, so that no line of the command's output can break it.
    """

    def execute(self, context: Any) -> dict[str, Any]:
        """Return the outcome of `retrain run`."""
        with TemporaryDirectory(prefix="retrain-") as folder:
            outcome = Path(folder) / "outcome.json"
            self.env = {**(self.env or {}), "RATCHET_OUTCOME": str(outcome)}
            try:
                super().execute(context)
            except AirflowSkipException:
                raise
            except AirflowException as error:
                process = self.subprocess_hook.sub_process
                raise failure(process.returncode if process else None, error) from error
            retrained: dict[str, Any] = json.loads(outcome.read_text(encoding="utf-8"))
            return retrained


def failure(exit_code: int | None, error: AirflowException) -> AirflowException:
    """Return the exception for an exit code.

    It fails the task at once when another try would end alike. Else it is the error itself.
    """
    if exit_code not in FINAL:
        return error
    return AirflowFailException(
        f"`retrain run` ended with {exit_code}: {FINAL[exit_code]}. Its log says why. {error}"
    )


def retrain_pod(environment: dict[str, str], usual: dict[str, Any]) -> BaseOperator:
    """Return the task that runs the command in a pod.

    The pod keeps to the restricted Pod Security Standard.
    """
    image = os.environ.get("RATCHET_RETRAIN_IMAGE", "")
    if not re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", image):
        raise ValueError(
            f"RATCHET_RETRAIN_IMAGE is {image!r}; it should name retrain's image by digest,"
            " …@sha256:…, so that a run can be repeated"
        )
    return pod_operator()(
        name=f"retrain-{environment['RATCHET_MODEL']}",
        namespace=os.environ.get("RATCHET_RETRAIN_NAMESPACE", "retrain"),
        image=image,
        cmds=["/bin/sh", "-c"],
        arguments=[RETRAIN],
        env_vars={**environment, "RATCHET_OUTCOME": XCOM_FILE, "HOME": "/tmp", "TMPDIR": "/tmp"},  # noqa: S108 - the pod's
        service_account_name="retrain",
        automount_service_account_token=False,
        container_security_context=UNPRIVILEGED,
        xcom_sidecar_container_security_context=UNPRIVILEGED,
        security_context={
            "runAsNonRoot": True,
            "runAsUser": NOBODY,
            "runAsGroup": NOBODY,
            "fsGroup": NOBODY,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        pod_template_dict=pod_template(
            os.environ.get("RATCHET_RETRAIN_CPU", "1"),
            os.environ.get("RATCHET_RETRAIN_MEMORY", "4Gi"),
        ),
        do_xcom_push=True,
        termination_message_policy="FallbackToLogsOnError",
        active_deadline_seconds=int(usual["execution_timeout"].total_seconds()),
        startup_timeout_seconds=600,  # a node may have to be started first
        **usual,
    )


def pod_operator() -> type[BaseOperator]:
    """Return the operator of retrain's pods.

    Its XCom sidecar is retrain's own image, which is pinned and on the node already; the provider's
    default is an alpine from Docker Hub. The task fails at once when the command's exit code is
    final. The code stands in the pod's status only.
    """
    from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator  # noqa: PLC0415 - slow

    class RetrainPod(KubernetesPodOperator):
        def build_pod_request_obj(self, *arguments: Any, **options: Any) -> Any:
            pod = super().build_pod_request_obj(*arguments, **options)
            for container in pod.spec.containers:
                container.image = self.image
            return pod

        def cleanup(self, pod: Any, remote_pod: Any, *arguments: Any, **options: Any) -> None:
            try:
                super().cleanup(pod, remote_pod, *arguments, **options)
            except AirflowSkipException:
                raise
            except AirflowException as error:
                raise failure(exit_code(remote_pod, self.base_container_name), error) from error

    return RetrainPod


def exit_code(pod: Any, container: str) -> int | None:
    """Return the exit code of a pod's container; None when it runs, or has no status."""
    statuses = (pod.status.container_statuses if pod and pod.status else None) or []
    ended = [
        status.state.terminated for status in statuses if status.name == container and status.state
    ]
    return ended[0].exit_code if ended and ended[0] else None


def pod_template(cpu: str, memory: str) -> dict[str, Any]:
    """Return what the operator's own parameters take only as classes of `kubernetes`."""
    container = {
        "name": "base",
        "resources": {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": memory}},
        "envFrom": [{"configMapRef": {"name": "retrain"}}, {"secretRef": {"name": "retrain"}}],
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - as above
    }
    volume = {"name": "tmp", "emptyDir": {"sizeLimit": "4Gi"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "spec": {"enableServiceLinks": False, "containers": [container], "volumes": [volume]},
    }


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


def _dag_of(path: Path) -> DAG:
    try:
        return retrain_dag(yaml.safe_load(path.read_text(encoding="utf-8")), path.name)
    except Exception as fault:  # noqa: BLE001 - one model's file must not hide the others
        return broken_dag(path, fault)


for _path in sorted(MODELS.glob("*.yaml")):
    _dag = _dag_of(_path)
    globals()[_dag.dag_id] = _dag
