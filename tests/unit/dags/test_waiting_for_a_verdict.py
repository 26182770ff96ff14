"""The promote task against a promotion service that answers as told."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]

RUN = """
import json, logging, sys
import retrain_dags
retrain_dags.Variable.get = staticmethod(lambda name, default=None: sys.argv[1])
retrain_dags.POLL_SECONDS = 0.01
print(json.dumps(retrain_dags.promote.function("toy", sys.argv[2] or None)))
"""


class Service(BaseHTTPRequestHandler):
    """Answers each look-up with the next promotion, the last one for good; counts nudges."""

    promotions: list[dict[str, Any]]
    nudges: list[str]

    def do_POST(self) -> None:
        self.nudges.append(self.path)
        self._answer({})

    def do_GET(self) -> None:
        self._answer(self.promotions.pop(0) if len(self.promotions) > 1 else self.promotions[0])

    def _answer(self, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def promotion(version: int | None, verdict: str | None, state: str, waiting_for: str | None = None) -> dict[str, Any]:
    return {"model": "toy", "version": version, "verdict": verdict, "state": state, "waiting_for": waiting_for}


@pytest.fixture
def service() -> Iterator[type[Service]]:
    handler = type("OneService", (Service,), {"promotions": [], "nudges": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    handler.url = f"http://127.0.0.1:{server.server_port}"
    yield handler
    server.shutdown()
    thread.join()
    server.server_close()


def wait(service: Any, retrained: str, home: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "dags"), "AIRFLOW_HOME": str(home), "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"}
    return subprocess.run([sys.executable, "-W", "ignore", "-c", RUN, service.url, retrained], env=env, capture_output=True, text=True, timeout=60, check=False)


def test_it_nudges_once_and_waits_for_the_verdict_on_its_own_version(service: Any, tmp_path: Path) -> None:
    service.promotions += [promotion(7, "promote", "no challenger"), promotion(8, None, "unjudged", "promote"), promotion(8, "keep", "kept")]
    done = wait(service, '{"version": 8}', tmp_path)
    assert json.loads(done.stdout.splitlines()[-1])["verdict"] == "keep", done.stderr
    assert service.nudges == ["/nudge/toy"]


def test_a_newer_challenger_ends_the_wait(service: Any, tmp_path: Path) -> None:
    service.promotions += [promotion(9, None, "unjudged", "promote")]
    assert json.loads(wait(service, '{"version": 8}', tmp_path).stdout.splitlines()[-1])["version"] == 9


def test_a_skipped_retrain_waits_out_an_outage_and_a_verdict_that_is_due(service: Any, tmp_path: Path) -> None:
    service.promotions += [promotion(None, None, "blind", "an answer"), promotion(8, None, "unjudged", "promote"), promotion(8, "keep", "kept")]
    assert json.loads(wait(service, "", tmp_path).stdout.splitlines()[-1])["state"] == "kept"


def test_when_a_person_has_to_act_first_the_owner_is_told_at_once(service: Any, tmp_path: Path) -> None:
    service.promotions += [promotion(8, None, "failed, held", "a person: the revert was refused")]
    done = wait(service, '{"version": 8}', tmp_path)
    assert done.returncode != 0
    assert "AirflowFailException" in done.stderr
    assert "the revert was refused" in done.stderr
