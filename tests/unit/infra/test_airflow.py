"""What of the laptop's Airflow needs no Airflow; the demo's test starts a real one."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from infra.local import airflow
from infra.local.airflow import Airflow, components
from infra.local.processes import DidNotStart


@dataclass(frozen=True)
class SickAirflow(Airflow):
    """Says of each component what a test wants."""

    statuses: tuple[tuple[str, str | None], ...] = ()

    def health(self) -> dict[str, object]:
        """What Airflow's own health page says."""
        return {name: {"status": status} for name, status in self.statuses}


HEALTHY = dict.fromkeys(("metadatabase", "scheduler", "triggerer", "dag_processor"), "healthy")


def test_every_component_that_airflows_home_page_shows_is_started() -> None:
    started = {name.replace("-", "_") for name in components(port=8080)}
    assert set(HEALTHY) - {"metadatabase"} <= started


def test_it_is_ready_when_no_component_is_red() -> None:
    airflow._wait_for_heartbeats(SickAirflow("", (), tuple(HEALTHY.items())))


@pytest.mark.parametrize("silent", ["scheduler", "dag_processor", "triggerer"])
def test_a_component_without_heartbeat_is_named(silent: str) -> None:
    statuses = tuple((HEALTHY | {silent: None}).items())
    with pytest.raises(DidNotStart, match=f"Airflow's {silent} sent no heartbeat"):
        airflow._wait_for_heartbeats(SickAirflow("", (), statuses), timeout_seconds=0.01)
