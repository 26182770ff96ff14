"""An MLflow that is down, slow, wrong or refuses.

An outage is never taken for an absence, and every wait has an end.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from infra.local.processes import free_port
from promote.errors import (
    ArtifactNotFound,
    InvalidArtifact,
    ModelRegistryRefused,
    ModelRegistryUnavailable,
    PromoteError,
    VersionNotFound,
)
from promote.registry.mlflow import open_model_registry
from promote.registry.port import RETRAIN_TAGS, ModelRegistry, RegisteredModel, model_version
from retrain.contract import canonical_json

RUN_ID = "0" * 32
ARTIFACTS = f"mlflow-artifacts:/1/{RUN_ID}/artifacts"
RETRAINED = {name: f"the {name}" for name in RETRAIN_TAGS}
VERSION = model_version(
    "flight-delay",
    1,
    run_id=RUN_ID,
    source=f"{ARTIFACTS}/model",
    created_at=datetime(2013, 7, 1, tzinfo=UTC),
    tags=RETRAINED,
)
RUN = {
    "run": {
        "info": {
            "run_id": RUN_ID,
            "run_uuid": RUN_ID,
            "experiment_id": "1",
            "artifact_uri": ARTIFACTS,
            "status": "FINISHED",
        },
        "data": {},
    }
}
LISTING = {
    "files": [
        {"path": "model.json", "is_dir": False, "file_size": 2},
        {"path": "snapshot.json", "is_dir": False, "file_size": 2},
    ]
}


class Answers(ThreadingHTTPServer):
    """Plays MLflow with a test's answers by part of a path. The first fitting part counts."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answerer)
        self.by_path: dict[str, tuple[int, bytes]] = {}
        self.delay_seconds = 0.0
        self.closing = threading.Event()
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answerer(BaseHTTPRequestHandler):
    server: Answers

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.closing.wait(self.server.delay_seconds)
        status, body = next(
            (answer for part, answer in self.server.by_path.items() if part in self.path),
            (404, b"no answer was written down"),
        )
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_PATCH = do_GET  # noqa: N815 - the library's names

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Answers]:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    with Answers() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def registry(answers: Answers) -> ModelRegistry:
    return open_model_registry(answers.url)


def everything(registry: ModelRegistry, folder: Path) -> dict[str, Callable[[], object]]:
    return {
        "models": registry.registered_models,
        "challenger": lambda: registry.challenger("flight-delay"),
        "champion": lambda: registry.champion("flight-delay"),
        "version": lambda: registry.version("flight-delay", 1),
        "set_champion": lambda: registry.set_champion("flight-delay", 1),
        "tag": lambda: registry.tag("flight-delay", 1, "verdict", "{}"),
        "folder": lambda: registry.download_model_folder(VERSION, folder),
        "snapshot": lambda: registry.snapshot(VERSION),
        "evidence": lambda: registry.log_evidence(VERSION, "v1", {"evidence.json": b"{}"}),
        "read_evidence": lambda: registry.read_evidence(VERSION, "v1", "evidence.json"),
        "metrics": lambda: registry.log_metrics(VERSION, {"log_loss": 0.4}),
        "run_url": lambda: registry.run_url(VERSION),
        "evidence_url": lambda: registry.evidence_url(VERSION, "v1", "explanation.md"),
        "comparison_url": lambda: registry.comparison_url(VERSION, VERSION),
    }


def errors_of(registry: ModelRegistry, folder: Path) -> dict[str, type[PromoteError] | None]:
    found: dict[str, type[PromoteError] | None] = {}
    for name, act in everything(registry, folder).items():
        try:
            act()
            found[name] = None
        except PromoteError as error:
            found[name] = type(error)
    return found


def test_a_server_that_is_down_is_an_outage_to_every_question(
    answers: Answers, tmp_path: Path
) -> None:
    assert set(
        errors_of(open_model_registry(f"http://127.0.0.1:{free_port()}"), tmp_path).values()
    ) == {ModelRegistryUnavailable}


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429, 404, 418])
def test_a_faulty_server_or_proxy_is_an_outage_to_every_question(
    answers: Answers, registry: ModelRegistry, tmp_path: Path, status: int
) -> None:
    answers.by_path = {"/": (status, b"<html>try later</html>")}
    assert set(errors_of(registry, tmp_path).values()) == {ModelRegistryUnavailable}


@pytest.mark.parametrize(
    "body",
    [
        b"<html>login</html>",
        b"",
        b"{}",
        b"[]",
        b'{"registered_model":{"name":"another","aliases":[]}}',
    ],
)
def test_an_answer_about_something_else_is_no_absence(
    answers: Answers, registry: ModelRegistry, body: bytes
) -> None:
    answers.by_path = {"/": (200, body)}
    for act in (
        registry.registered_models,
        lambda: registry.challenger("flight-delay"),
        lambda: registry.version("flight-delay", 1),
        lambda: registry.snapshot(VERSION),
    ):
        with pytest.raises(ModelRegistryUnavailable):
            act()


def test_a_thousand_and_one_models_are_two_calls_and_an_empty_list_is_checked(
    answers: Answers, registry: ModelRegistry
) -> None:
    def page(first: int, last: int, **token: str) -> tuple[int, bytes]:
        models = [{"name": f"model-{number}"} for number in range(first, last)]
        return 200, canonical_json({"registered_models": models, **token})

    answers.by_path = {
        "page_token=next": page(1000, 1001),
        "search": page(0, 1000, next_page_token="next"),
    }
    assert len(registry.registered_models()) == 1001
    assert len(answers.asked) == 2
    assert all("max_results=1000" in path for path in answers.asked)
    absent = canonical_json({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none"})
    answers.by_path = {"search": (200, b"{}"), "registered-models/get": (404, absent)}
    assert registry.registered_models() == {}


def test_only_the_registrys_own_word_makes_a_model_absent(
    answers: Answers, registry: ModelRegistry
) -> None:
    answers.by_path = {
        "/": (
            404,
            json.dumps(
                {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Registered Model not found"}
            ).encode(),
        )
    }
    assert registry.challenger("flight-delay") is None
    with pytest.raises(VersionNotFound):
        registry.version("flight-delay", 1)
    answers.by_path = {"/": (404, b'{"detail": "Not Found"}')}
    with pytest.raises(ModelRegistryUnavailable):
        registry.challenger("flight-delay")


def test_a_version_that_retrain_did_not_register_is_refused_and_does_not_break_the_list(
    answers: Answers, registry: ModelRegistry
) -> None:
    by_hand = {"name": "flight-delay", "version": "2", "tags": [{"key": "mood", "value": "good"}]}
    alias = {"alias": "challenger", "version": "2"}
    model = {"name": "flight-delay", "aliases": [alias], "latest_versions": [by_hand]}
    answers.by_path = {
        "search": (200, canonical_json({"registered_models": [model]})),
        "registered-models/get": (200, canonical_json({"registered_model": model})),
        "model-versions/get": (200, canonical_json({"model_version": by_hand})),
    }
    listed = registry.registered_models()["flight-delay"]
    assert listed == RegisteredModel(challenger=2, champion=None, newest=None)
    with pytest.raises(InvalidArtifact, match=r"lacks the tags model_digest, .* `retrain run"):
        registry.challenger("flight-delay")


def test_an_alias_whose_version_vanished_meanwhile_is_an_error(
    answers: Answers, registry: ModelRegistry
) -> None:
    model = {
        "registered_model": {
            "name": "flight-delay",
            "aliases": [{"alias": "challenger", "version": "3"}],
        }
    }
    gone = json.dumps(
        {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Model Version not found"}
    ).encode()
    answers.by_path = {
        "registered-models/get": (200, json.dumps(model).encode()),
        "model-versions/get": (404, gone),
        "model-versions/search": (200, b"{}"),
    }
    with pytest.raises(VersionNotFound, match="flight-delay has no version 3"):
        registry.challenger("flight-delay")


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_are_no_outage_and_name_the_setting(
    answers: Answers, registry: ModelRegistry, tmp_path: Path, status: int
) -> None:
    answers.by_path = {"/": (status, b"You are not authenticated")}
    assert set(errors_of(registry, tmp_path).values()) == {ModelRegistryRefused}
    with pytest.raises(ModelRegistryRefused, match="MLFLOW_TRACKING_USERNAME"):
        registry.champion("flight-delay")


@pytest.mark.parametrize("status", [500, 503, 404])
def test_an_outage_between_the_listing_and_the_download_is_no_missing_file(
    answers: Answers, registry: ModelRegistry, tmp_path: Path, status: int
) -> None:
    answers.by_path = {
        "runs/get": (200, canonical_json(RUN)),
        "artifacts?path=": (200, canonical_json(LISTING)),
        "mlflow-artifacts/artifacts/": (status, b"gone away"),
    }
    for act in (
        lambda: registry.snapshot(VERSION),
        lambda: registry.download_model_folder(VERSION, tmp_path),
    ):
        with pytest.raises(ModelRegistryUnavailable):
            act()


def test_a_listing_that_fails_is_an_outage_and_one_without_the_file_an_absence(
    answers: Answers, registry: ModelRegistry
) -> None:
    answers.by_path = {"runs/get": (200, canonical_json(RUN)), "artifacts?path=": (500, b"")}
    with pytest.raises(ModelRegistryUnavailable):
        registry.snapshot(VERSION)
    answers.by_path = {
        "runs/get": (200, canonical_json(RUN)),
        "artifacts?path=": (200, b'{"files": []}'),
    }
    with pytest.raises(ArtifactNotFound, match=r"has no snapshot\.json"):
        registry.snapshot(VERSION)


def test_artifacts_that_refuse_the_credentials_are_refused_and_a_lost_route_is_an_outage(
    answers: Answers, registry: ModelRegistry
) -> None:
    for status, expected in [
        (401, ModelRegistryRefused),
        (403, ModelRegistryRefused),
        (404, ModelRegistryUnavailable),
    ]:
        answers.by_path = {
            "runs/get": (200, canonical_json(RUN)),
            "mlflow-artifacts": (status, b"{}"),
        }
        for act in (
            lambda: registry.snapshot(VERSION),
            lambda: registry.log_evidence(VERSION, "v1", {"evidence.json": b"{}"}),
        ):
            with pytest.raises(expected):
                act()


@pytest.mark.parametrize(
    "source",
    [
        "file:///etc",
        "/etc",
        "",
        ARTIFACTS,
        f"{ARTIFACTS}/",
        f"{ARTIFACTS}/..",
        f"{ARTIFACTS}/a/../../x",
        f"{ARTIFACTS}/a//b",
        "runs:/another/model",
        "s3://bucket/x",
    ],
)
def test_a_source_outside_the_runs_artifacts_is_never_fetched(
    answers: Answers, registry: ModelRegistry, tmp_path: Path, source: str
) -> None:
    answers.by_path = {"runs/get": (200, canonical_json(RUN))}
    with pytest.raises(ModelRegistryRefused, match="not below its run's artifacts"):
        registry.download_model_folder(replace(VERSION, source=source), tmp_path)
    assert all("runs/get" in path for path in answers.asked)


def test_a_server_that_never_answers_costs_a_bounded_wait(
    answers: Answers, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    answers.delay_seconds = 60
    started = time.monotonic()
    with pytest.raises(
        ModelRegistryUnavailable, match="alias challenger of flight-delay, without an answer"
    ):
        registry.challenger("flight-delay")
    assert time.monotonic() - started < 8


def test_an_error_says_what_was_asked_what_was_found_and_what_to_do(
    answers: Answers, registry: ModelRegistry
) -> None:
    answers.by_path = {"/": (503, b"upstream connect error")}
    with pytest.raises(
        ModelRegistryUnavailable,
        match=r"asked MLflow for version 8 of flight-delay, without an answer: .*503.*"
        r"See that MLflow runs at PROMOTE_TRACKING_URL",
    ):
        registry.version("flight-delay", 8)
