"""The retrain task as a pod, as Airflow would ask the cluster for it.

The operator itself builds the pod, in a process of its own.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
IMAGE = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/ratchet/retrain@sha256:" + "ab" * 32

PARSE = """
import json, sys
from airflow.dag_processing.dagbag import BundleDagBag
from kubernetes.client import ApiClient

bag = BundleDagBag(sys.argv[1], bundle_path=sys.argv[1])
found = {"errors": bag.import_errors, "docs": {name: dag.doc_md for name, dag in bag.dags.items()}}
for dag in bag.dags.values():
    if "retrain" in dag.task_ids:
        task = dag.get_task("retrain")
        if hasattr(task, "build_pod_request_obj"):
            pod = task.build_pod_request_obj(dry_run=True)
            found |= {
                "pod": pod.to_dict(),
                "manifest": ApiClient().sanitize_for_serialization(pod),
                "skip": sorted(task.skip_on_exit_code),
                "xcom": task.do_xcom_push,
                "hours": task.execution_timeout.total_seconds() / 3600,
            }
        else:
            found |= {"bash": task.bash_command}
print(json.dumps(found, default=str))
"""

PROMOTE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from ratchet_tasks import promotion

def answer(method, url):
    asked.append(method)
    verdict = "promote" if len(asked) > 2 else None
    found = {"state": "unopened", "version": 3, "waits_for": "promote", "reason": ""}
    return {**found, "verdict": verdict}

promotion._answer, promotion.POLL_SECONDS = answer, 0
promotion.get_current_context = dict
found = []
for retrained in ({"version": 3}, None):
    asked = []
    found.append([promotion.promote.function("minimal", retrained)["version"], asked])
print(json.dumps(found))
"""


MINIMAL = "name: minimal\nowner: '@someone'\n"


def parse(folder: Path, *, script: str = PARSE, model: str = MINIMAL, **settings: str) -> Any:
    without_models = shutil.ignore_patterns("models", "__pycache__")
    shutil.copytree(ROOT / "dags", folder / "dags", ignore=without_models, dirs_exist_ok=True)
    (folder / "dags" / "models").mkdir(exist_ok=True)
    (folder / "dags" / "models" / "minimal.yaml").write_text(model)
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RATCHET_")},
        "AIRFLOW_HOME": str(folder / "home"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
        "AIRFLOW_VAR_PROMOTE_URL": "http://127.0.0.1:1",
        "AIRFLOW_VAR_TRACKING_URL": "http://127.0.0.1:2",
        "AIRFLOW_CONN_KUBERNETES_DEFAULT": "kubernetes://",
        **settings,
    }
    command = [sys.executable, "-W", "ignore", "-c", script, str(folder / "dags")]
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> dict:
    found = parse(
        tmp_path_factory.mktemp("pods"),
        RATCHET_TASKS="kubernetes",
        RATCHET_RETRAIN_IMAGE=IMAGE,
        RATCHET_RETRAIN_MEMORY="6Gi",
    )
    assert found["errors"] == {}
    assert "pod" in found, found["docs"]
    return found


@pytest.fixture(scope="module")
def spec(parsed: dict) -> dict:
    return parsed["pod"]["spec"]


@pytest.fixture(scope="module")
def base(spec: dict) -> dict:
    return next(container for container in spec["containers"] if container["name"] == "base")


def test_the_pod_runs_the_command_that_a_laptop_runs_and_its_outcome_is_the_xcom(
    base: dict, parsed: dict, tmp_path: Path
) -> None:
    laptop = parse(tmp_path)["bash"]
    assert base["command"] == ["/bin/sh", "-c"]
    assert base["args"] == [laptop]
    assert {variable["name"]: variable["value"] for variable in base["env"]}[
        "RATCHET_OUTCOME"
    ] == "/airflow/xcom/return.json"
    assert parsed["xcom"]


def test_the_shell_hands_on_output_exit_code_and_what_a_person_typed(
    base: dict, tmp_path: Path
) -> None:
    (tmp_path / "retrain").write_text('#!/bin/sh\nprintf "%s|" "$@"\necho progress >&2\nexit 99\n')
    (tmp_path / "retrain").chmod(0o755)
    typed = "$(touch hacked); `id` \" '"
    env = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "RATCHET_MODEL": "m",
        "RATCHET_WINDOW_END": "2013-07-08",
        "RATCHET_REASON": typed,
        "RATCHET_OUTCOME": "/airflow/xcom/return.json",
    }
    done = subprocess.run(
        ["/bin/sh", "-c", base["args"][0]],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 99
    assert done.stderr == "progress\n"
    assert (
        done.stdout
        == f"run|m|--end|2013-07-08|--reason|{typed}|--outcome|/airflow/xcom/return.json|"
    )
    assert not (tmp_path / "hacked").exists()


def test_unchanged_is_skipped_and_a_run_that_hangs_is_ended(parsed: dict, spec: dict) -> None:
    assert parsed["skip"] == [99]
    assert parsed["hours"] == 2
    assert spec["active_deadline_seconds"] == 7200
    assert spec["restart_policy"] == "Never"


def test_the_pod_is_one_that_the_restricted_standard_lets_in(spec: dict) -> None:
    together = spec["security_context"]
    assert (together["runAsNonRoot"], together["runAsUser"], together["seccompProfile"]) == (
        True,
        65532,
        {"type": "RuntimeDefault"},
    )
    assert not spec["host_network"]
    for container in spec["containers"]:
        security = container["security_context"]
        assert security["allowPrivilegeEscalation"] is False, container["name"]
        assert security["readOnlyRootFilesystem"] is True, container["name"]
        assert security["capabilities"] == {"drop": ["ALL"]}, container["name"]


def test_every_image_is_named_by_the_digest_that_was_set(spec: dict) -> None:
    assert {container["image"] for container in spec["containers"]} == {IMAGE}
    assert len(spec["containers"]) == 2, "the second one hands on the XCom"


def test_it_has_a_role_but_no_way_into_the_cluster(parsed: dict, spec: dict) -> None:
    assert parsed["pod"]["metadata"]["namespace"] == "retrain"
    assert spec["service_account_name"] == "retrain"
    assert spec["automount_service_account_token"] is False


def test_it_asks_for_what_it_needs_and_is_stopped_at_more(base: dict) -> None:
    assert base["resources"]["requests"] == {"cpu": "1", "memory": "6Gi"}
    assert base["resources"]["limits"] == {"memory": "6Gi"}


def test_its_settings_come_from_the_cluster_and_the_run_from_airflow(
    base: dict, spec: dict
) -> None:
    names = [
        source[kind]["name"]
        for source in base["env_from"]
        for kind in ("config_map_ref", "secret_ref")
        if source[kind]
    ]
    assert names == ["retrain", "retrain"]
    values = {variable["name"]: variable["value"] for variable in base["env"]}
    assert values["RATCHET_MODEL"] == "minimal"
    assert "params.window_end" in values["RATCHET_WINDOW_END"]
    assert spec["enable_service_links"] is False, "they would be settings: RETRAIN_PORT=tcp://…"


def test_it_may_write_to_its_own_tmp_and_the_xcom_folder_only(base: dict, spec: dict) -> None:
    assert {mount["mount_path"] for mount in base["volume_mounts"]} == {"/tmp", "/airflow/xcom"}
    assert all(volume["empty_dir"] is not None for volume in spec["volumes"])


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        (
            {"RATCHET_TASKS": "kubernetes"},
            "RATCHET_RETRAIN_IMAGE is ''; it should name retrain's image by digest",
        ),
        (
            {"RATCHET_TASKS": "kubernetes", "RATCHET_RETRAIN_IMAGE": "acme/retrain:latest"},
            "by digest",
        ),
        (
            {"RATCHET_TASKS": "kubernetes", "RATCHET_RETRAIN_IMAGE": "acme/retrain@sha256:abc"},
            "by digest",
        ),
        ({"RATCHET_TASKS": "swarm"}, "it should be local or kubernetes"),
    ],
)
def test_a_wrong_setting_is_said_where_people_look(
    tmp_path: Path, settings: dict[str, str], found: str
) -> None:
    assert found in parse(tmp_path, **settings)["docs"]["broken-minimal"]


ENDS = """
import json, sys
from airflow.dag_processing.dagbag import BundleDagBag
from kubernetes import client as k8s

class Cluster:
    def read_pod(self, pod):
        return pod

    def delete_pod(self, pod):
        deleted.append(pod.metadata.name)

    def patch_namespaced_pod(self, **options):
        return None

deleted = []

def pod(code):
    ended, running = None, k8s.V1ContainerStateRunning()
    if code is not None:
        ended = k8s.V1ContainerStateTerminated(exit_code=code, message="as retrain says it")
        running = None
    state = k8s.V1ContainerState(terminated=ended, running=running)
    base = k8s.V1ContainerStatus(
        name="base", state=state, image="i", image_id="i", ready=False, restart_count=0
    )
    return k8s.V1Pod(
        metadata=k8s.V1ObjectMeta(name="retrain-minimal-1", namespace="retrain"),
        spec=k8s.V1PodSpec(containers=[k8s.V1Container(name="base")]),
        status=k8s.V1PodStatus(phase="Failed", container_statuses=[base]),
    )

bag = BundleDagBag(sys.argv[1], bundle_path=sys.argv[1])
task = bag.dags["retrain-minimal"].get_task("retrain")
task.__dict__.update(client=Cluster(), pod_manager=Cluster(), log_events_on_failure=False)
found = {}
for code in (1, 2, 127, 75, 137, 99, None):
    try:
        task.cleanup(pod(code), pod(code))
    except Exception as error:
        found[str(code)] = [type(error).__name__, str(error)]
print(json.dumps({"ends": found, "deleted": len(deleted)}))
"""


def test_a_pods_exit_code_says_whether_another_try_may_help(tmp_path: Path) -> None:
    found = parse(tmp_path, script=ENDS, RATCHET_TASKS="kubernetes", RATCHET_RETRAIN_IMAGE=IMAGE)
    ends = found["ends"]
    assert found["deleted"] == len(ends), "no pod is left behind"
    assert {code: kind for code, (kind, _) in ends.items()} == {
        "1": "AirflowFailException",
        "2": "AirflowFailException",
        "127": "AirflowFailException",
        "75": "AirflowException",
        "137": "AirflowException",
        "99": "AirflowSkipException",
        "None": "AirflowException",
    }
    assert "`retrain run` ended with 1: it failed, and trying again will not help" in ends["1"][1]
    assert "as retrain says it" in ends["1"][1]


def test_the_wait_is_for_the_verdict_of_the_version_that_was_trained(tmp_path: Path) -> None:
    trained, skipped = parse(tmp_path, script=PROMOTE)
    assert trained == [3, ["POST", "GET", "GET"]]
    assert skipped == [3, ["POST", "GET"]]


def test_a_models_own_resources_reach_its_pod_and_gpus_come_with_tolerations(
    tmp_path: Path,
) -> None:
    tolerations = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    found = parse(
        tmp_path,
        model=MINIMAL + "resources: {cpu: 1.5, memory: 12Gi, gpu: 1}\n",
        RATCHET_TASKS="kubernetes",
        RATCHET_RETRAIN_IMAGE=IMAGE,
        RATCHET_RETRAIN_MEMORY="6Gi",
        RATCHET_RETRAIN_TOLERATIONS=json.dumps(tolerations),
    )
    pod = found["manifest"]["spec"]
    [base] = [each for each in pod["containers"] if each["name"] == "base"]
    assert base["resources"] == {
        "requests": {"cpu": "1.5", "memory": "12Gi"},
        "limits": {"memory": "12Gi", "nvidia.com/gpu": "1"},
    }
    assert pod["tolerations"] == tolerations
