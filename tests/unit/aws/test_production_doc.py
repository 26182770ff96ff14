"""docs/production.md against what it mentions.

These are templates, parameters, outputs, settings, files, namespaces and the ruleset.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from promote.settings import PromoteSettings
from retrain.settings import Settings
from tests.grounds.cloudformation import template

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "production.md").read_text()
SHELL = "\n".join(re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL))
DEPLOYS = [shlex.split(line) for line in re.findall(r"aws cloudformation deploy .*", SHELL)]
CLUSTER = sorted((ROOT / "infra/aws/cluster").glob("*.yaml"))
VALUES = {
    name: f"a-{name.lower()}"
    for name in ("ROLE_OF_RETRAIN", "MLFLOW_ROLE", "SNAPSHOTS", "AWS_REGION", "ARTIFACTS_BUCKET")
}
VALUES |= {
    name: f"host/{name.lower()}@sha256:{'a' * 64}"
    for name in ("IMAGE_OF_RETRAIN", "MLFLOW_IMAGE", "AIRFLOW_IMAGE")
}


def filled(path: Path) -> str:
    """A file as envsubst leaves it."""
    return re.sub(r"\$\{(\w+)\}", lambda name: VALUES[name[1]], path.read_text())


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def test_every_template_is_deployed_in_order() -> None:
    assert [Path(option(command, "--template-file")).stem for command in DEPLOYS] == [
        "ecr",
        "buckets",
        "roles",
        "databases",
    ]


@pytest.mark.parametrize(
    "command", DEPLOYS, ids=lambda command: Path(option(command, "--template-file")).stem
)
def test_a_deployment_gives_every_parameter_and_no_other(command: list[str]) -> None:
    path = ROOT / option(command, "--template-file")
    content = template(path.stem)
    given = {
        pair.partition("=")[0]
        for pair in command[command.index("--parameter-overrides") + 1 :]
        if "=" in pair
    }
    required = {
        name for name, parameter in content["Parameters"].items() if "Default" not in parameter
    }
    assert required <= given <= set(content["Parameters"])
    makes_roles = any(
        resource["Type"].startswith("AWS::IAM::") for resource in content["Resources"].values()
    )
    assert ("--capabilities" in command) == makes_roles


def test_every_output_that_is_asked_for_exists_and_every_output_is_used() -> None:
    stacks = {
        option(command, "--stack-name"): template(Path(option(command, "--template-file")).stem)
        for command in DEPLOYS
    }
    asked = set(re.findall(r"output (ratchet-\w+) (\w+)", TEXT))
    assert all(name in stacks[stack]["Outputs"] for stack, name in asked)
    assert {name for stack, name in asked} == {
        name for stack in ("buckets", "roles", "databases") for name in template(stack)["Outputs"]
    }


def test_every_file_that_is_named_is_there() -> None:
    named = set(
        re.findall(
            r"\b(?:infra|gitops|docs|dags)/[\w/.-]+\.(?:yaml|json|md)\b|\.github/workflows/[\w.]+",
            TEXT,
        )
    )
    assert named >= {"infra/aws/ruleset.json", "infra/aws/cluster/mlflow.yaml"}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_every_setting_that_is_named_is_one() -> None:
    names = set(re.findall(r"\b(?:PROMOTE|RETRAIN)_[A-Z_]+\b", TEXT))
    known = {f"RETRAIN_{name.upper()}" for name in Settings.model_fields} | {
        f"PROMOTE_{name.upper()}" for name in PromoteSettings.model_fields
    }
    assert names <= known


def objects(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(filled(path)))


def pods(path: Path) -> list[dict[str, Any]]:
    return [one["spec"]["template"]["spec"] for one in objects(path) if one["kind"] == "Deployment"]


def test_what_envsubst_fills_in_is_what_the_files_leave_open_and_was_set_before() -> None:
    for path in CLUSTER:
        left_open = set(re.findall(r"\$\{(\w+)\}", path.read_text()))
        filled = re.search(rf"envsubst '([^']+)' < infra/aws/cluster/{path.name}", SHELL)
        assert filled, path.name
        assert set(filled[1].replace("$", "").split()) == left_open
        assert all(re.search(rf"\b{name}=", SHELL[: filled.start()]) for name in left_open)


def test_a_role_is_annotated_on_the_account_that_may_take_it() -> None:
    trusts = {
        role: properties["Properties"]["AssumeRolePolicyDocument"]["Fn::Sub"]
        for role, properties in template("roles")["Resources"].items()
    }
    found = [
        one
        for path in CLUSTER
        for one in objects(path)
        if one["kind"] == "ServiceAccount" and one["metadata"].get("annotations")
    ]
    assert len(found) == 2
    for account in found:
        name, namespace = account["metadata"]["name"], account["metadata"]["namespace"]
        assert (
            account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"]
            == VALUES[{"retrain": "ROLE_OF_RETRAIN", "mlflow": "MLFLOW_ROLE"}[name]]
        )
        assert f"system:serviceaccount:{namespace}:{name}" in trusts[name.title()]
    gitops = next(yaml.safe_load_all((ROOT / "gitops/platform/promote/account.yaml").read_text()))
    assert (
        f"system:serviceaccount:{gitops['metadata']['namespace']}:{gitops['metadata']['name']}"
        in trusts["Promote"]
    )


def test_every_namespace_is_restricted_and_its_pods_are_let_in() -> None:
    namespaces = [one for path in CLUSTER for one in objects(path) if one["kind"] == "Namespace"]
    assert {
        one["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] for one in namespaces
    } == {"restricted"}
    assert len(namespaces) == len(CLUSTER)
    containers = [
        one
        for path in CLUSTER
        for pod in pods(path)
        for one in (*pod["containers"], *pod.get("initContainers", ()))
    ]
    assert len(containers) == 7
    for container in containers:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert re.fullmatch(r"host/\w+@sha256:a{64}", container["image"])
        assert {"requests", "limits"} <= set(container["resources"])
    for pod in (pod for path in CLUSTER for pod in pods(path)):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["enableServiceLinks"] is False


def test_airflow_starts_pods_in_one_namespace_and_reads_no_secret() -> None:
    rules = [one for path in CLUSTER for one in objects(path) if one["kind"] == "Role"]
    assert [rule["metadata"]["namespace"] for rule in rules] == ["retrain"]
    assert {resource for rule in rules[0]["rules"] for resource in rule["resources"]} == {
        "pods",
        "pods/log",
        "pods/exec",
        "events",
    }
    settings = next(
        one["data"]
        for one in objects(ROOT / "infra/aws/cluster/airflow.yaml")
        if one["kind"] == "ConfigMap"
    )
    assert (settings["RATCHET_TASKS"], settings["RATCHET_RETRAIN_IMAGE"]) == (
        "kubernetes",
        VALUES["IMAGE_OF_RETRAIN"],
    )


def test_another_retrain_image_makes_another_airflow_pod() -> None:
    [pod] = [
        one["spec"]["template"]
        for one in objects(ROOT / "infra/aws/cluster/airflow.yaml")
        if one["kind"] == "Deployment"
    ]
    assert VALUES["IMAGE_OF_RETRAIN"] in pod["metadata"]["annotations"].values()


def test_mlflow_migrates_before_it_starts_alone_and_knows_its_region_as_boto3_reads_it() -> None:
    [mlflow] = [
        one["spec"]
        for one in objects(ROOT / "infra/aws/cluster/mlflow.yaml")
        if one["kind"] == "Deployment"
    ]
    assert mlflow["strategy"] == {"type": "Recreate"}
    [migrate], [server] = (
        mlflow["template"]["spec"]["initContainers"],
        mlflow["template"]["spec"]["containers"],
    )
    assert migrate["command"][:3] == ["mlflow", "db", "upgrade"]
    assert migrate["image"] == server["image"]
    regions = {one["name"]: one["value"] for one in server["env"] if "REGION" in one["name"]}
    assert regions == {
        "AWS_DEFAULT_REGION": VALUES["AWS_REGION"]
    }  # AWS_REGION alone is read by no boto3, and EKS adds neither beside it


def test_the_ruleset_wants_a_person_and_the_gate_and_lets_nobody_past() -> None:
    assert "--input infra/aws/ruleset.json" in SHELL
    ruleset = json.loads((ROOT / "infra/aws/ruleset.json").read_text())
    rules = {rule["type"]: rule.get("parameters", {}) for rule in ruleset["rules"]}
    assert (ruleset["enforcement"], ruleset["bypass_actors"]) == ("active", [])
    assert ruleset["conditions"]["ref_name"] == {"include": ["~DEFAULT_BRANCH"], "exclude": []}
    assert rules["pull_request"]["required_approving_review_count"] >= 1
    assert all(
        rules["pull_request"][name]
        for name in (
            "dismiss_stale_reviews_on_push",
            "require_code_owner_review",
            "require_last_push_approval",
        )
    )
    assert rules["required_status_checks"]["required_status_checks"] == [
        {"context": "ratchet/gate"}
    ]
    assert {"deletion", "non_fast_forward"} <= set(rules)
