"""A real Kubernetes with a real Flux, from its start to its end.

It needs `make cluster-build` once, root and Debian's packages.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.local.kubernetes.build import built_folder
from infra.local.kubernetes.cluster import Cluster, start_cluster
from infra.local.kubernetes.image import push_image
from infra.local.kubernetes.state import read_state
from tests.grounds.kubernetes_ground import wait_until, why_not

URL = "https://github.com/acme/ratchet"


pytestmark = [
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
    pytest.mark.kubernetes,
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    running = start_cluster(tmp_path_factory.mktemp("cluster"))
    running.kubectl("create", "namespace", "demo")
    running.kubectl("label", "namespace", "demo", "pod-security.kubernetes.io/enforce=restricted")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def image(cluster: Cluster) -> str:
    return push_image(
        cluster.registry_url,
        "demo/answer",
        {"/answer": (built_folder() / "answer").read_bytes()},
        ["/answer"],
    )


@pytest.fixture(scope="module")
def work(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("git")
    bare, work = folder / "bare.git", folder / "work"
    git(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(bare))
    git(folder, "clone", "--quiet", str(bare), str(work))
    cluster.serve_repository(URL, str(bare))
    return work


def deployment(image: str, word: str, *, name: str = "answer", replicas: int = 2) -> dict[str, Any]:
    probe = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
    container = {
        "name": "answer",
        "image": image,
        "env": [{"name": "WORD", "value": word}],
        "readinessProbe": probe,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    pod = {
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
    labels = {"app": name}
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "demo"},
        "spec": spec,
    }


def service(name: str = "answer") -> dict[str, Any]:
    spec = {
        "type": "NodePort",
        "selector": {"app": name},
        "ports": [{"port": 80, "targetPort": 8080}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "demo"},
        "spec": spec,
    }


def apply(cluster: Cluster, *objects: dict[str, Any]) -> None:
    for content in objects:
        cluster.kubectl(
            "apply", "--server-side", "--force-conflicts", "--filename=-", stdin=json.dumps(content)
        )


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as response:
        return str(response.read().decode())


def answers(url: str, word: str) -> bool:
    try:
        return get(url) == word
    except OSError:
        return False


def test_it_is_ready_in_under_a_minute(cluster: Cluster) -> None:
    state = read_state(cluster.folder)
    assert state is not None
    print(f"ready after {state.seconds} s")
    assert state.phase == "ready"
    assert state.seconds < 60


def test_a_restricted_deployment_of_a_pushed_image_answers_by_pod_service_node_port_and_name(
    cluster: Cluster, image: str
) -> None:
    apply(cluster, deployment(image, "hello"), service())
    cluster.kubectl("--namespace=demo", "rollout", "status", "deployment/answer", "--timeout=60s")
    pod = cluster.kubectl(
        "--namespace=demo",
        "get",
        "pods",
        "-l",
        "app=answer",
        "-o",
        "jsonpath={.items[0].status.podIP}",
    )
    seen = json.loads(cluster.kubectl("--namespace=demo", "get", "service/answer", "-o", "json"))[
        "spec"
    ]
    assert get(f"http://{pod}:8080/") == "hello"
    for url in (
        f"http://{seen['clusterIP']}/",
        f"http://{cluster.network.node}:{seen['ports'][0]['nodePort']}/",
    ):
        wait_until(
            lambda url=url: answers(url, "hello")
        )  # kube-proxy writes its rules in its own time
    assert seen["clusterIP"] in dns(cluster, "answer.demo.svc.cluster.local")


def test_logs_reach_the_host(cluster: Cluster, image: str) -> None:
    broken = deployment(image, "x", name="broken", replicas=1)
    broken["spec"]["template"]["spec"]["containers"][0]["env"] = [
        {"name": "PORT", "value": "nonsense"}
    ]
    apply(cluster, broken)
    wait_until(lambda: "broken" in cluster.kubectl("--namespace=demo", "get", "pods", "-o", "name"))
    wait_until(
        lambda: (
            "unknown port" in answer_of(cluster, "--namespace=demo", "logs", "deployment/broken")
        )
    )
    cluster.kubectl("--namespace=demo", "delete", "deployment/broken")


def test_an_image_that_does_not_exist_says_so(cluster: Cluster) -> None:
    apply(
        cluster,
        deployment(
            f"{cluster.registry}/demo/answer@sha256:{'0' * 64}", "x", name="absent", replicas=1
        ),
    )
    query = [
        "--namespace=demo",
        "get",
        "pods",
        "-l",
        "app=absent",
        "-o",
        "jsonpath={.items[*].status.containerStatuses[*].state.waiting.reason}",
    ]
    wait_until(lambda: cluster.kubectl(*query) in ("ErrImagePull", "ImagePullBackOff"))
    cluster.kubectl("--namespace=demo", "delete", "deployment/absent")


class TestFlux:
    """A small kustomization out of a bare git repository."""

    def test_a_commit_is_applied_by_the_real_controller(
        self, cluster: Cluster, image: str, work: Path
    ) -> None:
        push(
            work,
            {
                "gitops/deployment.yaml": json.dumps(deployment(image, "one", name="flux")),
                "gitops/service.yaml": json.dumps(service("flux")),
            },
        )
        apply(cluster, *flux_objects())
        seconds = wait_until(lambda: is_applied(cluster, work))
        print(f"applied {seconds:.1f} s after the objects")
        assert get(cluster_address(cluster, "flux")) == "one"

    def test_the_next_commit_is_a_rollout(self, cluster: Cluster, image: str, work: Path) -> None:
        push(work, {"gitops/deployment.yaml": json.dumps(deployment(image, "two", name="flux"))})
        seconds = wait_until(lambda: is_applied(cluster, work))
        print(f"commit to healthy: {seconds:.1f} s")
        assert get(cluster_address(cluster, "flux")) == "two"

    def test_a_hand_edited_deployment_is_put_back(self, cluster: Cluster) -> None:
        cluster.kubectl("--namespace=demo", "set", "env", "deployment/flux", "WORD=mine")
        cluster.kubectl(
            "--namespace=flux-system",
            "annotate",
            "kustomization/demo",
            "--overwrite",
            f"reconcile.fluxcd.io/requestedAt={time.time()}",
        )
        wait_until(
            lambda: (
                "WORD=two"
                in cluster.kubectl("--namespace=demo", "set", "env", "deployment/flux", "--list")
            )
        )

    def test_what_leaves_git_leaves_the_cluster(self, cluster: Cluster, work: Path) -> None:
        (work / "gitops/service.yaml").unlink()
        push(work, {})
        wait_until(
            lambda: (
                "flux" not in cluster.kubectl("--namespace=demo", "get", "services", "-o", "name")
            )
        )

    def test_a_folder_that_does_not_build_is_reported_and_deletes_nothing(
        self, cluster: Cluster, work: Path
    ) -> None:
        push(work, {"gitops/broken.yaml": "kind: {"})
        query = [
            "--namespace=flux-system",
            "get",
            "kustomization/demo",
            "-o",
            "jsonpath={.status.conditions[?(@.type=='Ready')].reason}",
        ]
        wait_until(lambda: cluster.kubectl(*query) == "BuildFailed")
        assert "flux" in cluster.kubectl("--namespace=demo", "get", "deployments", "-o", "name")


class TestFaults:
    """What is killed comes back by itself."""

    @pytest.mark.parametrize("component", ["containerd", "controller-manager", "source"])
    def test_a_component_that_is_killed_is_started_again(
        self, cluster: Cluster, component: str
    ) -> None:
        before = read_state(cluster.folder)
        assert before is not None
        cluster.kill(component)
        wait_until(lambda: restarts(cluster, component) > before.components[component].restarts)

    def test_pods_answer_while_containerd_and_the_api_server_are_away(
        self, cluster: Cluster, image: str
    ) -> None:
        apply(cluster, deployment(image, "steady"), service())
        cluster.kubectl(
            "--namespace=demo", "rollout", "status", "deployment/answer", "--timeout=60s"
        )
        address = cluster_address(cluster, "answer")
        for component in ("containerd", "apiserver"):
            cluster.hold(component)
            cluster.kill(component)
        time.sleep(2)  # away, not only restarting
        assert get(address) == "steady"
        for component in ("containerd", "apiserver"):
            cluster.release(component)
        wait_until(lambda: is_ready(cluster))
        assert get(address) == "steady"


def git(folder: Path, *arguments: str) -> str:
    names = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
        "GIT_CONFIG_GLOBAL": os.devnull,
    }
    return subprocess.run(
        ["git", *arguments],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **names},
    ).stdout.strip()


def push(work: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(content)
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "--message", "change")
    git(work, "push", "--quiet", "origin", "HEAD:main")


def flux_objects() -> list[dict[str, Any]]:
    metadata = {"name": "demo", "namespace": "flux-system"}
    source = {"interval": "15s", "url": URL, "ref": {"branch": "main"}, "ignore": "/*\n!/gitops\n"}
    spec = {
        "interval": "10m",
        "retryInterval": "5s",
        "timeout": "1m",
        "path": "./gitops",
        "prune": True,
        "wait": True,
    }
    return [
        {
            "apiVersion": "source.toolkit.fluxcd.io/v1",
            "kind": "GitRepository",
            "metadata": metadata,
            "spec": source,
        },
        {
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
            "kind": "Kustomization",
            "metadata": metadata,
            "spec": {**spec, "sourceRef": {"kind": "GitRepository", "name": "demo"}},
        },
    ]


def is_applied(cluster: Cluster, work: Path) -> bool:
    status = json.loads(
        cluster.kubectl("--namespace=flux-system", "get", "kustomization/demo", "-o", "json")
    ).get("status", {})
    return str(status.get("lastAppliedRevision", "")).endswith(git(work, "rev-parse", "HEAD"))


def answer_of(cluster: Cluster, *arguments: str) -> str:
    """What kubectl says, or nothing while it refuses."""
    try:
        return cluster.kubectl(*arguments)
    except subprocess.CalledProcessError:
        return ""


def is_ready(cluster: Cluster) -> bool:
    condition = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
    return (
        answer_of(cluster, "get", "--raw=/readyz") == "ok"
        and answer_of(cluster, "get", "node/ratchet", "-o", condition) == "True"
    )


def restarts(cluster: Cluster, component: str) -> int:
    state = read_state(cluster.folder)
    return state.components[component].restarts if state is not None else 0


def cluster_address(cluster: Cluster, name: str) -> str:
    get = ("--namespace=demo", "get", f"service/{name}", "-o", "jsonpath={.spec.clusterIP}")
    return f"http://{cluster.kubectl(*get)}/"


def dns(cluster: Cluster, name: str) -> set[str]:
    """Ask the cluster's server for a name's addresses: one question in DNS's own form."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(3)
        asking.sendto(
            struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1",
            (cluster.network.node, 53),
        )
        answer = asking.recv(512)
    return {".".join(map(str, answer[index : index + 4])) for index in range(12, len(answer) - 3)}
