"""A merge is enough: real Airflow, a real forge, and the mirror between them.

Only the command `retrain` is a script here: it writes down what it was handed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.local.airflow import Airflow, start_airflow, start_migration
from infra.local.processes import Program, free_port, start, wait_until_answers
from infra.local.stack.web import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
REPOSITORY, TOKEN = "acme/models", "the-token"
RETRAIN = """#!/bin/sh
name=$(printf %s "$RETRAIN_MODEL_FILES" | base64 -d | gunzip | tar -tf - | tr '\\n' ' ')
printf '{"files": "%s", "commit": "%s"}' "$name" "$RETRAIN_GIT_REVISION" > "$8"
echo "handed $name of $RETRAIN_GIT_REVISION"
"""


@dataclass
class Ground:
    """Airflow, the mirror and the forge of one repository."""

    folder: Path
    forge: Program
    mirror: Program
    airflow: Airflow
    forge_url: str

    @property
    def checkout(self) -> Path:
        """A person's clone of main."""
        return self.folder / "checkout"

    def merge(self, **files: str) -> str:
        """Write model files into main, and return its commit."""
        for name, text in files.items():
            (self.checkout / "dags/models" / name.replace("__", "-").replace("_", ".")).write_text(
                text
            )
        git(self.checkout, "add", "--all")
        git(self.checkout, "commit", "--quiet", "--message", "a model")
        git(self.checkout, "push", "--quiet", "origin", "HEAD:main")
        return git(self.checkout, "rev-parse", "HEAD").strip()

    def dag(self, name: str) -> dict[str, object] | None:
        """What Airflow says of a DAG; None when it knows no such DAG."""
        try:
            return self.airflow._call("GET", f"/api/v2/dags/{name}")
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return None

    def run(self, dag: str) -> str:
        """Run a DAG's first task, and return its log."""
        self.airflow.unpause(dag)
        run = self.airflow.trigger(dag, window_end="2013-07-08", reason="a test")
        wait_for(
            f"the task of {dag}",
            lambda: (
                self.airflow.task_states(dag, run).get("retrain") in {"success", "failed"} or None
            ),
        )
        return self.airflow.log(dag, run, "retrain")


def git(folder: Path, *words: str) -> str:
    name = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    return subprocess.run(
        ["git", "-C", str(folder), *name, *words], check=True, capture_output=True, text=True
    ).stdout


def model(name: str) -> str:
    return f"name: {name}\nowner: '@someone'\nquery: {name}.sql\n"


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("merge")
    seed = folder / "seed"
    (seed / "dags/models").mkdir(parents=True)
    (seed / "dags/models/first.yaml").write_text(model("first"))
    (seed / "dags/models/first.sql").write_text("SELECT 1")
    git(seed, "init", "--quiet")
    (folder / "bin").mkdir()
    (folder / "bin/retrain").write_text(RETRAIN)
    (folder / "bin/retrain").chmod(0o755)
    mirror, port = folder / "mirror.git", free_port()
    forge_url = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        migration = start_migration(folder / "airflow", mirror=mirror)
        forge = start_forge(folder, port)
        stack.callback(forge.stop)
        wait_until_answers(forge, f"{forge_url}/{REPOSITORY}/pulls")
        fetching = start(
            "mirror",
            [str(BIN / "promote"), "mirror", str(mirror), "--interval", "0.5"],
            log=folder / "mirror.log",
            env={
                "PROMOTE_FORGE_URL": f"{forge_url}/api/v3",
                "PROMOTE_FORGE_TOKEN": TOKEN,
                "PROMOTE_REPOSITORY": REPOSITORY,
            },
            cwd=ROOT,
        )
        stack.callback(fetching.stop)
        wait_for("the mirror", lambda: (mirror / "refs/heads/main").exists() or None)
        airflow = start_airflow(
            migration,
            folder / "airflow",
            mirror=mirror,
            port=free_port(),
            variables={},
            env={"PATH": f"{folder / 'bin'}:{BIN}:/usr/bin:/bin"},
        )
        stack.callback(airflow.stop)
        address = f"http://x-access-token:{TOKEN}@127.0.0.1:{port}/{REPOSITORY}.git"
        subprocess.run(["git", "clone", "--quiet", address, str(folder / "checkout")], check=True)
        made = Ground(folder, forge, fetching, airflow, forge_url)
        yield made
        made.forge.stop()  # a test may have started another one


def start_forge(folder: Path, port: int) -> Program:
    options = {"repository": REPOSITORY, "folder": folder / "forge", "port": port}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return start(
        "forge",
        [sys.executable, "-m", "infra.local.forge", *words, "--seed", str(folder / "seed")],
        log=folder / "forge.log",
        env={"FORGE_TOKEN": TOKEN},
        cwd=ROOT,
    )


def test_a_merged_model_file_is_a_dag(ground: Ground) -> None:
    wait_for("the first DAG", lambda: ground.dag("retrain-first"), timeout_seconds=60)
    ground.merge(second_yaml=model("second"), second_sql="SELECT 2")
    merged = time.monotonic()
    wait_for("the second DAG", lambda: ground.dag("retrain-second"), timeout_seconds=60)
    print(f"a merged model file was a DAG after {time.monotonic() - merged:.1f} s")


def test_a_run_is_handed_the_files_of_its_commit(ground: Ground) -> None:
    commit = ground.merge(third_yaml=model("third"), third_sql="SELECT 3")
    wait_for("the third DAG", lambda: ground.dag("retrain-third"), timeout_seconds=60)
    assert f"handed third.yaml third.sql  of {commit}" in ground.run("retrain-third")


def test_while_the_forge_is_away_runs_go_on_and_the_log_says_that_the_mirror_is_behind(
    ground: Ground,
) -> None:
    commit = git(ground.checkout, "rev-parse", "HEAD").strip()
    ground.forge.stop()
    log = ground.folder / "mirror.log"
    wait_for("the warning", lambda: "mirror=behind" in log.read_text() or None)
    assert f"of {commit}" in ground.run("retrain-first")
    assert TOKEN not in log.read_text()
    ground.forge = start_forge(ground.folder, int(ground.forge_url.rpartition(":")[2]))
    wait_until_answers(ground.forge, f"{ground.forge_url}/{REPOSITORY}/pulls")
    wait_for("the fetch", lambda: log.read_text().count("mirror=fetched") > 1 or None)


def test_no_program_of_airflow_knows_the_forge(ground: Ground) -> None:
    for program in ground.airflow.programs:
        environment = Path(f"/proc/{program.process.pid}/environ").read_bytes()
        assert TOKEN.encode() not in environment
        assert ground.forge_url.encode() not in environment
    assert json.dumps(ground.airflow.health())
