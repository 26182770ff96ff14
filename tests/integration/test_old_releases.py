"""Today's code judges against, serves and asks the releases of earlier versions of Ratchet."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import duckdb
import httpx2
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from infra.local.processes import free_port, start, wait_until_answers
from promote.evidence.judging import EvidenceJudge
from retrain.contract import Snapshot
from retrain.settings import Settings
from retrain.snapshot.partitions import read_partition
from retrain.wiring import open_source
from retrain.workflow import run_window
from tests.fakes.model_registry import FakeModelRegistry
from tests.fakes.runs import FakeRuns
from tests.grounds.old_release import MODEL, OldRelease, old_releases

ROOT = Path(__file__).parents[2]
WEEK = timedelta(days=7)
TOLERANCE = 1e-6
"""Between two versions of onnxruntime."""


@pytest.fixture(params=old_releases(), ids=lambda old: old.folder.name, scope="module")
def old(request: pytest.FixtureRequest) -> OldRelease:
    return request.param


# A challenger of today against the old release


def a_week_later(snapshot: Snapshot) -> pa.Table:
    """The rows of the old run, and their last week once more, seven days later."""
    rows = pa.concat_tables([read_partition(partition) for partition in snapshot.partitions])
    last = read_partition(snapshot.partitions[-1])
    later = {
        snapshot.key: pc.binary_join_element_wise(last.column(snapshot.key), "later", "-"),
        snapshot.event_time: pc.add(last.column(snapshot.event_time), WEEK),
        snapshot.groups: pc.add(last.column(snapshot.groups), WEEK).cast(pa.date32()),
    }
    moved = {name: later.get(name, last.column(name)) for name in rows.column_names}
    return pa.concat_tables([rows, pa.table(moved)])


def test_a_challenger_of_today_is_judged_against_the_old_release(
    old: OldRelease, tmp_path: Path
) -> None:
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as database:
        database.execute("SET TimeZone='UTC'")
        database.register("rows", a_week_later(old.snapshot))
        database.execute("CREATE TABLE parcels AS SELECT * FROM rows")
    settings = Settings(
        sources={"warehouse": f"duckdb:///{tmp_path / 'warehouse.duckdb'}"},
        snapshots=str(old.copy_store(tmp_path / "store")),
        workers=1,
        lock=ROOT / "infra/locks/retrain.txt",
    )
    end = datetime.fromisoformat(old.tags["window_end"]).astimezone(UTC) + WEEK
    runs = FakeRuns()
    runs.champion = old.tags["technique"]
    source = open_source(settings, old.spec.source)
    outcome = run_window(old.spec, end=end, settings=settings, runs=runs, source=source)
    assert outcome.outcome == "registered", outcome.sentence
    _, record, _, files = runs.runs[0]
    assert record.tags["recipe_digest"] == old.tags["recipe_digest"], "an upgrade is no change"

    registry = FakeModelRegistry()
    registry.register(MODEL, old.model_folder, snapshot=old.snapshot_json, tags=old.tags)
    folder = {Path(name).name: files[name] for name in files if name.startswith("model/")}
    challenger = registry.register(MODEL, folder, snapshot=files["snapshot.json"], tags=record.tags)
    judge = EvidenceJudge(registry)
    verdict = judge(challenger, old.release, old.spec.gate, had_release=True).verdict

    assert (verdict.kind, verdict.challenger, verdict.champion) == ("refresh", 2, 1)
    assert [(one.metric, one.where) for one in verdict.comparisons] == [
        ("log_loss", "all rows"),
        ("roc_auc", "all rows"),
    ]
    assert verdict.comparisons[0].rows == 140
    assert "evidence" not in {reason.rule for reason in verdict.reasons}, verdict.reasons


# The old model folder in today's server


@pytest.fixture(scope="module")
def server(old: OldRelease, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("model")
    for name, content in old.model_folder.items():
        (folder / name).write_bytes(content)
    release = old.release
    told = {
        "MODEL_FOLDER": str(folder),
        "MODEL_DIGEST": release.model_digest,
        "VERSION": str(release.version),
        "IMAGE_DIGEST": release.image.partition("@")[2],
    }
    env = {f"SERVING_{name}": value for name, value in told.items()}
    with running("serving", env, folder) as url:
        yield url


def test_todays_server_gives_the_old_models_answers(old: OldRelease, server: str) -> None:
    said = old.json("server/predict.json")
    answer = httpx2.post(f"{server}/predict", json=said["request"], trust_env=False)
    assert answer.status_code == 200
    assert_keeps(answer.json(), said["answer"])


@pytest.mark.parametrize("path", ["metadata", "schema"])
def test_todays_server_says_what_an_old_reader_needs(
    old: OldRelease, server: str, path: str
) -> None:
    answer = httpx2.get(f"{server}/{path}", trust_env=False)
    assert answer.status_code == 200
    assert_keeps(answer.json(), old.json(f"server/{path}.json"))


def test_todays_server_has_the_old_health_paths(old: OldRelease, server: str) -> None:
    said = old.json("server/health.json")
    assert {path: httpx2.get(server + path, trust_env=False).status_code for path in said} == said


# The old server behind today's gateway


@dataclass
class OldServer:
    """Answers what a recorded server answered, and refuses what it would have refused."""

    old: OldRelease
    refused: list[str] = field(default_factory=list)
    asked: int = 0

    def get(self, path: str) -> tuple[int, Any]:
        if path in ("/metadata", "/schema"):
            return 200, self.old.json(f"server{path}.json")
        status = self.old.json("server/health.json").get(path, 404)
        return status, None

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        if path != "/predict":
            return 404, None
        self.asked += 1
        if body.keys() != {"blocks"} or any(
            block.keys() != {"columns"} for block in body["blocks"]
        ):
            return 400, {"error": "not what a server of this release takes"}
        said = self.old.json("server/predict.json")
        columns, answer = said["request"]["blocks"][0]["columns"], said["answer"][0]
        places = {row: place for place, row in enumerate(zip(*columns.values(), strict=True))}
        answers = []
        for block in body["blocks"]:
            if not block["columns"].keys() <= columns.keys():
                return 400, {"error": "unknown columns"}
            rows = zip(*(block["columns"][name] for name in columns), strict=True)
            chosen = [places[row] for row in rows]
            picked = {name: [cells[i] for i in chosen] for name, cells in answer["columns"].items()}
            answers.append(answer | {"columns": picked})
        return 200, answers


@contextmanager
def listening(server: OldServer) -> Iterator[str]:
    """Serve HTTP on a free port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(*server.get(self.path))

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            self._answer(*server.post(self.path, json.loads(content)))

        def _answer(self, status: int, body: Any) -> None:
            if status >= 400:
                server.refused.append(f"{self.command} {self.path}: {status}")
            content = b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_port}"
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


def test_todays_gateway_answers_a_phone_from_an_old_server(old: OldRelease, tmp_path: Path) -> None:
    said, server = old.json("phone.json"), OldServer(old)
    phone = httpx2.Client(headers={"authorization": "Bearer key"}, trust_env=False)
    with phone, listening(server) as url:
        (tmp_path / "endpoints.json").write_text(json.dumps({"models": {MODEL: [{"url": url}]}}))
        told = {"CLIENT_API_ENDPOINTS": str(tmp_path / "endpoints.json"), "CLIENT_API_KEYS": "key"}
        with running("client_api", told, tmp_path) as gateway:
            answer = phone.post(gateway + said["path"], json=said["request"])
    assert (answer.status_code, said["status"]) == (200, 200), answer.text
    assert_keeps(answer.json(), said["answer"])
    assert answer.headers["ratchet-image-digest"] == old.release.image.partition("@")[2]
    assert [refusal for refusal in server.refused if refusal.startswith("POST /predict")] == []
    assert server.asked >= 1


@contextmanager
def running(package: str, env: Mapping[str, str], folder: Path) -> Iterator[str]:
    """Run a service of today until it is no longer needed; give its address once it is ready."""
    port, prefix = free_port(), package.upper()
    program = start(
        package,
        [sys.executable, "-m", package],
        log=folder / f"{package}.log",
        env={**env, f"{prefix}_PORT": str(port)},
        cwd=ROOT,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_answers(program, f"{url}/readyz", timeout_seconds=30)
        yield url
    finally:
        program.stop()


def assert_keeps(now: Any, before: Any, where: str = "") -> None:
    """Every field of `before` is in `now`, with the same value; `now` may have more fields."""
    if isinstance(before, dict):
        assert isinstance(now, dict), where
        assert before.keys() <= now.keys(), f"{where} lacks {sorted(before.keys() - now.keys())}"
        for name, value in before.items():
            assert_keeps(now[name], value, f"{where}.{name}")
    elif isinstance(before, list):
        assert isinstance(now, list), where
        assert len(now) == len(before), where
        for number, (new, old) in enumerate(zip(now, before, strict=True)):
            assert_keeps(new, old, f"{where}[{number}]")
    elif isinstance(before, float):
        assert now == pytest.approx(before, abs=TOLERANCE), where
    else:
        assert now == before, where
