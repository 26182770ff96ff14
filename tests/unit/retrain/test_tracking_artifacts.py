"""An artifact that cannot be fetched: an outage is worth another try, a lost or forbidden file is not."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from retrain.errors import RetrainError, TrackingRefused, TrackingUnavailable
from retrain.tracking import Tracking


class HalfAnMlflow(BaseHTTPRequestHandler):
    """Knows the run; answers every question about artifacts with `artifact_status`."""

    artifact_status: int

    def do_GET(self) -> None:
        if "runs/get" not in self.path:
            self.send_response(self.artifact_status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = json.dumps({"run": {"info": {"run_id": "r", "artifact_uri": "mlflow-artifacts:/1/r/artifacts"}, "data": {}}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def half_an_mlflow() -> Iterator[type[HalfAnMlflow]]:
    handler = type("OneMlflow", (HalfAnMlflow,), {"artifact_status": 503})
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
        (404, TrackingRefused),
        (403, TrackingRefused),
        (401, TrackingRefused),
        (400, TrackingRefused),
        (413, TrackingRefused),
    ],
)
def test_an_outage_is_not_taken_for_a_lost_artifact(half_an_mlflow, status: int, error: type[RetrainError]) -> None:
    half_an_mlflow.artifact_status = status
    tracking = Tracking(half_an_mlflow.url, "flight-delay")
    with pytest.raises(error), tracking._translated():
        tracking._artifact("r", "snapshot.json")
