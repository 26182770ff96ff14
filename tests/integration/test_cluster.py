"""The local cluster with real git, image folders and server processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.local.processes import Program, free_port, start, wait_until_answers
from promote.cluster.kubernetes import KubernetesRollout
from tests.grounds.cluster_ground import Ground

ROWS = {
    "carrier": ["UA"],
    "distance": [700.0],
    "hour": [9.0],
    "weekend": [0.0],
    "wind_speed": [4.0],
}
PATH = "/apis/apps/v1/namespaces/models/deployments/server-flight-delay"


class Cluster:
    """A started cluster and how to look at it."""

    def __init__(
        self,
        ground: Ground,
        folder: Path,
        *,
        deadline_seconds: float = 30.0,
        min_ready_seconds: float = 1.0,
    ) -> None:
        self.endpoints_file = folder / "endpoints.json"
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        command = [
            sys.executable,
            "-m",
            "infra.local.cluster",
            "--repository",
            str(ground.origin),
            "--images",
            str(ground.images),
        ]
        command += [
            "--folder",
            str(folder),
            "--endpoints",
            str(self.endpoints_file),
            "--port",
            str(port),
        ]
        command += [
            "--min-ready-seconds",
            str(min_ready_seconds),
            "--deadline-seconds",
            str(deadline_seconds),
        ]
        self.rollout = KubernetesRollout(self.url)
        self.program: Program = start("cluster", command, log=folder / "cluster.log")
        wait_until_answers(self.program, self.url)

    def get(self, path: str = PATH) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, json.load(refusal)

    def endpoints(self) -> list[str]:
        models = json.loads(self.endpoints_file.read_text())["models"]
        return [entry["url"] for entry in models.get("flight-delay", [])]

    def is_healthy(self, image: str) -> bool:
        return self.rollout.status("flight-delay", image).state == "healthy"

    def log(self) -> str:
        return self.program.log_tail(60)


def until(claim: Callable[[], object], cluster: Cluster, *, seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not claim():
        assert cluster.program.is_running, cluster.log()
        assert time.monotonic() < deadline, f"{cluster.log()}\n{cluster.get()}"
        time.sleep(0.1)  # bounded by the deadline above


def predict(url: str) -> dict[str, Any]:
    body = json.dumps({"blocks": [{"columns": ROWS}]}).encode()
    request = urllib.request.Request(f"{url}/predict", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)[0]


def server_pids(folder: Path) -> list[int]:
    """The processes whose working folder is below this cluster's."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if str((entry / "cwd").readlink()).startswith(f"{folder}/servers/"):
                    found.append(int(entry.name))
            except OSError:
                continue  # ended meanwhile, or another user's
    return found


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path / "ground").lay()


@pytest.fixture
def start_cluster(ground: Ground, tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    started: list[Cluster] = []

    def begin(**options: float) -> Cluster:
        started.append(Cluster(ground, tmp_path / "cluster", **options))
        return started[-1]

    yield begin
    for cluster in started:
        cluster.program.stop()
        cluster.rollout.close()
    assert server_pids(tmp_path / "cluster") == []


def test_before_the_first_release_there_is_no_deployment_and_no_endpoint(
    start_cluster: Callable[..., Cluster],
) -> None:
    cluster = start_cluster()
    until(cluster.endpoints_file.exists, cluster)
    until(lambda: cluster.get("/")[1]["revision"], cluster)
    code, body = cluster.get()
    assert (code, body["kind"], body["reason"]) == (404, "Status", "NotFound")
    assert json.loads(cluster.endpoints_file.read_text()) == {"models": {}}


class Caller(threading.Thread):
    """Asks without pause. Like the gateway, it follows the endpoints file and tries twice."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(daemon=True)
        self.cluster, self.answers, self.failures, self.done = cluster, [], [], threading.Event()
        self.read_at, self.url = 0.0, ""

    def run(self) -> None:
        while not self.done.is_set():
            if time.monotonic() - self.read_at > 0.25:
                self.read_at, self.url = time.monotonic(), self.cluster.endpoints()[0]
            try:
                self.answers.append(predict(self.url)["version"])
            except OSError as failure:
                self.failures.append(repr(failure))


def test_a_new_release_replaces_the_old_without_a_failed_call_and_a_revert_brings_it_back(
    ground: Ground, start_cluster: Callable[..., Cluster]
) -> None:
    cluster = start_cluster()
    first, second = ground.image(1), ground.image(2)
    ground.release(first)
    until(lambda: cluster.is_healthy(first.image), cluster)
    caller = Caller(cluster)
    caller.start()
    ground.release(second)
    until(lambda: cluster.is_healthy(second.image), cluster)
    seen = len(caller.answers)
    time.sleep(0.6)  # the caller goes on: what answers after the end counts
    assert set(caller.answers[seen + 1 :]) == {2}
    ground.git("revert", "--no-edit", "HEAD")
    until(lambda: cluster.is_healthy(first.image), cluster)
    time.sleep(0.3)  # as above
    caller.done.set()
    caller.join(10)
    assert caller.failures == []
    assert caller.answers[0] == 1
    assert caller.answers[-1] == 1
    assert [
        version
        for version, before in zip(caller.answers, [None, *caller.answers], strict=False)
        if version != before
    ] == [1, 2, 1]


@pytest.mark.e2e
def test_a_release_whose_image_is_damaged_fails_and_leaves_the_old_one_serving_until_the_revert(
    ground: Ground, start_cluster: Callable[..., Cluster]
) -> None:
    cluster = start_cluster(deadline_seconds=3.0)
    first, second = ground.image(1), ground.image(2)
    ground.release(first)
    until(lambda: cluster.is_healthy(first.image), cluster)
    blob = (
        ground.images
        / "ratchet"
        / "flight-delay"
        / "blobs"
        / "sha256"
        / second.image.rpartition(":")[2]
    )
    blob.write_bytes(blob.read_bytes().replace(b"schemaVersion", b"schemaversion"))
    ground.release(second)
    until(lambda: _progressing(cluster)["status"] == "False", cluster)
    assert _progressing(cluster)["reason"] == "ProgressDeadlineExceeded"
    assert "is damaged: its bytes have another digest" in _progressing(cluster)["message"]
    assert predict(cluster.endpoints()[0])["version"] == 1
    ground.git("revert", "--no-edit", "HEAD")
    until(lambda: cluster.is_healthy(first.image), cluster, seconds=12)


@pytest.mark.e2e
def test_a_release_with_another_models_digest_is_never_ready_and_the_log_names_the_file(
    ground: Ground, start_cluster: Callable[..., Cluster]
) -> None:
    cluster = start_cluster(deadline_seconds=15.0)
    first, second = ground.image(1), ground.image(2)
    ground.release(first.model_copy(update={"model_digest": second.model_digest}))
    until(lambda: cluster.get()[0] == 200 and _progressing(cluster)["status"] == "False", cluster)
    assert "model.json" in _progressing(cluster)["message"]
    assert "this model is not used" in _progressing(cluster)["message"]
    assert cluster.endpoints() == []


def test_a_killed_server_is_started_again(
    ground: Ground, start_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    cluster = start_cluster()
    release = ground.image(1)
    ground.release(release)
    until(lambda: cluster.is_healthy(release.image), cluster)
    (before,) = cluster.endpoints()
    (pid,) = server_pids(tmp_path / "cluster")
    os.kill(pid, signal.SIGKILL)
    until(lambda: cluster.endpoints() not in ([before], []), cluster)
    until(lambda: cluster.is_healthy(release.image), cluster)
    assert predict(cluster.endpoints()[0])["version"] == 1


@pytest.mark.e2e
def test_a_killed_cluster_leaves_no_server_and_started_again_converges(
    ground: Ground, start_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    cluster = start_cluster()
    release = ground.image(1)
    ground.release(release)
    until(lambda: cluster.is_healthy(release.image), cluster)
    os.kill(cluster.program.process.pid, signal.SIGKILL)
    deadline = time.monotonic() + 8
    while server_pids(tmp_path / "cluster"):
        assert time.monotonic() < deadline, "a server outlived its cluster"
        time.sleep(0.1)  # bounded by the deadline above
    again = start_cluster()
    until(lambda: again.is_healthy(release.image), again)
    assert predict(again.endpoints()[0])["version"] == 1


@pytest.mark.e2e
def test_a_restarted_cluster_serves_the_old_release_while_the_new_one_does_not_come_up(
    ground: Ground, start_cluster: Callable[..., Cluster]
) -> None:
    cluster = start_cluster()
    first = ground.image(1)
    ground.release(first)
    until(lambda: cluster.is_healthy(first.image), cluster)
    cluster.program.stop()
    ground.release(first.model_copy(update={"version": 2, "image": first.image[:-4] + "0000"}))
    again = start_cluster(deadline_seconds=2.0)
    until(lambda: again.get()[0] == 200 and _progressing(again)["status"] == "False", again)
    until(again.endpoints, again)
    assert predict(again.endpoints()[0])["version"] == 1


def test_sigterm_ends_all_servers_within_eight_seconds(
    ground: Ground, start_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    cluster = start_cluster()
    release = ground.image(1)
    ground.release(release)
    until(lambda: cluster.is_healthy(release.image), cluster)
    began = time.monotonic()
    cluster.program.process.send_signal(signal.SIGTERM)
    cluster.program.process.wait(8)
    assert time.monotonic() - began < 8
    assert server_pids(tmp_path / "cluster") == []


def test_gitops_that_does_not_parse_deletes_nothing_and_a_model_removed_from_git_ends(
    ground: Ground, start_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    cluster = start_cluster()
    release = ground.image(1)
    ground.release(release)
    until(lambda: cluster.is_healthy(release.image), cluster)
    flux = ground.origin / "gitops" / "clusters" / "production" / "flight-delay.yaml"
    whole = flux.read_text()
    flux.write_text("kind: [Kustomization")
    broken = ground.commit("broken")
    until(lambda: cluster.get("/")[1]["revision"] == broken, cluster)
    assert "flight-delay.yaml is not YAML" in cluster.get("/")[1]["problems"]["gitops"]
    assert predict(cluster.endpoints()[0])["version"] == 1
    flux.write_text(whole)
    ground.commit("mended")
    until(lambda: cluster.get("/")[1]["problems"] == {}, cluster)
    flux.unlink()
    ground.commit("the model goes")
    until(lambda: cluster.get()[0] == 404, cluster)
    assert cluster.endpoints() == []
    assert server_pids(tmp_path / "cluster") == []


@pytest.mark.e2e
def test_an_unreachable_repository_is_reported_and_what_runs_goes_on(
    ground: Ground, start_cluster: Callable[..., Cluster]
) -> None:
    cluster = start_cluster()
    release = ground.image(1)
    ground.release(release)
    until(lambda: cluster.is_healthy(release.image), cluster)
    ground.origin.rename(ground.folder / "elsewhere")
    until(lambda: "git" in cluster.get("/")[1]["problems"], cluster)
    assert cluster.is_healthy(release.image)
    (ground.folder / "elsewhere").rename(ground.origin)
    until(lambda: cluster.get("/")[1]["problems"] == {}, cluster)


def test_a_taken_port_is_said_plainly(
    ground: Ground, start_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    cluster = start_cluster()
    port = cluster.url.rpartition(":")[2]
    command = [
        sys.executable,
        "-m",
        "infra.local.cluster",
        "--repository",
        str(ground.origin),
        "--images",
        str(ground.images),
    ]
    command += [
        "--folder",
        str(tmp_path / "other"),
        "--endpoints",
        str(tmp_path / "other.json"),
        "--port",
        port,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert (
        done.stderr == f"port {port} of 127.0.0.1 cannot be used: Address already in use."
        " Choose another with --port.\n"
    )


def _progressing(cluster: Cluster) -> dict[str, str]:
    return next(
        condition
        for condition in cluster.get()[1]["status"]["conditions"]
        if condition["type"] == "Progressing"
    )
