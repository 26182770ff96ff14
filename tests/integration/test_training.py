"""gitops/platform/training as kustomize builds it, and a retraining's pod.

A real kube-apiserver accepts them under its restricted rules. Airflow may start pods only.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.images.__main__ import main
from tests.grounds.apiserver import ApiServer, running
from tests.grounds.cloudformation import template
from tests.grounds.manifest_rules import images_are_named_by_digest, objects_name_their_owner
from tests.grounds.manifests import ROOT, Object, kustomize
from tests.unit.dags.test_retrain_pods import IMAGE, parse

AIRFLOW = "system:serviceaccount:airflow:airflow"
FOLDER = ROOT / "gitops/platform/training"


@pytest.fixture(scope="module")
def built() -> list[Object]:
    return kustomize(FOLDER)


@pytest.fixture(scope="module")
def server(built: list[Object]) -> Iterator[ApiServer]:
    with running() as started:
        done = started.kubectl("apply", "--validate=strict", "-f", "-", objects=built)
        assert done.stderr == "", "a warning of Pod Security would stand here"
        yield started


def of_kind(built: list[Object], kind: str) -> list[Object]:
    return [found for found in built if found["kind"] == kind]


def one(built: list[Object], kind: str, name: str) -> Object:
    [found] = [each for each in of_kind(built, kind) if each["metadata"]["name"] == name]
    return found


def pods(built: list[Object]) -> list[Object]:
    return [found["spec"]["template"]["spec"] for found in of_kind(built, "Deployment")]


def test_nothing_stays_unset_and_what_is_only_copied_is_not_applied(built: list[Object]) -> None:
    assert "unset" not in re.findall(r"\w+", yaml.safe_dump(built))
    assert of_kind(built, "PodTemplate") == []
    assert {found["metadata"]["name"] for found in of_kind(built, "ConfigMap")} == {
        "airflow",
        "retrain",
    }


def test_images_are_named_by_digest_and_objects_name_their_owner(built: list[Object]) -> None:
    assert list(images_are_named_by_digest(built)) == []
    assert list(objects_name_their_owner(built)) == []


def test_flux_applies_this_folder() -> None:
    flux = yaml.safe_load((ROOT / "gitops/clusters/production/training-services.yaml").read_text())
    assert flux["spec"]["path"] == "./gitops/platform/training"
    assert flux["spec"]["prune"] is True


@pytest.mark.parametrize("name", ["retrain", "mlflow", "dags", "promote"])
def test_a_released_image_reaches_what_runs_it_and_nothing_else_changes(
    tmp_path: Path, built: list[Object], name: str
) -> None:
    folder = tmp_path / "training"
    shutil.copytree(FOLDER, folder)
    reference = f"registry.example/ratchet/{name}@sha256:{'1' * 64}"
    assert main(["release", name, reference, str(folder)]) == 0
    [old] = {
        image
        for image in re.findall(r"[\w./-]+@sha256:0{64}", yaml.safe_dump(built))
        if image.split("@")[0].endswith(f"/{name}")
    }
    changed = yaml.safe_dump(kustomize(folder))
    assert changed == yaml.safe_dump(built).replace(old, reference)
    assert changed.count(reference) == {"retrain": 2, "mlflow": 2, "dags": 5, "promote": 1}[name]


def test_another_retrain_image_makes_another_airflow_pod(built: list[Object]) -> None:
    settings = one(built, "ConfigMap", "airflow")["data"]
    pod = one(built, "Deployment", "airflow")["spec"]["template"]
    image = settings["RATCHET_RETRAIN_IMAGE"]
    assert pod["metadata"]["annotations"] == {"ratchet.internal/retrain-image": image}
    assert settings["RATCHET_TASKS"] == "kubernetes"


def test_a_role_is_annotated_on_the_account_that_may_take_it(built: list[Object]) -> None:
    trusts = {
        role: properties["Properties"]["AssumeRolePolicyDocument"]["Fn::Sub"]
        for role, properties in template("roles")["Resources"].items()
    }
    found = [each for each in of_kind(built, "ServiceAccount") if "annotations" in each["metadata"]]
    assert len(found) == 2
    for account in found:
        name, namespace = account["metadata"]["name"], account["metadata"]["namespace"]
        role = account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"]
        assert role == f"arn:aws:iam::123456789012:role/acme-{name}"
        assert f"system:serviceaccount:{namespace}:{name}" in trusts[name.title()]
    promote = next(yaml.safe_load_all((ROOT / "gitops/platform/promote/account.yaml").read_text()))
    place = f"{promote['metadata']['namespace']}:{promote['metadata']['name']}"
    assert f"system:serviceaccount:{place}" in trusts["Promote"]


def test_every_namespace_is_restricted_and_its_pods_are_let_in(built: list[Object]) -> None:
    enforced = [
        each["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        for each in of_kind(built, "Namespace")
    ]
    assert enforced == ["restricted"] * 3
    containers = [
        each for pod in pods(built) for each in (*pod["containers"], *pod["initContainers"])
    ]
    assert len(containers) == 8
    for container in containers:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"requests", "limits"} <= set(container["resources"])
    for pod in pods(built):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["enableServiceLinks"] is False


def test_every_namespace_lets_in_only_who_needs_it(built: list[Object]) -> None:
    """A retraining may ask MLflow, names, and addresses outside: S3 and the warehouse."""
    policies = {
        each["metadata"]["namespace"]: each["spec"] for each in of_kind(built, "NetworkPolicy")
    }
    assert all(policy["podSelector"] == {} for policy in policies.values())
    assert all("Ingress" in policy["policyTypes"] for policy in policies.values())
    assert "ingress" not in policies["airflow"]
    assert "ingress" not in policies["retrain"]
    asks = policies["retrain"]["egress"]
    assert [place["to"][0].get("ipBlock") for place in asks if "ipBlock" in place["to"][0]] == [
        {"cidr": "0.0.0.0/0", "except": ["169.254.169.254/32"]}
    ]
    [entry] = policies["mlflow"]["ingress"]
    assert [next(iter(each.values()))["matchLabels"] for each in entry["from"]] == [
        {"kubernetes.io/metadata.name": "retrain"},
        {"kubernetes.io/metadata.name": "promote"},
    ]


def test_airflow_starts_pods_in_one_namespace_and_reads_no_secret(built: list[Object]) -> None:
    rules = of_kind(built, "Role")
    assert [rule["metadata"]["namespace"] for rule in rules] == ["retrain"]
    assert {resource for rule in rules[0]["rules"] for resource in rule["resources"]} == {
        "pods",
        "pods/log",
        "pods/exec",
        "events",
    }


def test_one_container_beside_airflow_has_the_forges_token_and_the_others_read_what_it_fetched(
    built: list[Object],
) -> None:
    pod = one(built, "Deployment", "airflow")["spec"]["template"]["spec"]
    containers = {each["name"]: each for each in (*pod["initContainers"], *pod["containers"])}
    knows = {name for name, each in containers.items() if "forge" in yaml.safe_dump(each)}
    assert knows == {"mirror"}
    mirror = containers["mirror"]
    assert mirror["restartPolicy"] == "Always"  # before the others, and as long as they run
    assert "envFrom" not in mirror  # Airflow's own secrets are not its business
    mounts = {
        name: mount.get("readOnly", False)
        for name, each in containers.items()
        for mount in each["volumeMounts"]
        if mount["name"] == "mirror"
    }
    reads = {"api-server": True, "scheduler": True, "dag-processor": True}
    assert mounts == {"mirror": False, **reads}
    settings = one(built, "ConfigMap", "airflow")["data"]
    [bundle] = json.loads(settings["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"])
    assert bundle["kwargs"]["mirror"] == mirror["command"][2]


def test_mlflow_migrates_before_it_starts_alone_and_knows_its_region(built: list[Object]) -> None:
    mlflow = one(built, "Deployment", "mlflow")["spec"]
    assert mlflow["strategy"] == {"type": "Recreate"}
    pod = mlflow["template"]["spec"]
    [migrate], [mlflow_server] = pod["initContainers"], pod["containers"]
    assert migrate["command"][:3] == ["mlflow", "db", "upgrade"]
    assert migrate["image"] == mlflow_server["image"]
    env = {each["name"]: each.get("value") for each in mlflow_server["env"]}
    # AWS_REGION alone is read by no boto3, and EKS adds neither beside it.
    assert {name: value for name, value in env.items() if "REGION" in name} == {
        "AWS_DEFAULT_REGION": "eu-central-1"
    }
    assert env["MLFLOW_ARTIFACTS_DESTINATION"] == "s3://acme-ratchet-artifacts"


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    found = parse(
        tmp_path_factory.mktemp("dags"), RATCHET_TASKS="kubernetes", RATCHET_RETRAIN_IMAGE=IMAGE
    )
    manifest: dict[str, Any] = found["manifest"]
    return manifest


def refusal(server: ApiServer, pod: dict[str, Any]) -> str:
    return server.kubectl(
        "create", "--dry-run=server", "--validate=strict", "-f", "-", objects=[pod], check=False
    ).stderr


def weakened(pod: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The pod with one line of its security taken away, each in turn."""
    for holder, lines in (
        ("spec", ("runAsNonRoot", "seccompProfile")),
        ("container", ("allowPrivilegeEscalation", "capabilities")),
    ):
        for line in lines:
            changed = copy.deepcopy(pod)
            where = changed["spec"] if holder == "spec" else changed["spec"]["containers"][-1]
            del where["securityContext"][line]
            yield line, changed


def test_the_pod_that_airflow_asks_for_is_let_in_and_a_weaker_one_is_not(
    server: ApiServer, pod: dict[str, Any]
) -> None:
    assert refusal(server, pod) == ""
    for line, changed in weakened(pod):
        assert "violates PodSecurity" in refusal(server, changed), line


@pytest.mark.parametrize("name", ["mlflow", "airflow"])
def test_the_pods_of_a_deployment_are_let_in_and_weaker_ones_are_not(
    server: ApiServer, name: str
) -> None:
    deployment = json.loads(
        server.kubectl("get", "deployment", name, "-n", name, "-o", "json").stdout
    )
    one = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "one", "namespace": name},
        "spec": deployment["spec"]["template"]["spec"],
    }
    assert refusal(server, one) == ""
    for line, changed in weakened(one):
        assert "violates PodSecurity" in refusal(server, changed), line


@pytest.mark.parametrize(
    ("verb", "what", "namespace", "answer"),
    [
        ("create", "pods", "retrain", "yes"),
        ("delete", "pods", "retrain", "yes"),
        ("get", "pods/log", "retrain", "yes"),
        ("create", "pods/exec", "retrain", "yes"),
        ("create", "pods", "models", "no"),
        ("create", "pods", "airflow", "no"),
        ("get", "secrets", "retrain", "no"),
        ("get", "configmaps", "retrain", "no"),
        ("create", "serviceaccounts/token", "retrain", "no"),
        ("patch", "networkpolicies.networking.k8s.io", "retrain", "no"),
    ],
)
def test_airflow_may_start_pods_in_one_namespace_and_nothing_else(
    server: ApiServer, verb: str, what: str, namespace: str, answer: str
) -> None:
    asked = server.kubectl(
        "auth", "can-i", verb, what, "-n", namespace, "--as", AIRFLOW, check=False
    )
    assert asked.stdout.strip() == answer


def test_a_field_that_does_not_exist_is_refused(server: ApiServer, built: list[Object]) -> None:
    wrong = copy.deepcopy(one(built, "Deployment", "airflow"))
    pod = wrong["spec"]["template"]["spec"]
    pod["enableServiceLink"] = pod.pop("enableServiceLinks")
    done = server.kubectl(
        "apply",
        "--dry-run=server",
        "--validate=strict",
        "-f",
        "-",
        objects=[wrong],
        check=False,
    )
    assert done.returncode != 0
