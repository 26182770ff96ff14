"""What a pass over a thousand models asks, counted on the laptop's forge and on counting fakes.

`RATCHET_MODELS`, `RATCHET_COMMITS` and `RATCHET_CHALLENGERS` make the repository smaller or larger.
"""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn

from promote.contract import Promotion
from promote.loop.reconciler import Reconciler
from promote.web.app import Loop, create_app
from tests.grounds.forge_server import REPOSITORY
from tests.grounds.thousand_models import (
    CHALLENGERS,
    MODELS,
    NAMES,
    ROLLING_OUT,
    STUCK,
    Ground,
    thousand_models,
    version_of,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3000)]


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with thousand_models(tmp_path_factory.mktemp("thousand")) as ground:
        yield ground


def a_pass(reconciler: Reconciler) -> tuple[list[Promotion], float, float]:
    """Where the models stand, seconds of the lists, CPU seconds of the thread."""
    wall, cpu = time.perf_counter(), time.thread_time()
    names = reconciler.observer.start_pass()
    begun = time.perf_counter() - wall
    promotions = [reconciler.reconcile(name) for name in names]
    reconciler.observer.end_pass()
    return promotions, begun, time.thread_time() - cpu


def states_of(promotions: list[Promotion]) -> Counter[str]:
    return Counter(promotion.state for promotion in promotions)


@contextmanager
def served(promotions: list[Promotion], reconciler: Reconciler) -> Iterator[str]:
    """The service with these promotions, without its loop."""
    loop = Loop(
        reconciler,
        lambda _: NAMES,
        is_model=lambda _: True,
        environment="production",
        interval_seconds=3600,
    )
    loop.promotions = {promotion.model: promotion for promotion in promotions}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(create_app(loop), log_level="error", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def asked_status(url: str) -> tuple[str, float, float]:
    """What `promote status` prints, its seconds, and CPU seconds of the command and the service."""
    settings = {
        "PROMOTE_TRACKING_URL": "http://mlflow.test",
        "PROMOTE_FORGE_TOKEN": "unused",
        "PROMOTE_REPOSITORY": REPOSITORY,
        "PROMOTE_IMAGES": "oci-layout:/unused",
        "PROMOTE_CLUSTER_URL": "http://cluster.test",
        "PROMOTE_URL": url,
    }
    command = [Path(sys.executable).with_name("promote"), "status"]
    began, cpu = time.perf_counter(), cpu_seconds()
    ended = subprocess.run(
        command, env=os.environ | settings, capture_output=True, text=True, check=True
    )
    return ended.stdout, time.perf_counter() - began, cpu_seconds() - cpu


def cpu_seconds() -> float:
    """Of this process and of its children that ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def test_a_thousand_models(ground: Ground) -> None:
    reconciler = ground.reconciler("first")
    promotions, git_seconds, _ = a_pass(reconciler)
    statuses = [path for method, path in ground.forge.asked if "/statuses" in path]
    print(f"start: {states_of(promotions)}, {len(statuses)} status calls")
    print(f"git and lists: {git_seconds:.1f} s")
    assert len(statuses) <= 2 * MODELS + 3 * ROLLING_OUT

    for name in NAMES[1 : CHALLENGERS + 1]:
        number = 1 + ground.registry.registered_models()[name].newest.version
        files, tags = version_of(name, number)
        ground.registry.register(name, files, snapshot=b"{}", tags=tags)
    ground.forget()
    began = time.perf_counter()
    promotions, *_ = a_pass(reconciler)
    states = states_of(promotions)
    posted = [path for method, path in ground.forge.asked if method in {"POST", "PATCH"}]
    pushes = [path for path in posted if path.endswith("/git-receive-pack")]
    writes = [path for path in posted if "/git-" not in path]
    print(
        f"{CHALLENGERS} challengers: {states} in {time.perf_counter() - began:.0f} s, "
        f"{len(writes)} REST writes and {len(pushes)} pushes of {len(ground.forge.asked)} calls"
    )
    assert states["proposed"] == CHALLENGERS - 1, "all but the stuck one, which came first"
    assert states["unjudged"] == 1
    assert len(pushes) == CHALLENGERS - 1
    assert len(writes) == 2 * (CHALLENGERS - 1), "a pull request and its status"

    ground.registry.drop_challenger(STUCK, ground.registry.registered_models()[STUCK].challenger)
    a_pass(reconciler)  # statuses of the last acts become final
    ground.forget()
    promotions, _, cpu = a_pass(reconciler)
    states = states_of(promotions)
    pulls = states["proposed"]
    print(f"quiet: {states}, forge {len(ground.forge.asked)}, {ground.calls}, CPU {cpu:.1f} s")
    assert states["rolling out"] == ROLLING_OUT
    assert len(ground.forge.asked) <= 10 + pulls
    for part, calls in ground.calls.items():
        assert calls.total() <= 10, part

    with served(promotions, reconciler) as url:
        text, seconds, cpu = asked_status(url)
    print(f"promote status: {len(text.splitlines())} lines in {seconds:.1f} s, CPU {cpu:.1f} s")
    assert all(name in text for name in NAMES)
    assert cpu <= 3, "seconds of a machine that does nothing else"

    again = ground.reconciler("first")
    ground.forge.asked.clear()
    a_pass(again)
    print(f"restart: forge {len(ground.forge.asked)}")
    assert len(ground.forge.asked) <= 10 + 2 * pulls, "final statuses come from the file"
