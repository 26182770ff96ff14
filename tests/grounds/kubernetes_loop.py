"""The loop on a real Kubernetes, for tests and studies.

The programs are those of the demo, without Airflow. Models are small. Some releases are broken on
purpose. Phones and disturbances are in kubernetes_story.py.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from infra.local.demo.clients import Clients
from infra.local.demo.kubernetes import KubernetesLaptop
from infra.local.demo.rows import example_rows
from infra.local.flights import load_flights
from infra.local.processes import Program, wait_until_answers
from infra.local.stack.web import Refused, fetch, wait_for
from promote.contract import Slot
from promote.release.manifest import parse
from promote.release.slot import release_path
from tests.grounds.kubernetes_ground import push_altered

MODEL = "flight-delay"
BROKEN = {"missing": "flight-missing", "corrupt": "flight-corrupt", "crashing": "flight-crashing"}
"""The fault of a release, and the model that gets this release. The three rollouts run at once."""
FIRST_WEEK = date(2013, 5, 27)
MIN_READY_SECONDS = 8
"""The crashing release ends after 5 s, and a busy kubelet needs time to report its end.

Production has 20 s. That would only make the test longer.
"""
DEADLINE_SECONDS = 75
_ENTRY = {
    # What a bad disk or a bad build would do. It happens before the real server starts.
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
    """Everything but Airflow: the loop calls `retrain run` as Airflow's task does."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    pods_base: str = ""
    """The serving image that the next promotions build on. Empty means the good one."""

    @property
    def models(self) -> Path:
        """The models' YAML files."""
        return self.seed / "dags" / "models"

    @property
    def retrain_env(self) -> dict[str, str]:
        """The laptop's environment, with the models of this loop."""
        return {**super().retrain_env, "RETRAIN_MODELS": str(self.models)}

    @property
    def promote_env(self) -> dict[str, str]:
        """The demo's environment, with a shorter deadline and the present base image."""
        return {
            **super().promote_env,
            "PROMOTE_ROLLOUT_DEADLINE_SECONDS": str(DEADLINE_SECONDS),
            "PROMOTE_BASE_IMAGE": self.pods_base or self.base_image,
        }

    def begin(self) -> None:
        """Start every program, with rows for five weeks."""
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
        """Give each model one fast technique, a lenient policy and a short `minReadySeconds`."""
        super().write_seed(gateway_image)
        spec = yaml.safe_load((self.models / "flight-delay.yaml").read_text(encoding="utf-8"))
        gate = {"metric": "log_loss", "refresh": {"worse_by_at_most": "50 %"}}
        for name in (MODEL, *BROKEN.values()):
            changed = {
                **spec,
                "name": name,
                "gate": gate,
                "techniques": {"logistic": spec["techniques"]["logistic"]},
            }
            (self.models / f"{name}.yaml").write_text(yaml.safe_dump(changed), encoding="utf-8")
        cluster = self.seed / "gitops/clusters/local/cluster.yaml"  # overrides the 20 s of the base
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
        """Wait for the open pull request of a promotion, rollback or revert, and return it."""
        begin = f"ratchet/{model}/local/" + (f"v{version}-" if version else "")

        def look() -> dict[str, Any] | None:
            pulls = self.forge_api("GET", "/pulls?state=open")
            return next((pull for pull in pulls if pull["head"]["ref"].startswith(begin)), None)

        return wait_for(f"a pull request {begin}…", look, timeout_seconds=90)

    def review_and_merge(self, pull: dict[str, Any]) -> float:
        """Merge as the reviewer does. Return `time.monotonic()` of the merge."""
        self.merge(pull, "squash")
        return time.monotonic()

    def roll_back(self, model: str) -> dict[str, Any]:
        """Ask for a rollback and return its pull request."""
        number = json.loads(
            self.command("promote", "rollback", model, "--reason", "a test", "--json")
        )["pull_request"]
        return dict(self.forge_api("GET", f"/pulls/{number}"))

    def promotion(self, model: str) -> dict[str, Any]:
        """The model's promotion as the service reports it. The service may just have started."""
        try:
            return dict(fetch("GET", f"{self.promote_url}/promotions/{model}"))
        except Refused as refused:
            if refused.status == 404:
                return {"state": "not observed yet"}
            raise

    def wait_for_state(self, model: str, state: str, *, seconds: float) -> None:
        """Wait until the promotion service reports this state of a model."""
        wait_for(
            f"{model} in {state}",
            lambda: True if self.promotion(model)["state"] == state else None,
            timeout_seconds=seconds,
        )

    def champion(self, model: str) -> int | None:
        """The version with the alias `champion`, if a version has it."""
        try:
            path = "/api/2.0/mlflow/registered-models/alias"
            answer = fetch("GET", f"{self.mlflow_url}{path}?name={model}&alias=champion")
        except Refused as refused:
            if refused.status in (400, 404):  # no alias yet
                return None
            raise
        return int(answer["model_version"]["version"])

    def wait_until_served(self, model: str, version: int, *, seconds: float = 240) -> None:
        """Wait until the alias names the version and no older pod is left."""
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
        """Run kubectl and return its JSON."""
        return dict(json.loads(self.running.kubectl(*arguments, "--output=json")))

    def pods(self, namespace: str, model: str = "") -> list[dict[str, Any]]:
        """Return the pods of a namespace, or of one model in this namespace."""
        selector = [f"--selector=app.kubernetes.io/name={model}"] if model else []
        return list(self.kube("get", "pods", f"--namespace={namespace}", *selector)["items"])

    def restarts(self, namespace: str, pod: str) -> int:
        """How often the kubelet restarted the containers of a pod."""
        status = self.kube("get", "pod", pod, f"--namespace={namespace}")["status"]
        return sum(container["restartCount"] for container in status.get("containerStatuses", ()))

    def pod_images(self, model: str) -> set[str]:
        """The images of a model's pods."""
        return {pod["spec"]["containers"][0]["image"] for pod in self.pods("models", model)}

    def digests_on_main(self, model: str) -> set[str]:
        """Every image digest that stood in the model's release.yaml on main."""
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
        """Start phones that ask a model `per_second` times a second, answered or not."""
        clients = Clients(
            f"{self.gateway_url}/v1/models/{model}:predict",
            self.key,
            self.rows,
            per_second=per_second,
        )
        clients.start()
        return clients

    def restart_promote(self, *, base: str = "") -> None:
        """Kill the promotion service with -9. Start it again with another base image."""
        self.kill_promote()
        self.pods_base = base
        program = self.start_promote()
        wait_until_answers(program, f"{self.promote_url}/health")

    def kill_promote(self) -> None:
        """Kill the promotion service with -9."""
        program = self._promote()
        self.programs.remove(program)
        program.signal(signal.SIGKILL)
        program.process.wait()

    def _promote(self) -> Program:
        return next(program for program in self.programs if program.name == "promote")

    def broken_base(self, how: str) -> str:
        """Push a serving image that is `corrupt` or `crashing`. Return it as PROMOTE_BASE_IMAGE."""
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
        """Remove an image's manifest from the registry's disk."""
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
        """The host's process id of a container. The pod's name is HOSTNAME in its environment."""
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words, environment = (
                    (process / "cmdline").read_bytes(),
                    (process / "environ").read_bytes(),
                )
            except OSError:  # the process ended meanwhile
                continue
            if f"-m\0{module}\0".encode() in words and f"HOSTNAME={pod}\0".encode() in environment:
                return int(process.name)
        raise LookupError(f"no process {module} of {pod}")
