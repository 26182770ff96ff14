"""One DAG per model file: retrain weekly, then ask promotion for its verdict.

Airflow decides when; the retrain command and the promotion service decide what. Neither task holds a forge, registry or cluster credential.
This file is parsed every few seconds, so it imports Airflow, PyYAML and the standard library only.

Airflow variables: `promote_url` (the promotion service), and for the links `tracking_url` (MLflow), both optional while parsing.
Environment: RATCHET_TASKS is `local` (retrain is installed beside Airflow) or `kubernetes` (each run is a pod of RATCHET_RETRAIN_IMAGE, which names a digest,
in the namespace RATCHET_RETRAIN_NAMESPACE, with RATCHET_RETRAIN_CPU and RATCHET_RETRAIN_MEMORY; its settings are the ConfigMap and the Secret `retrain` there).
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
import urllib.request
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, BaseOperator, Param, Variable, task
from airflow.sdk.exceptions import AirflowFailException

log = logging.getLogger(__name__)

UNCHANGED = 99
RETRAIN = 'exec retrain run "$RATCHET_MODEL" --end "$RATCHET_WINDOW_END" --reason "$RATCHET_REASON" --json'
XCOM_FILE = "/airflow/xcom/return.json"
NOBODY = 65532
UNPRIVILEGED = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
MODELS = Path(__file__).parent / "models"
POLL_SECONDS = 1.0

DOC = """
### {title}

Retrains `{name}` on the window that ends at `window_end` (default: the UTC day the run was due), registers a challenger in MLflow when rows changed,
then waits for the verdict of the promotion service. Any verdict is a success of this run; a merge of the pull request is a person's decision.

- **skipped** `retrain`: no row of the window changed, nothing was trained
- a failed `retrain` says why in the last line of its log; running it again is always safe
- [runs and versions in MLflow]({tracking_url}) · [promotions]({promote_url}/promotions/{name}) · model file `dags/models/{file}`
"""


@task(task_id="promote", trigger_rule="none_failed", retries=2, retry_delay=timedelta(seconds=20), execution_timeout=timedelta(minutes=20))
def promote(model: str, retrained: str | dict[str, Any] | None) -> dict[str, Any]:
    """Nudge the promotion service and return the promotion once its verdict stands.

    Args:
        model: The model's name.
        retrained: What `retrain run --json` printed, as its last line or, from a pod, decoded; None when retraining was skipped.

    Raises:
        AirflowFailException: A person has to act before anything can be judged, such as after a release that failed.
    """
    url = Variable.get("promote_url").rstrip("/")
    outcome = json.loads(retrained) if isinstance(retrained, str) else retrained
    version = outcome.get("version") if outcome else None
    _answer("POST", f"{url}/nudge/{model}")
    while True:
        promotion = _answer("GET", f"{url}/promotions/{model}")
        if _has_verdict(promotion, version):
            log.info("%s: %s", model, json.dumps(promotion))
            return promotion
        if (promotion["waiting_for"] or "").startswith("a person"):
            raise AirflowFailException(f"no verdict on version {version}: {promotion['state']}, waiting for {promotion['waiting_for']}")
        time.sleep(POLL_SECONDS)  # bounded by execution_timeout


def _has_verdict(promotion: dict[str, Any], version: int | None) -> bool:
    if version is None:
        return promotion["state"] not in {"unjudged", "blind"}
    if promotion["version"] is not None and promotion["version"] > version:
        return True  # a newer challenger took its place: ours will never be judged
    return promotion["version"] == version and promotion["verdict"] is not None


def _answer(method: str, url: str) -> dict[str, Any]:
    request = urllib.request.Request(url, method=method)  # noqa: S310 - the scheme is the owner's setting
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - as above
        return json.load(response)


def retrain_dag(model: dict[str, Any], file: str) -> DAG:
    """Return the DAG of one model."""
    name = model["name"]
    links = {"tracking_url": Variable.get("tracking_url", default="#"), "promote_url": Variable.get("promote_url", default="#")}
    dag = DAG(
        dag_id=f"retrain-{name}",
        dag_display_name=f"Retrain {name}",
        description=model.get("title", ""),
        doc_md=DOC.format(name=name, title=model.get("title") or name, file=file, **links),
        schedule=model.get("schedule", "0 6 * * MON"),
        catchup=False,  # and no start_date: switched on, it waits for its next due time instead of running the last one
        max_active_runs=1,
        tags=["retrain", name],
        default_args={"owner": model["owner"], "retries": 2, "retry_delay": timedelta(minutes=5), "retry_exponential_backoff": True},
        params={
            "window_end": Param(
                None, type=["null", "string"], format="date", title="Window end", description="Rows before this UTC day; empty: the day it was due."
            ),
            "reason": Param("", type="string", maxLength=500, title="Reason", description="Why this run was started by hand; kept in MLflow."),
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
    """Return the task that retrains: here, or in a pod of the cluster; the same command, exit codes and time limit.

    Args:
        where: `local` or `kubernetes`.
        environment: Its values are templates; the command reads them, so that nothing a person types is code.
    """
    usual = {"task_id": "retrain", "skip_on_exit_code": UNCHANGED, "execution_timeout": timedelta(hours=2)}
    if where == "local":
        return BashOperator(bash_command=RETRAIN, env=environment, append_env=True, **usual)
    if where == "kubernetes":
        return retrain_pod(environment, usual)
    raise ValueError(f"RATCHET_TASKS is {where!r}; it should be local or kubernetes")


def retrain_pod(environment: dict[str, str], usual: dict[str, Any]) -> BaseOperator:
    """Return the task that runs the command in a pod of its own, which the restricted Pod Security Standard lets in."""
    image = os.environ.get("RATCHET_RETRAIN_IMAGE", "")
    if not re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", image):
        raise ValueError(f"RATCHET_RETRAIN_IMAGE is {image!r}; it should name retrain's image by digest, …@sha256:…, so that a run can be repeated")
    return pod_operator()(
        name=f"retrain-{environment['RATCHET_MODEL']}",
        namespace=os.environ.get("RATCHET_RETRAIN_NAMESPACE", "retrain"),
        image=image,
        cmds=["/bin/sh", "-c"],
        arguments=[f"{RETRAIN} > {XCOM_FILE}"],  # what stdout says is the XCom; people read stderr in the log
        env_vars={**environment, "HOME": "/tmp", "TMPDIR": "/tmp"},  # noqa: S108 - the pod's own, empty at its start
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
        pod_template_dict=pod_template(os.environ.get("RATCHET_RETRAIN_CPU", "1"), os.environ.get("RATCHET_RETRAIN_MEMORY", "4Gi")),
        do_xcom_push=True,
        termination_message_policy="FallbackToLogsOnError",
        active_deadline_seconds=int(usual["execution_timeout"].total_seconds()),
        startup_timeout_seconds=600,  # a node may have to be started first
        **usual,
    )


def pod_operator() -> type[BaseOperator]:
    """Return the operator whose pod's XCom sidecar is retrain's own image: pinned, and on the node already. By default it is an alpine from Docker Hub."""
    from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator  # noqa: PLC0415 - slow to load, and a laptop does without

    class RetrainPod(KubernetesPodOperator):
        def build_pod_request_obj(self, *arguments: Any, **options: Any) -> Any:
            pod = super().build_pod_request_obj(*arguments, **options)
            for container in pod.spec.containers:
                container.image = self.image
            return pod

    return RetrainPod


def pod_template(cpu: str, memory: str) -> dict[str, Any]:
    """Return what the operator's own parameters take as classes of the kubernetes package only."""
    container = {
        "name": "base",
        "resources": {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": memory}},
        "envFrom": [{"configMapRef": {"name": "retrain"}}, {"secretRef": {"name": "retrain"}}],
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - as above
    }
    volume = {"name": "tmp", "emptyDir": {"sizeLimit": "4Gi"}}
    return {"apiVersion": "v1", "kind": "Pod", "spec": {"enableServiceLinks": False, "containers": [container], "volumes": [volume]}}


def broken_dag(path: Path, fault: Exception) -> DAG:
    """Return a DAG that shows and repeats what is wrong with a model file, so that the other models go on."""
    sentence = f"dags/models/{path.name} has no DAG: {fault!r}. Run `retrain check`; see the head of dags/retrain_dags.py for its settings."
    dag = DAG(dag_id=f"broken-{path.stem}", schedule=None, catchup=False, tags=["retrain", "broken"], doc_md=sentence)

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
