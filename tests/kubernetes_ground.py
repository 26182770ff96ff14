"""What tests of the real local cluster share: whether it can run here, and patience."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from infra.local.kubernetes import doctor
from infra.local.kubernetes.build import built_folder, is_built
from infra.local.kubernetes.errors import MachineLacks


def why_not() -> str:
    """Why these tests cannot run here; empty when they can."""
    if not is_built():
        return f"the cluster's programs are not in {built_folder()}: make cluster-build (about ten minutes, once)"
    try:
        doctor.check_run(Path("/tmp"))
    except MachineLacks as problem:
        return str(problem)
    return ""


def wait_until(is_true: Callable[[], bool], *, seconds: float = 60.0) -> float:
    began = time.monotonic()
    while not is_true():
        assert time.monotonic() - began < seconds, "it did not become true"
        time.sleep(0.1)
    return time.monotonic() - began
