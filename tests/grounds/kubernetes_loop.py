"""The loop on a real Kubernetes for tests and studies: the demo's programs without Airflow, small models, releases that are broken on purpose."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from infra.local.demo.clients import Answer, Clients
from infra.local.demo.kubernetes import KubernetesLaptop
from infra.local.demo.rows import example_rows
from infra.local.demo.web import Refused, fetch, wait_for
from infra.local.flights import load_flights
from infra.local.processes import Program, wait_until_answers
from promote.contract import Slot
from promote.release.manifest import parse
from promote.release.slot import release_path
from tests.grounds.kubernetes_ground import push_altered

MODEL = "flight-delay"
BROKEN = {"missing": "flight-missing", "corrupt": "flight-corrupt", "crashing": "flight-crashing"}
"""What is done to a release, and the model that it is done to: three deadlines that run side by side."""
FIRST_WEEK = date(2013, 5, 27)
PER_SECOND = 30
"""Requests for MODEL, whether or not earlier ones were answered; for each of the others a quarter of it."""
MIN_READY_SECONDS = 8
"""Production's 20 would only take longer; above the 5 s after which a broken release crashes, and what a busy kubelet takes to say so."""
DEADLINE_SECONDS = 75
SERVER_KILLED, GATEWAY_KILLED, CONTAINERD_RESTARTED, API_SERVER_AWAY = DISTURBANCES = (
    "a server killed with -9",
    "a gateway killed with -9",
    "containerd restarted",
    "the API server away for 30 s",
)
_ENTRY = {
    # what a bad disk or a bad build would do, done before the real server starts
    "corrupt": (
        "import os, shutil, sys\n"
        "shutil.copytree('/model', '/tmp/model', dirs_exist_ok=True)\n"
        "path = '/tmp/model/model.onnx'\n"
        "content = bytearray(open(path, 'rb').read())\n"
        "content[len(content) // 2] ^= 1\n"
        "open(path, 'wb').write(content)\n"
        "os.environ['SERVING_MODEL_FOLDER'] = '/tmp/model'\n"
        "os.execvp('python', ['python', '-m', 'serving'])\n"
    ),
    "crashing": (
        "import os, sys, threading, time, urllib.request\n"
        "def crash():\n"
        "    while True:\n"
        "        time.sleep(0.2)\n"
        "        try:\n"
        "            urllib.request.urlopen('http://127.0.0.1:3000/readyz', timeout=1)\n"
        "            break\n"
        "        except OSError:\n"
        "            pass\n"
        "    time.sleep(5)\n"
        "    print('crashed on purpose, 5 s after it was ready', file=sys.stderr, flush=True)\n"
        "    os._exit(3)\n"
        "threading.Thread(target=crash, daemon=True).start()\n"
        "from serving.__main__ import main\n"
        "sys.exit(main())\n"
    ),
}


@dataclass
class Loop(KubernetesLaptop):
    """Everything but Airflow: `retrain run` is called as its task would."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    pods_base: str = ""
    """The serving image below the next promotions; empty: the good one."""

    @property
    def models(self) -> Path:
        """The YAML files, here and on main."""
        return self.seed / "dags" / "models"

    @property
    def retrain_env(self) -> dict[str, str]:
        """As on the laptop, with our own models."""
        return {**super().retrain_env, "RETRAIN_MODELS": str(self.models)}

    @property
    def promote_env(self) -> dict[str, str]:
        """As in the demo, with a shorter patience and the base of the moment."""
        return {
            **super().promote_env,
            "PROMOTE_ROLLOUT_DEADLINE_SECONDS": str(DEADLINE_SECONDS),
            "PROMOTE_BASE_IMAGE": self.pods_base or self.base_image,
        }

    def begin(self) -> None:
        """Start all of it, with rows for five weeks."""
        last = FIRST_WEEK + timedelta(weeks=4)
        load_flights(
            self.warehouse,
            until=datetime(last.year, last.month, last.day, tzinfo=UTC),
            say=lambda _: None,
        )
        self.rows = example_rows(self.warehouse, before=FIRST_WEEK)
        self.start_stores()
        self.start_services()

    def write_seed(self, gateway_image: str) -> None:
        """Models of one fast technique; a policy under which any sound challenger passes; servers that need not be watched for long."""
        super().write_seed(gateway_image)
        spec = yaml.safe_load((self.models / "flight_delay.yaml").read_text(encoding="utf-8"))
        gate = {"metric": "log_loss", "refresh": {"worse_by_at_most": "50 %"}}
        for name in (MODEL, *BROKEN.values()):
            changed = {
                **spec,
                "name": name,
                "gate": gate,
                "techniques": {"logistic": spec["techniques"]["logistic"]},
            }
            (self.models / f"{name.replace('-', '_')}.yaml").write_text(
                yaml.safe_dump(changed), encoding="utf-8"
            )
        cluster = (
            self.seed / "gitops/clusters/local/cluster.yaml"
        )  # what it says goes before the base's 20
        text = cluster.read_text(encoding="utf-8")
        assert "minReadySeconds, value: 3}" in text
        cluster.write_text(
            text.replace(
                "minReadySeconds, value: 3}", f"minReadySeconds, value: {MIN_READY_SECONDS}}}"
            ),
            encoding="utf-8",
        )

    def retrain(self, model: str, week: int) -> int:
        """Train the challenger of a week and return its version."""
        end = FIRST_WEEK + timedelta(weeks=week)
        return int(
            json.loads(
                self.command(
                    "retrain", "run", model, "--end", end.isoformat(), "--json"
                ).splitlines()[-1]
            )["version"]
        )

    def proposed(self, model: str, version: int | None = None) -> dict[str, Any]:
        """Return the open pull request of a model's promotion, rollback or revert, once it is there."""
        begin = f"ratchet/{model}/local/" + (f"v{version}-" if version else "")

        def look() -> dict[str, Any] | None:
            pulls = self.forge_api("GET", "/pulls?state=open")
            return next((pull for pull in pulls if pull["head"]["ref"].startswith(begin)), None)

        return wait_for(f"a pull request {begin}…", look, timeout_seconds=90)

    def _is_gated(self, pull: dict[str, Any]) -> bool:
        statuses = self.forge_api("GET", f"/commits/{pull['head']['sha']}/statuses")
        return any(
            (status["context"], status["state"]) == ("ratchet/gate", "success")
            for status in statuses
        )

    def merge(self, pull: dict[str, Any]) -> float:
        """Merge as the reviewer, once the gate's status is there, as GitHub's ruleset asks; return when, by `time.monotonic()`."""
        wait_for(
            "the gate's status", lambda: True if self._is_gated(pull) else None, timeout_seconds=30
        )
        self.forge_api(
            "PUT",
            f"/pulls/{pull['number']}/merge",
            {"merge_method": "squash", "sha": pull["head"]["sha"]},
        )
        return time.monotonic()

    def roll_back(self, model: str) -> dict[str, Any]:
        """Return the pull request that goes back."""
        number = json.loads(
            self.command("promote", "rollback", model, "--reason", "a test", "--json")
        )["pull_request"]
        return dict(self.forge_api("GET", f"/pulls/{number}"))

    def promotion(self, model: str) -> dict[str, Any]:
        """What the promotion service says of a model; it may just have started."""
        try:
            return dict(fetch("GET", f"{self.promote_url}/promotions/{model}"))
        except Refused as refused:
            if refused.status == 404:
                return {"state": "not looked at yet"}
            raise

    def wait_for_state(self, model: str, state: str, *, seconds: float) -> None:
        """Return once the promotion service says that a model is in a state."""
        wait_for(
            f"{model} in {state}",
            lambda: True if self.promotion(model)["state"] == state else None,
            timeout_seconds=seconds,
        )

    def champion(self, model: str) -> int | None:
        """The version that the alias names, if there is one."""
        try:
            found = fetch(
                "GET",
                f"{self.mlflow_url}/api/2.0/mlflow/registered-models/alias?name={model}&alias=champion",
            )
        except Refused as refused:
            if refused.status in (400, 404):  # no alias yet
                return None
            raise
        return int(found["model_version"]["version"])

    def wait_until_served(self, model: str, version: int, *, seconds: float = 240) -> None:
        """Return once the alias follows a rollout and only its pods are left."""
        wait_for(
            f"champion {version} of {model}",
            lambda: True if self.champion(model) == version else None,
            timeout_seconds=seconds,
        )
        wait_for(
            "the end of the old pods",
            lambda: True if len(self.pod_images(model)) == 1 else None,
            timeout_seconds=seconds,
        )

    def kube(self, *arguments: str) -> dict[str, Any]:
        """Ask the cluster; the answer's JSON."""
        return dict(json.loads(self.running.kubectl(*arguments, "--output=json")))

    def pods(self, namespace: str, model: str = "") -> list[dict[str, Any]]:
        """Return the pods of a namespace, or those of a model."""
        selector = [f"--selector=app.kubernetes.io/name={model}"] if model else []
        return list(self.kube("get", "pods", f"--namespace={namespace}", *selector)["items"])

    def restarts(self, namespace: str, pod: str) -> int:
        """How often the kubelet started a pod's container again."""
        found = self.kube("get", "pod", pod, f"--namespace={namespace}")
        return sum(
            container["restartCount"] for container in found["status"].get("containerStatuses", ())
        )

    def pod_images(self, model: str) -> set[str]:
        """The images of a model's pods."""
        return {pod["spec"]["containers"][0]["image"] for pod in self.pods("models", model)}

    def digests_on_main(self, model: str) -> set[str]:
        """Every image digest that main ever named for a model."""
        path = release_path(Slot(model, "local"))
        git = ["git", "-C", str(self.folder / "forge")]
        commits = subprocess.run(
            [*git, "log", "--first-parent", "--format=%H", "main", "--", path],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        named = [
            subprocess.run(
                [*git, "show", f"{commit}:{path}"], capture_output=True, check=True
            ).stdout
            for commit in commits
        ]
        return {parse(content, model).image.rpartition("@")[2] for content in named}

    def clients(self, model: str, *, per_second: float) -> Clients:
        """Phones that ask for a model."""
        clients = Clients(
            f"{self.gateway_url}/v1/models/{model}:predict",
            self.key,
            self.rows,
            per_second=per_second,
        )
        clients.start()
        return clients

    def restart_promote(self, *, base: str = "") -> None:
        """End the promotion service with -9 and start it again, its images on another base."""
        self.kill_promote()
        self.pods_base = base
        program = self.start_promote()
        wait_until_answers(program, f"{self.promote_url}/health")

    def kill_promote(self) -> None:
        """End the promotion service with -9."""
        program = self._promote()
        self.programs.remove(program)
        program.signal(signal.SIGKILL)
        program.process.wait()

    def _promote(self) -> Program:
        return next(program for program in self.programs if program.name == "promote")

    def broken_base(self, how: str) -> str:
        """Push a serving image that is `corrupt` or `crashing`, and return it as PROMOTE_BASE_IMAGE takes it."""
        command = json.dumps(["python", "-c", _ENTRY[how]])
        pushed = push_altered(
            "localhost/ratchet/serving:latest",
            f"serving-{how}",
            self.running.registry,
            "config",
            "--cmd",
            command,
            "{container}",
        )
        return pushed.partition("/")[2]

    def lose_image(self, model: str, image: str) -> None:
        """Remove an image's manifest from the registry, behind everybody's back."""
        number = image.rpartition("sha256:")[2]
        [storage] = self.running.folder.rglob(f"blobs/sha256/{number[:2]}/{number}")
        shutil.rmtree(storage)
        for link in self.running.folder.rglob(
            f"repositories/*/{model}/_manifests/revisions/sha256/{number}"
        ):
            shutil.rmtree(link)

    def staying_pod(self, namespace: str, model: str = "") -> str:
        """The name of a pod that is not about to end."""
        return str(
            next(
                pod
                for pod in self.pods(namespace, model)
                if "deletionTimestamp" not in pod["metadata"]
            )["metadata"]["name"]
        )

    @staticmethod
    def pid(pod: str, module: str) -> int:
        """A container's process, as the host sees it, known by its pod's name: the host name in its environment."""
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words, environment = (
                    (process / "cmdline").read_bytes(),
                    (process / "environ").read_bytes(),
                )
            except OSError:  # it ended while we looked
                continue
            if f"-m\0{module}\0".encode() in words and f"HOSTNAME={pod}\0".encode() in environment:
                return int(process.name)
        raise LookupError(f"no process {module} of {pod}")


def between(answers: Iterable[Answer], start: float, end: float | None = None) -> list[Answer]:
    """The answers to what was asked in a span of `time.monotonic()`."""
    return [
        answer
        for answer in list(answers)
        if answer.asked_at >= start and (end is None or answer.asked_at < end)
    ]


def failed(answers: Iterable[Answer]) -> list[Answer]:
    """Those without an answer."""
    return [answer for answer in answers if answer.status != 200]


class Story:
    """The loop and the phones that ask its models all the time."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.phones: dict[str, Clients] = {}

    def serve(self, *models: str) -> None:
        """Bring each model's first version to where phones ask it."""
        for model in models:
            self.loop.retrain(model, 0)
            self.loop.merge(self.loop.proposed(model))
        for model in models:
            self.loop.wait_until_served(model, 1)
            assert (
                self.loop.kube("get", "deployment", f"server-{model}", "--namespace=models")[
                    "spec"
                ]["minReadySeconds"]
                == MIN_READY_SECONDS
            )
            wait_for(f"an answer of {model}", lambda model=model: self._answers(model))
            self.phones[model] = self.loop.clients(
                model, per_second=PER_SECOND if model == MODEL else PER_SECOND / 4
            )

    def _answers(self, model: str) -> bool | None:
        clients = self.loop.clients(model, per_second=PER_SECOND)
        time.sleep(0.5)  # as long as the phones are let ask
        return True if any(answer.status == 200 for answer in clients.stop()) else None

    def asked(self, model: str, since: float) -> list[Answer]:
        """What a model was asked since then, every one of them answered from what main named."""
        answers = between(self.phones[model].answers, since)
        digests = {answer.image_digest for answer in answers if answer.status == 200}
        assert digests <= self.loop.digests_on_main(model)
        return answers

    def answers_again(self, model: str, since: float) -> float:
        """Seconds from `since` until nothing failed any more for three seconds."""
        quiet = 3.0

        def look() -> float | None:
            if time.monotonic() < since + quiet:
                return None
            answers = between(self.phones[model].answers, since)
            last_failure = max((answer.asked_at for answer in failed(answers)), default=since)
            recent = between(answers, time.monotonic() - quiet)
            return last_failure - since if recent and not failed(recent) else None

        return wait_for(f"{model} answers again", look, timeout_seconds=120)

    def stop(self) -> None:
        """End phones and loop."""
        for clients in self.phones.values():
            clients.stop()
        self.loop.stop()


def disturb(loop: Loop, what: str) -> None:
    """Do one of DISTURBANCES; return when it was seen, and what was away for a while is let back."""
    if what in (SERVER_KILLED, GATEWAY_KILLED):
        namespace, model, module = (
            ("models", MODEL, "serving") if what == SERVER_KILLED else ("gateway", "", "client_api")
        )
        pod = loop.staying_pod(namespace, model)
        before = loop.restarts(namespace, pod)
        os.kill(loop.pid(pod, module), signal.SIGKILL)
        wait_for(
            "the kubelet's restart",
            lambda: True if loop.restarts(namespace, pod) > before else None,
            timeout_seconds=60,
        )
    elif what == CONTAINERD_RESTARTED:
        loop.running.kill("containerd")
    else:
        loop.running.hold("apiserver")
        loop.running.kill("apiserver")
        time.sleep(30)  # the disturbance itself
        loop.running.release("apiserver")
