"""Phones that ask the models of a loop on Kubernetes, and what breaks meanwhile."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable

from infra.local.demo.clients import Answer, Clients
from infra.local.stack.web import wait_for
from tests.grounds.kubernetes_loop import MIN_READY_SECONDS, MODEL, Loop

SERVER_KILLED, GATEWAY_KILLED, CONTAINERD_RESTARTED, API_SERVER_AWAY = DISTURBANCES = (
    "a server killed with -9",
    "a gateway killed with -9",
    "containerd restarted",
    "the API server away for 30 s",
)


def between(answers: Iterable[Answer], start: float, end: float | None = None) -> list[Answer]:
    """The answers to requests that were sent in a span of `time.monotonic()`."""
    return [
        answer
        for answer in list(answers)
        if answer.asked_at >= start and (end is None or answer.asked_at < end)
    ]


def failed(answers: Iterable[Answer]) -> list[Answer]:
    """The answers that are no prediction."""
    return [answer for answer in answers if answer.status != 200]


class Story:
    """The loop, and phones that ask its models all the time.

    Args:
        loop: The programs.
        per_second: Requests a second for MODEL, answered or not. The other models get a quarter.
    """

    def __init__(self, loop: Loop, *, per_second: float) -> None:
        self.loop = loop
        self.per_second = per_second
        self.phones: dict[str, Clients] = {}

    def serve(self, *models: str) -> None:
        """Release the first version of each model and let phones ask it."""
        for model in models:
            self.loop.retrain(model, 0)
            self.loop.review_and_merge(self.loop.proposed(model))
        for model in models:
            self.loop.wait_until_served(model, 1)
            deployment = self.loop.kube(
                "get", "deployment", f"server-{model}", "--namespace=models"
            )
            assert deployment["spec"]["minReadySeconds"] == MIN_READY_SECONDS
            wait_for(f"an answer of {model}", lambda model=model: self._answers(model))
            share = 1 if model == MODEL else 1 / 4
            self.phones[model] = self.loop.clients(model, per_second=self.per_second * share)

    def _answers(self, model: str) -> bool | None:
        clients = self.loop.clients(model, per_second=self.per_second)
        time.sleep(0.5)  # the phones ask for this long
        return True if any(answer.status == 200 for answer in clients.stop()) else None

    def asked(self, model: str, since: float) -> list[Answer]:
        """The answers since then. Every prediction came from an image that stood on main."""
        answers = between(self.phones[model].answers, since)
        digests = {answer.image_digest for answer in answers if answer.status == 200}
        assert digests <= self.loop.digests_on_main(model)
        return answers

    def answers_again(self, model: str, since: float) -> float:
        """Seconds from `since` to the last failure before three seconds without one."""
        quiet = 3.0

        def look() -> float | None:
            if time.monotonic() < since + quiet:
                return None
            answers = between(self.phones[model].answers, since)
            last_failure = max((answer.asked_at for answer in failed(answers)), default=since)
            recent = between(answers, time.monotonic() - quiet)
            return last_failure - since if recent and not failed(recent) else None

        return wait_for(f"{model} answers again", look, timeout_seconds=120)

    def stop(self) -> None:
        """Stop the phones and the loop."""
        for clients in self.phones.values():
            clients.stop()
        self.loop.stop()


def disturb(loop: Loop, what: str) -> None:
    """Do one of DISTURBANCES. Return when the cluster is complete again."""
    if what in (SERVER_KILLED, GATEWAY_KILLED):
        namespace, model, module = (
            ("models", MODEL, "serving") if what == SERVER_KILLED else ("gateway", "", "client_api")
        )
        pod = loop.staying_pod(namespace, model)
        before = loop.restarts(namespace, pod)
        os.kill(loop.pid(pod, module), signal.SIGKILL)
        wait_for(
            "the kubelet's restart",
            lambda: True if loop.restarts(namespace, pod) > before else None,
            timeout_seconds=60,
        )
    elif what == CONTAINERD_RESTARTED:
        loop.running.kill("containerd")
    else:
        loop.running.hold("apiserver")
        loop.running.kill("apiserver")
        time.sleep(30)  # the API server is away for this long
        loop.running.release("apiserver")
