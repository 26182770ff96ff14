"""Records what one commit of Ratchet leaves in the world. README.md says how to run it.

Trains a small model, promotes it and serves it, all by the code of the checkout that is the current
folder. MLflow, the server and the gateway are real; forge, image registry and cluster are the fakes
of that checkout.
"""

# ruff: noqa: E402  (the checkout to record must be importable before its packages are imported)

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from promote.contract import Slot

CHECKOUT = Path.cwd()
sys.path.insert(0, str(CHECKOUT))

import duckdb
import pyarrow as pa
from mlflow import MlflowClient

from infra.local.mlflow_server import start_mlflow
from infra.local.processes import Program, free_port, start, wait_until_answers
from promote.evidence.judging import EvidenceJudge
from promote.loop.observer import Parts
from promote.loop.reconciler import Reconciler
from promote.registry.mlflow import open_model_registry
from promote.registry.port import ModelRegistry
from promote.release.manifest import parse
from promote.release.slot import release_path
from retrain.contract import digest_of_bytes
from retrain.settings import Settings
from retrain.spec.model_file import parse_spec
from retrain.wiring import open_runs, open_source
from retrain.workflow import run_window
from tests.fakes.forge import FakeForge
from tests.fakes.image_registry import FakeImageRegistry
from tests.fakes.rollout import FakeRollout

MODEL = "late-parcel"
MODEL_FILE = """\
name: late-parcel
title: Will this parcel arrive late?
owner: "@acme/parcels"
task: binary_classification
query: late-parcel.sql
columns: {key: parcel, event_time: sent_at, label: late, groups: sent_on}
label_delay: 1 day
late_rows: 7 days
features:
  depot: {type: category, description: where the parcel starts}
  distance: {type: number, unit: km, minimum: 0}
  pieces: {type: integer, minimum: 1, maximum: 9}
  express: boolean
  wind: {type: number, unit: m/s, required: false}
window: 1 month
validation: 5 days
test: 7 days
techniques:
  boosted_trees:
    estimator: sklearn.ensemble.HistGradientBoostingClassifier
    params: {max_iter: 20, max_leaf_nodes: 5}
  logistic: {estimator: sklearn.linear_model.LogisticRegression}
gate: {guardrails: {roc_auc: 0.02}, slices: {by: [depot], min_rows: 50}}
"""
QUERY = "SELECT * FROM parcels\n"
END = datetime(2026, 3, 2, tzinfo=UTC)
DAYS, ROWS_PER_DAY = 40, 20
STORE = "file:///store"
"""Stands in the recorded files where the address of this machine's store stood."""
ROWS = (
    {"depot": "Gdańsk", "distance": 120.5, "pieces": 1, "express": True, "wind": 3.0},
    {"depot": "Lyon", "distance": 1890, "pieces": 9, "express": False},
    {"depot": "never seen", "distance": 0, "pieces": 4, "express": False, "wind": None},
)
"""What a phone asks."""
KEY = "a-key-of-the-recording"


def main(folder: Path) -> None:
    """Write what the checkout's code writes into `folder`, which must not exist yet."""
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="ratchet-ground-") as name:
        scratch = Path(name)
        program, tracking_url = start_mlflow(scratch / "mlflow", free_port())
        try:
            train(scratch, tracking_url)
            registry = open_model_registry(tracking_url)
            keep_run(folder, scratch, tracking_url, registry)
            promote(folder, registry, tracking_url)
        finally:
            program.stop()
        serve(folder, scratch)


def parcels() -> pa.Table:
    """Rows in which distance, depot and wind decide, so that trees win; the same rows each time."""
    dice, rows = random.Random(20_260_302), []
    for day in range(DAYS):
        midnight = END - timedelta(days=DAYS - day)
        for number in range(ROWS_PER_DAY):
            depot, distance = dice.choice(["Gdańsk", "Lyon", "Ulm", None]), dice.uniform(5, 2000)
            wind = dice.choice([None, dice.gammavariate(2, 4)])
            score = abs(distance - 1000) / 150 + (wind or 0) / 6 + 2 * (depot == "Lyon") - 4
            rows.append(
                {
                    "parcel": f"{midnight:%Y-%m-%d} {number:03}",
                    "sent_at": midnight + timedelta(minutes=71 * number),
                    "sent_on": midnight.date(),
                    "late": dice.random() < 1 / (1 + 2.718281828 ** (-2 * score)),
                    "depot": depot,
                    "distance": distance,
                    "pieces": dice.randint(1, 9),
                    "express": dice.random() < 0.3,
                    "wind": wind,
                }
            )
    return pa.Table.from_pylist(rows)


def train(scratch: Path, tracking_url: str) -> None:
    """Retrain once, from DuckDB to a challenger in MLflow."""
    with duckdb.connect(str(scratch / "warehouse.duckdb")) as database:
        database.execute("SET TimeZone='UTC'")
        database.register("rows", parcels())
        database.execute("CREATE TABLE parcels AS SELECT * FROM rows")
    settings = Settings(
        sources={"warehouse": f"duckdb:///{scratch / 'warehouse.duckdb'}"},
        snapshots=str(scratch / "store"),
        tracking_url=tracking_url,
        workers=1,
        git_revision=commit(),
    )
    spec = parse_spec(MODEL_FILE, path=f"{MODEL}.yaml", query_text=QUERY)
    outcome = run_window(
        spec,
        end=END,
        settings=settings,
        runs=open_runs(settings, spec.name),
        source=open_source(settings, spec.source),
    )
    if outcome.outcome != "registered":
        raise SystemExit(f"Asked to register a challenger. {outcome.sentence}")


def keep_run(folder: Path, scratch: Path, tracking_url: str, registry: ModelRegistry) -> None:
    """Keep the run's files and tags, and the store of partitions."""
    version = registry.version(MODEL, 1)
    client, artifacts = MlflowClient(tracking_url), scratch / "artifacts"
    artifacts.mkdir()
    for name in ("model", "snapshot.json"):
        client.download_artifacts(version.run_id, name, str(artifacts))
    for path in (file for file in artifacts.rglob("*") if file.is_file()):
        write(folder / path.relative_to(artifacts), moved(path.read_bytes(), scratch))
    for path in (file for file in (scratch / "store").rglob("*") if file.is_file()):
        content = path.read_bytes()
        if path.suffix == ".json":  # an entry of the index begins with the digest of the rest
            entry = moved(content.partition(b"\n")[2], scratch)
            content = digest_of_bytes(entry).encode() + b"\n" + entry
        write(folder / path.relative_to(scratch), content)
    tags = client.get_run(version.run_id).data.tags
    write_json(
        folder / "run.json",
        {"tags": {name: tag for name, tag in tags.items() if not name.startswith("mlflow.")}},
    )


def promote(folder: Path, registry: ModelRegistry, tracking_url: str) -> None:
    """Judge, propose, merge, roll out; keep what stands in git, forge and registry."""
    model_file = {
        f"dags/models/{MODEL}.yaml": MODEL_FILE.encode(),
        f"dags/models/{MODEL}.sql": QUERY.encode(),
    }
    forge, images, rollout = FakeForge(model_file), FakeImageRegistry(), FakeRollout()
    parts = Parts(forge, rollout, registry, images, clock=lambda: datetime.now(UTC))
    reconciler = Reconciler(parts, EvidenceJudge(registry))
    told = reconciler.reconcile(MODEL)
    if told.verdict != "promote":
        raise SystemExit(
            f"Asked to promote version 1. The verdict is {told.verdict}. Change the rows."
        )
    [pull] = forge.pull_requests("")
    merged = forge.merge(pull.number)
    path = release_path(Slot(MODEL, "production"))
    content = forge.read_file(path, merged)
    if content is None:
        raise SystemExit(f"Asked for {path} on main after the merge; there is none.")
    rollout.becomes_healthy(MODEL, parse(content, MODEL).image)
    reconciler.reconcile(MODEL)

    for name, written in forge.commits[merged].files.items():
        write(folder / "main" / name, written)
    version = registry.version(MODEL, 1)
    write_json(folder / "version.json", {"version": 1, "tags": dict(version.tags)})
    [(repository, tag)] = images.pushed
    write_json(
        folder / "forge.json",
        {
            "branch": pull.branch,
            "title": pull.title,
            "message": forge.commits[pull.head].message,
            "statuses of the pull request": statuses(forge, pull.head),
            "statuses of the merge": statuses(forge, merged),
            "image": {"repository": repository, "tag": tag},
        },
    )
    digest = parse(content, MODEL).verdict_digest
    write(
        folder / "verdict.json",
        registry.read_evidence(version, digest.removeprefix("sha256:")[:12], "verdict.json"),
    )


def statuses(forge: FakeForge, sha: str) -> list[dict[str, str]]:
    """Return a commit's statuses, without their times."""
    found = forge.statuses(sha)
    return [
        {name: getattr(one, name) for name in ("context", "state", "description")} for one in found
    ]


def serve(folder: Path, scratch: Path) -> None:
    """Keep the server's answers, and the gateway's to a phone."""
    release_yaml = folder / "main" / release_path(Slot(MODEL, "production"))
    release = dict(re.findall(r'(\w+): "(.*)"', release_yaml.read_text()))
    port = free_port()
    told = {
        "MODEL_FOLDER": str(folder.resolve() / "model"),
        "MODEL_DIGEST": release["model_digest"],
        "VERSION": release["version"],
        "IMAGE_DIGEST": release["image"].partition("@")[2],
        "PORT": str(port),
    }
    columns = {name: [row.get(name) for row in ROWS] for name in ROWS[1] | ROWS[0]}
    columns["express"] = [float(bool(cell)) for cell in columns["express"]]
    wrong = columns | {"distance": ["far"] * len(ROWS)}
    asked = {"blocks": [{"columns": columns}, {"columns": wrong}]}
    env = {f"SERVING_{name}": value for name, value in told.items()}
    with running("serving", env, port, scratch) as server:
        for name in ("metadata", "schema"):
            write_json(folder / "server" / f"{name}.json", call(f"{server}/{name}")[1])
        write_json(
            folder / "server/health.json",
            {path: call(server + path)[0] for path in ("/livez", "/readyz", "/healthz")},
        )
        write_json(
            folder / "server/predict.json",
            {"request": asked, "answer": call(f"{server}/predict", asked)[1]},
        )
        ask_as_a_phone(folder, scratch, server)


def ask_as_a_phone(folder: Path, scratch: Path, server: str) -> None:
    """Keep the gateway's answer to a phone."""
    port, endpoints = free_port(), scratch / "endpoints.json"
    write_json(endpoints, {"models": {MODEL: [{"url": server}]}})
    told = {
        "CLIENT_API_ENDPOINTS": str(endpoints),
        "CLIENT_API_KEYS": KEY,
        "CLIENT_API_PORT": str(port),
    }
    path, body = f"/v1/models/{MODEL}:predict", {"instances": list(ROWS)}
    with running("client_api", told, port, scratch) as gateway:
        status, answer = call(gateway + path, body, key=KEY)
    said = {"path": path, "request": body, "status": status, "answer": answer}
    write_json(folder / "phone.json", said)


@contextmanager
def running(package: str, env: Mapping[str, str], port: int, scratch: Path) -> Iterator[str]:
    """Run a service of the checkout until it is no longer needed; give its address."""
    program: Program = start(
        package,
        [sys.executable, "-m", package],
        log=scratch / f"{package}.log",
        env=env,
        cwd=CHECKOUT,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_answers(program, f"{url}/readyz", timeout_seconds=60)
        yield url
    finally:
        program.stop()


def call(url: str, body: object = None, *, key: str = "") -> tuple[int, Any]:
    """Return the status and the JSON of an answer; None for an empty one."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, content, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json_or_text(answer.read())
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, json_or_text(refusal.read())


def json_or_text(content: bytes) -> Any:
    """Return what the JSON says; a health path may answer plain text."""
    try:
        return json.loads(content or b"null")
    except ValueError:
        return content.decode()


def moved(content: bytes, scratch: Path) -> bytes:
    """Return a file's content without the address of this machine's store."""
    return content.replace((scratch / "store").resolve().as_uri().encode(), STORE.encode())


def commit() -> str:
    """Return the commit of the checkout."""
    asked = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    return asked.stdout.strip()


def write(path: Path, content: bytes) -> None:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def write_json(path: Path, content: object) -> None:
    """Write JSON for people: they look at the difference between two releases."""
    write(path, json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("Asked for one folder to write to: python record_release.py <folder>")
    started = time.monotonic()
    main(Path(sys.argv[1]))
    print(f"{sys.argv[1]} holds what {commit()} writes, after {time.monotonic() - started:.0f} s.")
