"""The task that runs `retrain run` in a pod. Only `RATCHET_TASKS=kubernetes` loads this file.

Environment: RATCHET_RETRAIN_IMAGE names retrain's image by digest. The pod runs in
RATCHET_RETRAIN_NAMESPACE. RATCHET_RETRAIN_CPU and RATCHET_RETRAIN_MEMORY are for models whose file
has no `resources`, RATCHET_RETRAIN_TOLERATIONS (JSON, a list as in a pod) for nodes with GPUs. The
pod's settings are the ConfigMap and the Secret `retrain` of that namespace.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk.exceptions import AirflowException, AirflowSkipException
from kubernetes.client import V1EnvVar

from ratchet_tasks.retraining import RETRAIN, failure, handed_over

XCOM_FILE = "/airflow/xcom/return.json"
NOBODY = 65532
UNPRIVILEGED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def retrain_pod(
    environment: dict[str, str], resources: dict[str, Any], usual: dict[str, Any]
) -> RetrainPod:
    """Return the task that runs the command in a pod.

    The pod keeps to the restricted Pod Security Standard.
    """
    image = os.environ.get("RATCHET_RETRAIN_IMAGE", "")
    if not re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", image):
        raise ValueError(
            f"RATCHET_RETRAIN_IMAGE is {image!r}; it should name retrain's image by digest,"
            " …@sha256:…, so that a run can be repeated"
        )
    return RetrainPod(
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
            str(resources.get("cpu") or os.environ.get("RATCHET_RETRAIN_CPU", "1")),
            resources.get("memory") or os.environ.get("RATCHET_RETRAIN_MEMORY", "4Gi"),
            resources.get("gpu", 0),
        ),
        do_xcom_push=True,
        termination_message_policy="FallbackToLogsOnError",
        active_deadline_seconds=int(usual["execution_timeout"].total_seconds()),
        startup_timeout_seconds=600,  # a node may have to be started first
        **usual,
    )


class RetrainPod(KubernetesPodOperator):
    """Runs retrain's pod.

    Its XCom sidecar is retrain's own image, which is pinned and on the node already; the provider's
    default is an alpine from Docker Hub. The task fails at once when the command's exit code is
    final. The code stands in the pod's status only.
    """

    def execute(self, context: Any) -> Any:
        """Start the pod with the model's files, and follow it to its end."""
        model = next(each.value for each in self.env_vars if each.name == "RATCHET_MODEL")
        files = handed_over(model, context)
        self.env_vars = [
            *self.env_vars,
            *(V1EnvVar(name=name, value=value) for name, value in files.items()),
        ]
        return super().execute(context)

    def build_pod_request_obj(self, *arguments: Any, **options: Any) -> Any:
        """Return the pod, with one image for all containers."""
        pod = super().build_pod_request_obj(*arguments, **options)
        for container in pod.spec.containers:
            container.image = self.image
        return pod

    def cleanup(self, pod: Any, remote_pod: Any, *arguments: Any, **options: Any) -> None:
        """Remove the pod and raise what its exit code means."""
        try:
            super().cleanup(pod, remote_pod, *arguments, **options)
        except AirflowSkipException:
            raise
        except AirflowException as error:
            raise failure(exit_code(remote_pod, self.base_container_name), error) from error


def exit_code(pod: Any, container: str) -> int | None:
    """Return the exit code of a pod's container; None when it runs, or has no status."""
    statuses = (pod.status.container_statuses if pod and pod.status else None) or []
    ended = [
        status.state.terminated for status in statuses if status.name == container and status.state
    ]
    return ended[0].exit_code if ended and ended[0] else None


def pod_template(cpu: str, memory: str, gpus: int) -> dict[str, Any]:
    """Return what the operator's own parameters take only as classes of `kubernetes`."""
    container = {
        "name": "base",
        "resources": {
            "requests": {"cpu": cpu, "memory": memory},
            "limits": {"memory": memory} | ({"nvidia.com/gpu": str(gpus)} if gpus else {}),
        },
        "envFrom": [{"configMapRef": {"name": "retrain"}}, {"secretRef": {"name": "retrain"}}],
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - as above
    }
    volume = {"name": "tmp", "emptyDir": {"sizeLimit": "4Gi"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "spec": {
            "enableServiceLinks": False,
            "containers": [container],
            "volumes": [volume],
            "tolerations": json.loads(os.environ.get("RATCHET_RETRAIN_TOLERATIONS", "[]")),
        },
    }
