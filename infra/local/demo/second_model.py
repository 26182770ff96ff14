"""The demo's second model, a regression. It retrains beside the first model's quiet weeks."""

from __future__ import annotations

from datetime import date
from typing import Any

from infra.local.airflow import DONE, Airflow
from infra.local.stack.laptop import Laptop
from infra.local.stack.terminal import say
from infra.local.stack.web import Refused, fetch, wait_for

MODEL = "arrival-delay"
DAG = f"retrain-{MODEL}"


def begin(airflow: Airflow, end: date) -> str:
    """Start its retraining in Airflow and return the run's id."""
    airflow.unpause(DAG)
    return airflow.trigger(DAG, window_end=end.isoformat(), reason="the demo's second model")


def finish(laptop: Laptop, airflow: Airflow, run: str, row: dict[str, Any]) -> None:
    """Wait for the verdict, merge what the gate supports, ask the gateway."""
    wait_for(
        f"the Airflow run {run}",
        lambda: True if airflow.run_state(DAG, run) in DONE else None,
        timeout_seconds=400,
    )
    promotion = fetch("GET", f"{laptop.promote_url}/promotions/{MODEL}")
    say(f"   version {promotion['version']}: {promotion['verdict']}. {promotion['reason']}")
    if promotion["verdict"] == "promote":
        _merge(laptop)
        answer = wait_for(
            f"an answer of {MODEL}",
            lambda: _answer(laptop, row),
            timeout_seconds=laptop.patience_seconds,
        )
        say(f"   merged; the gateway answers a flight with {answer['predictions'][0]}")


def _merge(laptop: Laptop) -> None:
    number = wait_for(
        f"a pull request of {MODEL}",
        lambda: fetch("GET", f"{laptop.promote_url}/promotions/{MODEL}")["pull_request"],
    )
    pull = laptop.forge_api("GET", f"/pulls/{number}")
    say(f"   pull request {number}: {pull['title']}\n   {pull['html_url']}")
    laptop.merge(pull, "squash")


def _answer(laptop: Laptop, row: dict[str, Any]) -> dict[str, Any] | None:
    try:
        url, key = f"{laptop.gateway_url}/v1/models/{MODEL}:predict", f"Bearer {laptop.key}"
        return dict(fetch("POST", url, {"instances": [row]}, {"Authorization": key}))
    except Refused as refused:
        if refused.status in {404, 503}:
            return None  # its server is not up yet
        raise
