"""Runs the commands of docs/production.md on the local cluster, from the databases to Flux.

Postgres, a real S3 server and the forge stand for RDS, S3 and GitHub. They listen on the node's
address. Keys stand for AWS's roles.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from infra.images.build import build, names, push, with_digest
from infra.local.airflow import DONE, Airflow
from infra.local.demo.kubernetes import PUBLIC_REPOSITORY
from infra.local.flights import load_flights
from infra.local.kubernetes.build import built_folder
from infra.local.kubernetes.cluster import Cluster, start_cluster
from infra.local.kubernetes.state import read_state
from infra.local.processes import free_port, start, wait_until_answers
from infra.local.s3_server import S3Server, start_s3
from infra.local.stack.laptop import MODEL
from infra.local.stack.reviewer import REPOSITORY
from infra.local.stack.web import fetch, wait_for
from tests.grounds.postgres import postgres
from tests.grounds.s3_servers import asked_at, make_bucket

ROOT = Path(__file__).parents[2]
DAG = f"retrain-{MODEL}"
SNAPSHOTS, ARTIFACTS = "acme-snapshots", "acme-artifacts"
_FORGE_PORT = 8888
_EXPORTS = ("export ROWS=", "export IMAGE_OF_RETRAIN=$REGISTRY/ratchet/retrain@$(")
_RUNS = ("kubectl ", "for namespace ", "psql ", "buildah ", *_EXPORTS)
_DOES_NOT_RUN = (
    "aws ",
    "export ",
    ".venv/bin/python ",
    "flux ",
    "kubectl -n flux-system patch deployment ",
)
"""What asks AWS, what the test sets or does itself, and Flux, which is the cluster's own."""
_NOTIFICATION_KINDS = {"Provider": "v1beta3", "Alert": "v1beta3", "Receiver": "v1"}


def page_commands(step: int) -> list[str]:
    """The commands of a step that change the cluster. psql runs without the pod it needs on AWS."""
    page = (ROOT / "docs/production.md").read_text(encoding="utf-8")
    [chapter] = re.findall(rf"^## {step}\..*?(?=^## )", page, flags=re.MULTILINE | re.DOTALL)
    blocks = "".join(re.findall(r"^```sh\n(.*?)^```$", chapter, flags=re.MULTILINE | re.DOTALL))
    lines = [re.sub(r"^kubectl run psql .* -- psql", "psql", line) for line in blocks.splitlines()]
    left_out = [
        line for line in lines if line.startswith(_DOES_NOT_RUN) and not line.startswith(_EXPORTS)
    ]
    runs = [line for line in lines if line not in left_out]
    assert all(line.startswith(_RUNS) for line in runs), (
        f"the page says something new in step {step}: {runs}"
    )
    return runs


@dataclass
class Production:
    """One cluster on which the page was followed."""

    folder: Path
    stack: ExitStack
    cluster: Cluster
    token: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    reviewer: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    airflow: Airflow = field(init=False, repr=False)
    tracking_url: str = ""

    @property
    def checkout(self) -> Path:
        """The person's, in which the page is followed; what main begins with."""
        return self.folder / "checkout"

    @property
    def within(self) -> tuple[str, ...]:
        """What runs a command in the network that has the node's address."""
        state = read_state(self.cluster.folder)
        assert state is not None
        return ("nsenter", "--target", str(state.room), "--net", "--")

    def follow(self, *commands: str, **variables: str) -> str:
        """Run a step's commands in a shell, in the checkout; return what they printed."""
        env = {
            "PATH": f"{built_folder()}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "KUBECONFIG": str(self.cluster.kubeconfig),
        }
        script = "set -euxo pipefail\n" + "\n".join(commands)
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.checkout,
            env={**env, **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        return done.stdout

    def begin(self, until: datetime) -> None:
        """Follow the page from its databases to a first answer of every service but the servers."""
        node = self.cluster.network.node
        s3 = start_s3(self.folder / "s3", host=node, within=self.within)
        self.stack.callback(s3.program.stop)
        with asked_at(s3.env):
            make_bucket(SNAPSHOTS)
            make_bucket(ARTIFACTS)
        pushed = {
            name: push(build(name), f"{self.cluster.registry}/ratchet", plain=True)
            for name in ("client_api", "dags", "mlflow", "promote", "serving")
        }
        self.copy_repository()
        pushed["retrain"] = self.image_with_rows(until)
        self.change_repository(pushed, s3.env)
        self.start_forge()
        self.databases()
        self.source_of_rows(s3)
        self.flux()
        self.tracking_url = self.forward("mlflow", "deployment/mlflow", 5000, "/health")
        self.airflow = Airflow(
            self.forward("airflow", "deployment/airflow", 8080, "/api/v2/monitor/health"), ()
        )
        self.airflow.unpause(DAG)

    def copy_repository(self) -> None:
        """Make the person's checkout."""
        for name in ("dags", "gitops", "infra/aws"):
            shutil.copytree(
                ROOT / name, self.checkout / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        subprocess.run(["git", "init", "--quiet", str(self.checkout)], check=True)

    def change_repository(self, pushed: dict[str, str], keys: Mapping[str, str]) -> None:
        """Do what the page writes into git, with keys instead of roles, and less CPU."""
        for path in self.checkout.rglob("*.yaml"):
            self._replace(path, r"requests: {cpu: \d+m", "requests: {cpu: 20m", at_least=0)
        overlay = self.checkout / "gitops/platform/production/kustomization.yaml"
        training = self.checkout / "gitops/platform/training"
        for name, image in pushed.items():
            for path in (overlay, training / "kustomization.yaml"):
                if names(text := path.read_text(encoding="utf-8"), name):
                    path.write_text(with_digest(text, name, image), encoding="utf-8")
        account = {
            "retrain_role": "-",
            "mlflow_role": "-",
            "snapshots": f"s3://{SNAPSHOTS}/weekly",
            "artifacts": f"s3://{ARTIFACTS}",
            "region": keys["AWS_REGION"],
        }
        for name, value in account.items():
            self._replace(training / "kustomization.yaml", rf"^( +- {name}=).*$", rf"\g<1>{value}")
        literals = {
            "PROMOTE_IMAGES": self.cluster.registry_url,
            "PROMOTE_FORGE_URL": f"{self.forge_url}/api/v3",
            "PROMOTE_INTERVAL_SECONDS": "3",
            **keys,
        }
        self._replace(
            overlay,
            r" +- PROMOTE_IMAGES=.*\n",
            "".join(f"      - {name}={value}\n" for name, value in literals.items()),
        )
        listed = "".join(
            f"            - {{name: {name}, value: {value}}}\n"
            for name, value in keys.items()
            if "REGION" not in name
        )
        self._replace(
            training / "mlflow.yaml",
            r"^          ports:",
            f"{listed}          ports:",
        )
        self._replace(
            training / "airflow-settings.yaml",
            r"^data:\n",
            "data:\n  RATCHET_RETRAIN_CPU: 200m\n  RATCHET_RETRAIN_MEMORY: 3Gi\n",
        )
        self._replace(
            training / "airflow-mirror.yaml",
            r"^( +)- \{name: PROMOTE_REPOSITORY,",
            rf"\g<1>- {{name: PROMOTE_FORGE_URL, value: '{self.forge_url}/api/v3'}}\n"
            r"\g<1>- {name: PROMOTE_REPOSITORY,",
        )

    @staticmethod
    def _replace(path: Path, pattern: str, instead: str, *, at_least: int = 1) -> None:
        text, times = re.subn(
            pattern, instead, path.read_text(encoding="utf-8"), flags=re.MULTILINE
        )
        assert times >= at_least, f"{path} has nothing like {pattern}"
        path.write_text(text, encoding="utf-8")

    @property
    def forge_url(self) -> str:
        """GitHub's stand-in."""
        return f"http://{self.cluster.network.node}:{_FORGE_PORT}"

    def start_forge(self) -> None:
        options = [
            "--repository",
            REPOSITORY,
            "--folder",
            str(self.folder / "forge"),
            "--host",
            self.cluster.network.node,
            "--port",
            str(_FORGE_PORT),
        ]
        command = [
            *self.within,
            sys.executable,
            "-m",
            "infra.local.forge",
            *options,
            "--seed",
            str(self.checkout),
            "--only",
            "dags",
            "gitops",
        ]
        forge = start(
            "forge",
            command,
            log=self.folder / "forge.log",
            env={"FORGE_TOKEN": self.token, "FORGE_REVIEWER_TOKEN": self.reviewer},
            cwd=ROOT,
        )
        self.stack.callback(forge.stop)
        wait_until_answers(forge, f"{self.forge_url}/{REPOSITORY}/pulls")
        self.cluster.serve_repository(PUBLIC_REPOSITORY, f"{self.forge_url}/{REPOSITORY}.git")

    def databases(self) -> None:
        """Step 4: MLflow's user, then Airflow's in the same way."""
        host, master = self.cluster.network.node, secrets.token_hex(16)
        self.stack.enter_context(postgres(host, master, ("mlflow", "airflow"), within=self.within))
        commands = page_commands(4)
        mlflow = [line for line in commands if line.startswith("psql ")]
        airflow = [line.replace("mlflow", "airflow") for line in mlflow]
        rest = [line for line in commands if line not in mlflow]
        self.follow(
            *mlflow, *airflow, *rest, HOST=host, PGPASSWORD=master, PASSWORD=secrets.token_hex(24)
        )

    def source_of_rows(self, s3: S3Server) -> None:
        """Step 6."""
        secret = "".join(f" --from-literal={name}={value}" for name, value in s3.env.items())
        commands = [
            line + secret if "create secret generic retrain" in line else line
            for line in page_commands(6)
        ]
        self.follow(*commands)

    def flux(self) -> None:
        """Do step 8. Only the kinds of notification-controller exist: no Go module proxy has it."""
        self.cluster.kubectl(
            "apply",
            "-f",
            "-",
            stdin=yaml.safe_dump_all(
                _any_kind(kind, version) for kind, version in _NOTIFICATION_KINDS.items()
            ),
        )
        self.follow(
            *page_commands(8),
            SERVING_TOKEN=secrets.token_hex(32),
            BOT_TOKEN=self.token,
            MIRROR_TOKEN=self.token,
            FLUX_TOKEN=secrets.token_hex(16),
        )
        ask = ("-n", "promote", "get", "deployment", "promote", "--ignore-not-found")
        wait_for(
            "promote's Deployment",
            lambda: True if self.cluster.kubectl(*ask) else None,
            timeout_seconds=120,
        )
        self.follow("kubectl -n promote rollout status deployment/promote --timeout 5m")

    def image_with_rows(self, until: datetime) -> str:
        """The end of step 5; the registry here speaks HTTP."""
        rows = self.checkout / "build/flights.duckdb"
        load_flights(rows, until=until, say=lambda _: None)
        plain = self.folder / "registries.conf"
        plain.write_text(
            f'[[registry]]\nlocation = "{self.cluster.registry}"\ninsecure = true\n',
            encoding="utf-8",
        )
        image = push(build("retrain"), f"{self.cluster.registry}/ratchet", plain=True)
        variables = {
            "IMAGE_OF_RETRAIN": image,
            "REGISTRY": self.cluster.registry,
            "CONTAINERS_REGISTRIES_CONF": str(plain),
        }
        tidy = "trap 'buildah rmi --force $REGISTRY/ratchet/retrain:$ROWS >&2' EXIT"
        return self.follow(tidy, *page_commands(5), "echo $IMAGE_OF_RETRAIN", **variables).split()[
            -1
        ]

    def forward(self, namespace: str, what: str, port: int, health: str) -> str:
        """`kubectl port-forward`, as the page has a person do it; return the URL that answers."""
        here = free_port()
        command = [
            str(built_folder() / "kubectl"),
            f"--kubeconfig={self.cluster.kubeconfig}",
            "-n",
            namespace,
            "port-forward",
            what,
            f"{here}:{port}",
        ]
        program = start(f"port-forward to {what}", command, log=self.folder / f"{namespace}.log")
        self.stack.callback(program.stop)
        wait_until_answers(program, f"http://127.0.0.1:{here}{health}")
        return f"http://127.0.0.1:{here}"

    def promote(self, *words: str) -> str:
        """The page's `promote …` in its pod."""
        return self.cluster.kubectl(
            "-n", "promote", "exec", "deployment/promote", "--", "promote", *words
        )

    def ran(self, window_end: str) -> tuple[str, str]:
        """Trigger a run; return how its retraining ended, and its log."""
        run = self.airflow.trigger(DAG, window_end=window_end, reason="a test's")
        ends = {*DONE, "skipped", "up_for_retry"}
        state = wait_for(
            "the end of retraining",
            lambda: (
                found if (found := self.airflow.task_states(DAG, run)["retrain"]) in ends else None
            ),
            timeout_seconds=300,
        )
        log = self.airflow.log(DAG, run, "retrain")
        if state not in {"failed", "up_for_retry"}:
            ended = wait_for(
                "the end of the run",
                lambda: found if (found := self.airflow.run_state(DAG, run)) in DONE else None,
                timeout_seconds=120,
            )
            assert ended == "success", self.airflow.log(DAG, run, "promote")
        return state, log

    def forge_api(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Call the forge as the reviewer."""
        return fetch(
            method,
            f"{self.forge_url}/api/v3/repos/{REPOSITORY}{path}",
            body,
            {"Authorization": f"token {self.reviewer}"},
        )


def _any_kind(kind: str, version: str) -> dict[str, Any]:
    """A kind of notification-controller's that takes every field."""
    group, plural = "notification.toolkit.fluxcd.io", f"{kind.lower()}s"
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
            },
            "versions": [{"name": version, "served": True, "storage": True, "schema": schema}],
        },
    }


def open_production(folder: Path, stack: ExitStack) -> Production:
    """Start the cluster on which the page is followed."""
    cluster = start_cluster(folder / "cluster")
    stack.callback(cluster.stop)
    return Production(folder, stack, cluster)
