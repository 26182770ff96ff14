"""An artifact that cannot be fetched: an outage is worth another try, a lost or forbidden file is not."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from retrain.errors import RetrainError, TrackingRefused, TrackingUnavailable
from retrain.runs.mlflow import MlflowRuns

ARTIFACTS = "mlflow-artifacts:/1/r/artifacts"


class HalfAnMlflow(BaseHTTPRequestHandler):
    """Knows the run; answers questions about artifacts with `artifact_status`, the list of them with `listed` when that is set."""

    artifact_status: int
    listed: list[str] | None

    def do_GET(self) -> None:
        if "runs/get" in self.path:
            self._answer(
                200,
                {
                    "run": {
                        "info": {"run_id": "r", "artifact_uri": ARTIFACTS},
                        "data": {},
                    }
                },
            )
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
        (404, TrackingUnavailable),
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
    tracking = MlflowRuns(half_an_mlflow.url, "flight-delay")
    with pytest.raises(error), tracking._translated():
        tracking._snapshot(ARTIFACTS)


def test_an_artifact_that_is_not_listed_is_absent_and_one_that_cannot_be_fetched_is_not(
    half_an_mlflow,
) -> None:
    half_an_mlflow.listed = ["model.json"]
    tracking = MlflowRuns(half_an_mlflow.url, "flight-delay")
    assert tracking._snapshot(ARTIFACTS) is None
    half_an_mlflow.listed = ["snapshot.json"]
    with pytest.raises(TrackingUnavailable), tracking._translated():
        tracking._snapshot(ARTIFACTS)
