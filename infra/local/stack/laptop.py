"""Every program of the loop on 127.0.0.1: starts them, knows their addresses, ends all of them.

By default for the demo: this repository's model files, and a forge that asks for reviews.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from infra.local.airflow import Airflow, start_airflow, start_migration
from infra.local.mlflow_server import start_mlflow
from infra.local.processes import (
    Program,
    end_descendants,
    start,
    stop_all,
    wait_until_answers,
)
from infra.local.root import ROOT
from infra.local.stack.reviewer import REPOSITORY, Reviewer
from infra.local.stack.web import fetch, wait_for

MODEL = "flight-delay"
BIN = Path(sys.executable).parent
RULESET = ROOT / "infra" / "aws" / "ruleset.json"
"""The file that production gives to GitHub. The demo's forge enforces the same rules."""


@dataclass
class Laptop(Reviewer):
    """Addresses and settings of one stack; everything it writes lies in `folder`.

    A later stack on the same folder goes on where this one ended.
    """

    checkout: Path = ROOT
    """The working tree with `dags/models` and `gitops`."""
    sources: str = field(default="", repr=False)
    """RETRAIN_SOURCES; empty: the warehouse in `folder`."""
    is_demo: bool = True
    """The demo's forge asks for a review, as production does, and its DAGs are switched off."""
    programs: list[Program] = field(default_factory=list)
    airflow: Airflow | None = None
    mlflow_url: str = ""
    cluster_url: str = ""
    promote_url: str = ""
    gateway_url: str = ""
    patience_seconds: float = 120
    """For one rollout."""

    @cached_property
    def key(self) -> str:
        """The callers' key of the gateway."""
        return self.memory.secret("key")

    @property
    def seed(self) -> Path:
        """The working tree that main begins with."""
        return self.checkout

    @property
    def warehouse(self) -> Path:
        """The DuckDB file with the flights that have arrived."""
        return self.folder / "warehouse.duckdb"

    @property
    def retrain_env(self) -> dict[str, str]:
        """Settings of the retrain command."""
        demo = json.dumps({"warehouse": f"duckdb:///{self.warehouse}"})
        return {
            "RETRAIN_SOURCES": self.sources or demo,
            "RETRAIN_SNAPSHOTS": str(self.folder / "snapshots"),
            "RETRAIN_TRACKING_URL": self.mlflow_url,
            "RETRAIN_MODELS": str(self.checkout / "dags" / "models"),
            "RETRAIN_LOCK": str(ROOT / "infra" / "locks" / "retrain.txt"),
            "RETRAIN_GIT_REVISION": _git_revision(self.checkout),
        }

    @property
    def promote_env(self) -> dict[str, str]:
        """Settings of the promotion service and command."""
        return {
            "PROMOTE_TRACKING_URL": self.mlflow_url,
            "PROMOTE_FORGE_URL": f"{self.forge_url}/api/v3",
            "PROMOTE_FORGE_TOKEN": self.token,
            "PROMOTE_REPOSITORY": REPOSITORY,
            "PROMOTE_IMAGES": f"oci-layout:{self.folder / 'images'}",
            "PROMOTE_CLUSTER_URL": self.cluster_url,
            "PROMOTE_INTERVAL_SECONDS": "2",
            "PROMOTE_ROLLOUT_DEADLINE_SECONDS": "90",
            "PROMOTE_FORGE_SECONDS_BETWEEN_WRITES": "0",
            "PROMOTE_FORGE_WRITES_PER_HOUR": "0",
            "PROMOTE_URL": self.promote_url,
            "PROMOTE_MIRROR": str(self.folder / "mirror"),
            "PROMOTE_PORT": self.promote_url.rpartition(":")[2],
        }

    @property
    def mirror(self) -> Path:
        """The mirror of main from which Airflow reads the model files."""
        return self.folder / "airflow-mirror.git"

    def start(self) -> None:
        """Start every program, in the order in which they need each other."""
        migration = self.begin_airflow()
        self.start_stores()
        self.start_services()
        self.start_airflow(migration)

    def begin_airflow(self) -> Program:
        """Its database, which needs nothing of the others and takes long."""
        migration = start_migration(self.folder / "airflow", mirror=self.mirror)
        self.programs.append(migration)
        return migration

    def start_stores(self) -> None:
        """MLflow and the forge, which everything else talks to."""
        forge_port = self.memory.port("forge")
        self.forge_url = f"http://127.0.0.1:{forge_port}"
        rules = _options(ruleset=RULESET) if self.is_demo else []
        forge = self._start(
            "forge",
            [
                *(sys.executable, "-m", "infra.local.forge", "--only", "dags", "gitops"),
                *_options(
                    repository=REPOSITORY,
                    folder=self.folder / "forge",
                    port=forge_port,
                    seed=self.seed,
                ),
                *rules,
            ],
            {"FORGE_TOKEN": self.token},
        )
        program, self.mlflow_url = start_mlflow(self.folder / "mlflow", self.memory.port("mlflow"))
        self.programs.append(program)
        wait_until_answers(forge, f"{self.forge_url}/{REPOSITORY}/pulls")
        self.start_mirror()

    def start_mirror(self) -> Program:
        """What fetches main for Airflow; also again, when it was ended."""
        forge = ("PROMOTE_FORGE_URL", "PROMOTE_FORGE_TOKEN", "PROMOTE_REPOSITORY")
        env = {name: self.promote_env[name] for name in forge}
        command = [str(BIN / "promote"), "mirror", str(self.mirror), "--interval", "1"]
        return self._start("mirror", command, env)

    def start_services(self) -> None:
        """The cluster, the promotion service and the gateway."""
        cluster_port, promote_port, gateway_port = (
            self.memory.port(name) for name in ("cluster", "promote", "gateway")
        )
        endpoints = self.folder / "cluster" / "endpoints.json"
        self.cluster_url, self.promote_url, self.gateway_url = (
            f"http://127.0.0.1:{port}" for port in (cluster_port, promote_port, gateway_port)
        )
        repository = f"{self.forge_url}/{REPOSITORY}.git"
        options = _options(
            repository=repository,
            images=self.folder / "images",
            folder=self.folder / "cluster",
            port=cluster_port,
        )
        more = _options(endpoints=endpoints, min_ready_seconds=3)
        cluster = self._start(
            "cluster", [sys.executable, "-m", "infra.local.cluster", *options, *more]
        )
        promote = self.start_promote()
        keys = {
            "CLIENT_API_ENDPOINTS": str(endpoints),
            "CLIENT_API_KEYS": f'["{self.key}"]',
            "CLIENT_API_PORT": str(gateway_port),
        }
        gateway = self._start("gateway", [sys.executable, "-m", "client_api"], keys)
        wait_until_answers(cluster, self.cluster_url)
        wait_until_answers(promote, f"{self.promote_url}/health")
        wait_until_answers(gateway, f"{self.gateway_url}/healthz")

    def start_promote(self) -> Program:
        """The promotion service; also again, when it was ended."""
        return self._start("promote", [str(BIN / "promote"), "serve"], self.promote_env)

    def start_airflow(self, migration: Program) -> None:
        """Airflow last: its tasks need all the others' addresses."""
        wait_for(
            "the first fetch of main", lambda: (self.mirror / "refs/heads/main").exists() or None
        )
        variables = {"promote_url": self.promote_url, "tracking_url": self.mlflow_url}
        self.airflow = start_airflow(
            migration,
            self.folder / "airflow",
            mirror=self.mirror,
            port=self.memory.port("airflow"),
            variables=variables,
            env={
                **self.retrain_env,
                "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": str(self.is_demo),
            },
        )

    def deployment(self) -> dict[str, Any]:
        """The model's Deployment, as the cluster has it."""
        return dict(
            fetch(
                "GET",
                f"{self.cluster_url}/apis/apps/v1/namespaces/models/deployments/server-{MODEL}",
            )
        )

    def wait_for_end_of_rollout(self) -> None:
        """Nothing to wait for: here a server leaves before its Deployment is healthy."""

    def stop(self) -> None:
        """End every program and whatever it left, within 10 s."""
        airflow = list(self.airflow.programs) if self.airflow else []
        stop_all([*airflow, *reversed(self.programs)], grace_seconds=6)
        end_descendants()

    def command(self, *arguments: str) -> str:
        """Run one of our commands as the owner would, and return what it printed."""
        env = {**os.environ, **self.promote_env, **self.retrain_env}
        done = subprocess.run(
            [str(BIN / arguments[0]), *arguments[1:]],
            env=env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=self.checkout,
        )
        if done.returncode != 0:
            raise RuntimeError(
                f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
            )
        return done.stdout

    def write_env(self) -> Path:
        """Write `env`, a file for `source`: our commands then ask this stack. Return its path.

        The file holds tokens, so only its owner can read it.
        """
        gateway = {"GATEWAY_URL": self.gateway_url, "GATEWAY_KEY": self.key}
        variables = {**self.promote_env, **self.retrain_env, **gateway}
        lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
        lines.append(f"export PATH={shlex.quote(str(BIN))}:$PATH")
        path = self.folder / "env"
        path.touch(mode=0o600)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    def _start(self, name: str, command: list[str], env: dict[str, str] | None = None) -> Program:
        program = start(
            name,
            command,
            log=self.folder / "logs" / f"{name}.log",
            env={"PYTHONUNBUFFERED": "1", **(env or {})},
            cwd=ROOT,
        )
        self.programs.append(program)
        return program


def _options(**values: object) -> list[str]:
    return [
        word
        for name, value in values.items()
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]


def _git_revision(checkout: Path) -> str:
    return (
        subprocess.run(
            ["git", "-C", str(checkout), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip()
        or "unknown"
    )
