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
from ratchet_tasks import promotion
promotion.Variable.get = staticmethod(lambda name, default=None: sys.argv[1])
promotion.POLL_SECONDS, promotion.PAUSE_SECONDS = 0.01, 0.0
promotion.PATIENCE_SECONDS = float(sys.argv[3])
promotion.get_current_context = lambda: context
context = {}
found = promotion.promote.function("toy", json.loads(sys.argv[2] or "null"))
print(json.dumps({**found, "label": context["verdict"]}))
"""


class Service(BaseHTTPRequestHandler):
    """Answers each look-up with the next promotion, the last one for good; counts nudges.

    A problem (RFC 9457) is an answer, too; None is a connection that breaks off.
    """

    promotions: list[dict[str, Any] | None]
    nudges: list[str]
    to_nudges: list[dict[str, Any] | None]

    def do_POST(self) -> None:
        self.nudges.append(self.path)
        self._answer(self.to_nudges.pop(0) if self.to_nudges else {})

    def do_GET(self) -> None:
        self._answer(self.promotions.pop(0) if len(self.promotions) > 1 else self.promotions[0])

    def _answer(self, content: dict[str, Any] | None) -> None:
        if content is None:
            self.close_connection = True
            return
        body = json.dumps(content).encode()
        self.send_response(content.get("status", 200))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def promotion(
    version: int | None,
    verdict: str | None,
    state: str,
    waits_for: str | None = None,
    reason: str = "",
) -> dict[str, Any]:
    return {
        "model": "toy",
        "version": version,
        "verdict": verdict,
        "state": state,
        "waits_for": waits_for,
        "reason": reason,
    }


def problem(status: int, detail: str) -> dict[str, Any]:
    return {"type": "about:blank", "title": "a problem", "status": status, "detail": detail}


@pytest.fixture
def service() -> Iterator[type[Service]]:
    handler = type("OneService", (Service,), {"promotions": [], "nudges": [], "to_nudges": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    handler.url = f"http://127.0.0.1:{server.server_port}"
    yield handler
    server.shutdown()
    thread.join()
    server.server_close()


def wait(
    service: Any, retrained: str, home: Path, *, seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "dags"),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
    }
    command = [sys.executable, "-W", "ignore", "-c", RUN, service.url, retrained, str(seconds)]
    return subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=120, check=False
    )


def found(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def failed(done: subprocess.CompletedProcess[str]) -> str:
    """What the task failed with at once, as its last line."""
    assert done.returncode != 0, done.stdout
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("airflow.sdk.exceptions.AirflowFailException: "), done.stderr
    return last


def test_it_nudges_once_and_waits_for_the_verdict_on_its_own_version(
    service: Any, tmp_path: Path
) -> None:
    service.promotions += [
        promotion(7, "promote", "no challenger"),
        promotion(8, None, "unjudged", "promote"),
        promotion(8, "keep", "kept"),
    ]
    answer = found(wait(service, '{"version": 8}', tmp_path))
    assert (answer["verdict"], answer["label"]) == ("keep", "v8 keep")
    assert service.nudges == ["/nudge/toy"]


def test_a_newer_challenger_ends_the_wait(service: Any, tmp_path: Path) -> None:
    service.promotions += [promotion(9, None, "unjudged", "promote")]
    answer = found(wait(service, '{"version": 8}', tmp_path))
    assert (answer["version"], answer["label"]) == (9, "v9 unjudged")


def test_a_skipped_retrain_waits_out_an_outage_and_a_verdict_that_is_due(
    service: Any, tmp_path: Path
) -> None:
    service.promotions += [
        promotion(None, None, "blind", "outage"),
        promotion(8, None, "unjudged", "promote"),
        promotion(8, "keep", "kept"),
    ]
    assert found(wait(service, "", tmp_path))["state"] == "kept"


def test_when_a_person_has_to_act_first_the_owner_is_told_at_once(
    service: Any, tmp_path: Path
) -> None:
    service.promotions += [promotion(8, None, "failed, held", "person", "the revert was refused")]
    assert failed(wait(service, '{"version": 8}', tmp_path)).endswith(
        "no verdict on version 8 of toy, a person has to act first: the revert was refused"
    )


def test_what_the_service_saw_before_the_nudge_is_no_answer(service: Any, tmp_path: Path) -> None:
    service.promotions += [
        promotion(7, None, "failed, held", "person", "of the version before"),
        promotion(8, "promote", "proposed", "reviewer"),
    ]
    assert found(wait(service, '{"version": 8}', tmp_path))["verdict"] == "promote"


def test_a_rollout_and_an_outage_are_waited_out_whatever_their_sentences_begin_with(
    service: Any, tmp_path: Path
) -> None:
    service.promotions += [
        promotion(8, None, "rolling out", "rollout", "a person may look at it"),
        promotion(8, None, "blind", "outage", "a person cannot help"),
        promotion(8, "keep", "kept"),
    ]
    assert found(wait(service, '{"version": 8}', tmp_path))["verdict"] == "keep"


def test_when_nothing_is_left_to_wait_for_the_wait_ends(service: Any, tmp_path: Path) -> None:
    service.promotions += [promotion(8, None, "rejected")]
    assert found(wait(service, '{"version": 8}', tmp_path))["label"] == "v8 rejected"


def test_when_the_time_is_over_one_sentence_says_what_was_waited_for_and_no_other_try_follows(
    service: Any, tmp_path: Path
) -> None:
    service.promotions += [promotion(8, None, "blind", "outage", "MLflow does not answer")]
    said = failed(wait(service, '{"version": 8}', tmp_path, seconds=0.3))
    assert "no verdict on version 8 of toy within 0.005 minutes" in said
    assert said.endswith(
        "The promotion service says: blind, waits for outage: MLflow does not answer"
    )


def test_a_model_that_promote_does_not_know_fails_at_once(service: Any, tmp_path: Path) -> None:
    service.to_nudges += [problem(404, "neither main nor MLflow has it")]
    assert failed(wait(service, '{"version": 8}', tmp_path)).endswith(
        "the promotion service knows no model toy: neither main nor MLflow has it"
    )
    assert len(service.nudges) == 1


@pytest.mark.parametrize("status", [401, 403, 422])
def test_a_refusal_fails_at_once_with_its_reason(service: Any, tmp_path: Path, status: int) -> None:
    service.to_nudges += [problem(status, "as the service words it")]
    assert failed(wait(service, '{"version": 8}', tmp_path)).endswith(
        f"refused POST nudge/toy with HTTP {status}: as the service words it"
    )
    assert len(service.nudges) == 1


def test_a_service_that_is_away_for_a_moment_or_starts_again_is_waited_for(
    service: Any, tmp_path: Path
) -> None:
    service.to_nudges += [None, problem(503, "starting"), {}]
    service.promotions += [
        None,
        problem(404, "not seen yet"),
        problem(429, "slower"),
        promotion(8, "keep", "kept"),
    ]
    assert found(wait(service, '{"version": 8}', tmp_path))["verdict"] == "keep"
    assert len(service.nudges) == 4, "again after the 404, for what was nudged is forgotten by then"


def test_a_service_that_stays_away_is_asked_a_bounded_number_of_times(
    service: Any, tmp_path: Path
) -> None:
    service.promotions += [problem(503, "starting")]
    assert "did not answer GET promotions/toy in 12 tries (HTTP 503: starting)" in failed(
        wait(service, '{"version": 8}', tmp_path)
    )
