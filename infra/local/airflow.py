"""A real Airflow on the laptop: api-server, scheduler, dag-processor and triggerer, on SQLite.

`Airflow` makes the REST calls that a person makes by clicking.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local.processes import (
    DidNotStart,
    Program,
    start,
    stop_all,
    wait_until_answers,
)
from infra.local.root import ROOT

_SECRET = "laptop-only-" * 8  # Airflow wants 64 bytes; nothing but this loopback server trusts it
DONE = ("success", "failed")

_AIRFLOW = (sys.executable, "-m", "airflow")


@dataclass(frozen=True)
class Airflow:
    """A running Airflow and the calls that a person would make on its pages."""

    url: str
    programs: tuple[Program, ...]

    def trigger(self, dag: str, *, window_end: str, reason: str) -> str:
        """Start a run and return its id."""
        body = {"logical_date": None, "conf": {"window_end": window_end, "reason": reason}}
        return str(self._call("POST", f"/api/v2/dags/{dag}/dagRuns", body)["dag_run_id"])

    def run_state(self, dag: str, run_id: str) -> str:
        """`queued`, `running`, `success` or `failed`."""
        return str(self._call("GET", f"/api/v2/dags/{dag}/dagRuns/{run_id}")["state"])

    def task_states(self, dag: str, run_id: str) -> dict[str, str]:
        """Task id to state, for one run."""
        found = self._call("GET", f"/api/v2/dags/{dag}/dagRuns/{run_id}/taskInstances")
        return {instance["task_id"]: instance["state"] for instance in found["task_instances"]}

    def log(self, dag: str, run_id: str, task: str, attempt: int = 1) -> str:
        """What a task wrote."""
        content = self._call(
            "GET",
            f"/api/v2/dags/{dag}/dagRuns/{run_id}/taskInstances/{task}/logs/{attempt}?full_content=true",
        ).get("content", [])
        return "\n".join(str(line.get("event", "")) for line in content if isinstance(line, dict))

    def unpause(self, dag: str, *, timeout_seconds: float = 90) -> None:
        """Wait until the dag-processor has found the DAG, then let it run."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                self._call("PATCH", f"/api/v2/dags/{dag}", {"is_paused": False})
            except urllib.error.HTTPError as error:
                if error.code != 404 or time.monotonic() > deadline:
                    raise
                time.sleep(0.5)  # the dag-processor reads files in its own time
            else:
                return

    def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        token = self._fetch("GET", "/auth/token", None, {})["access_token"]
        return self._fetch(method, path, body, {"Authorization": f"Bearer {token}"})

    def _fetch(
        self, method: str, path: str, body: Mapping[str, Any] | None, headers: dict[str, str]
    ) -> dict[str, Any]:
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, content, {"Content-Type": "application/json", **headers}, method=method
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            answer: dict[str, Any] = json.load(response)
            return answer

    def health(self) -> dict[str, Any]:
        """Each component's status and last heartbeat."""
        return self._fetch("GET", "/api/v2/monitor/health", None, {})

    def stop(self) -> None:
        """End all components."""
        stop_all(self.programs, grace_seconds=5)


def start_migration(folder: Path, *, mirror: Path) -> Program:
    """Begin to create or migrate the database. It takes as long as the other programs' start."""
    return start(
        "airflow db migrate",
        [*_AIRFLOW, "db", "migrate"],
        log=folder / "logs" / "migrate.log",
        env=_settings(folder, mirror, "http://127.0.0.1:0"),
    )


def start_airflow(
    migration: Program,
    folder: Path,
    *,
    mirror: Path,
    port: int,
    variables: Mapping[str, str],
    env: Mapping[str, str],
) -> Airflow:
    """Start all components and return when the API answers and the others beat.

    Args:
        migration: Of this folder's database, begun.
        folder: Airflow's home: database, logs, configuration.
        mirror: The bare repository with the model files; `promote mirror` keeps it.
        port: Of 127.0.0.1, free.
        variables: Airflow variables, such as `promote_url`.
        env: Added for the tasks: the retrain settings.
    """
    url = f"http://127.0.0.1:{port}"
    settings = {
        **_settings(folder, mirror, url),
        **env,
        **{f"AIRFLOW_VAR_{name.upper()}": value for name, value in variables.items()},
    }
    _finish(migration)
    commands = components(port=port)
    programs = tuple(
        start(
            f"airflow {name}",
            [*_AIRFLOW, name, *options],
            log=folder / "logs" / f"{name}.log",
            env=settings,
        )
        for name, options in commands.items()
    )
    running = Airflow(url, programs)
    try:
        wait_until_answers(programs[0], f"{url}/api/v2/monitor/health")
        _wait_for_heartbeats(running)
    except BaseException:  # an interrupt too: end what was started, then let it go on
        running.stop()
        raise
    return running


def components(*, port: int) -> dict[str, list[str]]:
    """Return Airflow's programs and their options, the one that answers first.

    No task of ours is deferred to the triggerer, but Airflow's home page is red without one. It
    costs 160 MB, measured as PSS, and no time: it starts beside the others.
    """
    return {
        "api-server": ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
        "scheduler": ["--skip-serve-logs"],
        "dag-processor": [],
        "triggerer": ["--skip-serve-logs"],
    }


def _finish(migration: Program) -> None:
    try:
        code = migration.process.wait(120)
    except subprocess.TimeoutExpired:
        migration.stop()
        code = -1
    if code != 0:
        raise DidNotStart(f"airflow db migrate ended with {code}:\n{migration.log_tail()}")


def _wait_for_heartbeats(airflow: Airflow, *, timeout_seconds: float = 60) -> None:
    deadline = time.monotonic() + timeout_seconds
    silent: list[str] = []
    while time.monotonic() < deadline:
        health = airflow.health()
        silent = [name for name, component in health.items() if component["status"] != "healthy"]
        if not silent:
            return
        time.sleep(0.3)  # heartbeats come in their own time
    logs = "\n".join(program.log_tail() for program in airflow.programs[1:])
    raise DidNotStart(
        f"Airflow's {', '.join(silent)} sent no heartbeat within {timeout_seconds:.0f} s:\n{logs}"
    )


def _settings(folder: Path, mirror: Path, url: str) -> dict[str, str]:
    def option(section: str, name: str, value: str) -> tuple[str, str]:
        return f"AIRFLOW__{section}__{name}", value

    bundle = {
        "name": "ratchet",
        "classpath": "ratchet_bundle.MirrorBundle",
        "kwargs": {"mirror": str(mirror), "code": str(ROOT / "dags"), "refresh_interval": 1},
    }
    return dict(
        [
            ("AIRFLOW_HOME", str(folder)),
            ("PATH", f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"),
            ("PYTHONPATH", str(ROOT / "infra" / "images" / "airflow")),
            option("DAG_PROCESSOR", "DAG_BUNDLE_CONFIG_LIST", json.dumps([bundle])),
            option("DAG_PROCESSOR", "DAG_BUNDLE_STORAGE_PATH", str(folder / "bundles")),
            option("DAG_PROCESSOR", "BUNDLE_REFRESH_CHECK_INTERVAL", "1"),
            option("DAG_PROCESSOR", "MIN_FILE_PROCESS_INTERVAL", "5"),
            option("CORE", "LOAD_EXAMPLES", "False"),
            option("CORE", "EXECUTOR", "LocalExecutor"),
            option("CORE", "PARALLELISM", "2"),
            option("CORE", "SIMPLE_AUTH_MANAGER_ALL_ADMINS", "True"),
            option("CORE", "EXECUTION_API_SERVER_URL", f"{url}/execution/"),
            option("DATABASE", "SQL_ALCHEMY_CONN", f"sqlite:///{folder}/airflow.db"),
            option("API", "BASE_URL", url),
            option("API_AUTH", "JWT_SECRET", _SECRET),
            option("API", "SECRET_KEY", _SECRET),
            option("SCHEDULER", "SCHEDULER_IDLE_SLEEP_TIME", "0.2"),
            option("LOGGING", "LOGGING_LEVEL", "INFO"),
            option("USAGE_DATA_COLLECTION", "ENABLED", "False"),
        ]
    )
