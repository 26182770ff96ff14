"""The task `promote`: wake the promotion service, then wait for its verdict."""

from __future__ import annotations

import json
import logging
import time
import urllib.error
import urllib.request
from datetime import timedelta
from http import HTTPStatus
from http.client import HTTPException
from typing import Any

from airflow.sdk import Variable, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
PATIENCE_SECONDS = 20 * 60
"""How long `promote` waits for a verdict: judging takes a minute, a running rollout some more."""
PAUSE_SECONDS = 10.0
TRIES = 12
"""A promotion service that starts again is away for less than these two minutes."""


@task(
    task_id="promote",
    trigger_rule="none_failed",
    retries=2,  # for a killed worker; an error of this function itself is final
    retry_delay=timedelta(seconds=20),
    execution_timeout=timedelta(seconds=PATIENCE_SECONDS + 10 * 60),  # a last resort
    map_index_template="{{ verdict }}",
)
def promote(model: str, retrained: dict[str, Any] | None) -> dict[str, Any]:
    """Nudge the promotion service and return the promotion once its verdict stands.

    Args:
        model: The model's name.
        retrained: The outcome of `retrain run`; None when retraining was skipped.

    Raises:
        AirflowFailException: There is no verdict, and another try of this task would not bring one.
    """
    url = Variable.get("promote_url", default=None)
    if not url:
        raise AirflowFailException(
            "the Airflow variable promote_url is not set:"
            " it is the address of the promotion service"
        )
    promotion = _verdict(url.rstrip("/"), model, retrained["version"] if retrained else None)
    get_current_context()["verdict"] = _label(promotion)
    log.info("%s: %s", model, json.dumps(promotion))
    return promotion


def _label(promotion: dict[str, Any]) -> str:
    """Return what Airflow's list of task instances shows of `promote`, in the column Map Index."""
    version = f"v{promotion['version']} " if promotion["version"] else ""
    return version + (promotion["verdict"] or promotion["state"])


def _verdict(url: str, model: str, version: int | None) -> dict[str, Any]:
    """Ask until the verdict is there, a person has to act, or the patience is at its end."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    what = f"on version {version} of {model}" if version else f"on {model}"
    said = "nothing yet"
    _nudge(url, model)
    while True:
        promotion = _answer("GET", f"{url}/promotions/{model}")
        if promotion is None:
            _nudge(url, model)  # the service started again and does not know the model yet
        elif _has_verdict(promotion, version):
            return promotion
        else:
            waits_for, reason = promotion["waits_for"], promotion["reason"]
            # Else the next pass of the service will see our version.
            is_ours = version is None or promotion["version"] in {None, version}
            if is_ours and waits_for == "person":
                raise AirflowFailException(
                    f"no verdict {what}, a person has to act first: {reason}"
                )
            said = f"{promotion['state']}, waits for {waits_for or 'nothing'}: {reason}"
        if time.monotonic() > deadline:
            raise AirflowFailException(
                f"no verdict {what} within {PATIENCE_SECONDS / 60:g} minutes."
                f" The promotion service says: {said}"
            )
        time.sleep(POLL_SECONDS)  # bounded by the deadline above


def _has_verdict(promotion: dict[str, Any], version: int | None) -> bool:
    if version is None:
        return promotion["state"] not in {"unjudged", "blind"}
    if promotion["version"] is None:
        return False
    if promotion["version"] > version:
        return True  # a newer challenger took its place: ours will never be judged
    return promotion["version"] == version and (
        promotion["verdict"] is not None or promotion["waits_for"] in {None, "reviewer"}
    )


def _nudge(url: str, model: str) -> None:
    if _answer("POST", f"{url}/nudge/{model}") is None:
        raise AirflowFailException(
            f"the promotion service knows no model {model}: neither main nor MLflow has it"
        )


def _answer(method: str, url: str) -> dict[str, Any] | None:
    """Return what the promotion service answers; None is its 404.

    Raises:
        AirflowFailException: It refuses, or it did not answer in any of the tries.
    """
    path = url.partition("://")[2].partition("/")[2]  # without the host, which may hold a password
    asked, why = f"{method} {path}", ""
    for attempt in range(1, TRIES + 1):
        if attempt > 1:
            time.sleep(PAUSE_SECONDS)  # bounded by TRIES
        request = urllib.request.Request(url, method=method)  # noqa: S310 - the owner's setting
        try:
            with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - as above
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            why = f"HTTP {error.code}: {_detail(error)}"
            if error.code == HTTPStatus.NOT_FOUND:
                return None
            if (
                error.code < HTTPStatus.INTERNAL_SERVER_ERROR
                and error.code != HTTPStatus.TOO_MANY_REQUESTS
            ):
                raise AirflowFailException(
                    f"the promotion service refused {asked} with {why}"
                ) from error
        except (OSError, HTTPException) as error:  # nobody listens, a timeout, a broken connection
            why = str(error) or type(error).__name__
        except ValueError as error:
            raise AirflowFailException(
                f"the answer to {asked} is not JSON; see the variable promote_url"
            ) from error
        else:
            return answer if isinstance(answer, dict) else {}
        log.warning("no answer to %s (%s), try %s of %s", asked, why, attempt, TRIES)
    raise AirflowFailException(
        f"the promotion service did not answer {asked} in {TRIES} tries ({why})."
        " Start it, then clear this task"
    )


def _detail(error: urllib.error.HTTPError) -> str:
    """Return the problem's detail (RFC 9457), or the status's own words."""
    try:
        problem = json.load(error)
    except (ValueError, OSError, HTTPException):
        return str(error.reason)
    return (
        str(problem.get("detail", error.reason)) if isinstance(problem, dict) else str(error.reason)
    )
