"""An artifact that cannot be fetched: an outage is worth another try, a refusal is not."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from retrain.errors import RetrainError, TrackingRefused, TrackingUnavailable
from retrain.runs.mlflow import MlflowRuns

VERSION = {"name": "flight-delay", "version": "1", "run_id": "r"}
RUN = {
    "info": {"run_id": "r", "artifact_uri": "mlflow-artifacts:/1/r/artifacts"},
    "data": {"tags": [{"key": "plan_digest", "value": "plan"}]},
}


class HalfAnMlflow(BaseHTTPRequestHandler):
    """Knows one version and its run. Artifacts answer `artifact_status`.

    The list of artifacts answers `listed`, unless that is None.
    """

    artifact_status: int
    listed: list[str] | None

    def do_GET(self) -> None:
        if "model-versions/search" in self.path:
            self._answer(200, {"model_versions": [VERSION]})
        elif "runs/get" in self.path:
            self._answer(200, {"run": RUN})
        elif "?path=" in self.path and self.listed is not None:
            self._answer(200, {"files": [{"path": name, "is_dir": False} for name in self.listed]})
        else:
            self._answer(self.artifact_status, {})

    def _answer(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def half_an_mlflow() -> Iterator[type[HalfAnMlflow]]:
    handler = type("OneMlflow", (HalfAnMlflow,), {"artifact_status": 503, "listed": None})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    handler.url = f"http://127.0.0.1:{server.server_port}"
    yield handler
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (503, TrackingUnavailable),
        (429, TrackingUnavailable),
        (404, TrackingUnavailable),  # a proxy that lost its route; a missing file is not listed
        (403, TrackingRefused),
        (401, TrackingRefused),
        (400, TrackingRefused),
        (413, TrackingRefused),
    ],
)
def test_an_outage_is_not_taken_for_a_lost_artifact(
    half_an_mlflow, status: int, error: type[RetrainError]
) -> None:
    half_an_mlflow.artifact_status = status
    with pytest.raises(error):
        MlflowRuns(half_an_mlflow.url, "flight-delay").last_snapshot("plan")


def test_a_file_that_is_not_listed_is_absent_and_a_file_that_cannot_be_fetched_is_not(
    half_an_mlflow,
) -> None:
    runs = MlflowRuns(half_an_mlflow.url, "flight-delay")
    half_an_mlflow.listed = ["model.json"]
    assert runs.last_snapshot("plan") is None
    half_an_mlflow.listed = ["snapshot.json"]
    with pytest.raises(TrackingUnavailable):
        runs.last_snapshot("plan")
