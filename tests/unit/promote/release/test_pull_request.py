"""What a pull request says."""

from __future__ import annotations

import pytest

from promote.contract import Reason, Release, Verdict
from promote.release.pull_request import body, title
from retrain.contract import Comparison, Interval

RELEASE = Release(
    model="flight-delay",
    version=8,
    image="ratchet/flight-delay@sha256:" + "a" * 64,
    model_digest="sha256:" + "b" * 64,
    verdict_digest="sha256:" + "c" * 64,
)


def verdict(comparisons: int) -> Verdict:
    interval = Interval(estimate=0.013, lower=0.006, upper=0.019, confidence=0.95)
    figures = [
        Comparison(
            metric="log_loss",
            where="all rows" if number == 0 else f"origin = {number}",
            champion=0.45,
            challenger=0.437,
            improvement=interval,
            rows=6000,
            groups=7,
            effective_groups=6.9,
        )
        for number in range(comparisons)
    ]
    reasons = tuple(
        Reason(rule="slice", outcome="pass", sentence=f"slice {number} is fine.")
        for number in range(comparisons)
    )
    return Verdict(
        outcome="promote",
        kind="refresh",
        model="flight-delay",
        challenger=8,
        champion=7,
        snapshot_id="sha256:" + "d" * 64,
        policy_digest="sha256:" + "e" * 64,
        comparisons=tuple(figures),
        reasons=reasons,
    )


def test_a_title_is_the_gates_figure() -> None:
    assert title(verdict(1)) == "flight-delay v8: log loss improves by 0.013 [0.006, 0.019]"


@pytest.mark.parametrize("comparisons", [1, 60])
def test_a_body_is_under_80_lines_and_ends_with_how_to_undo_it(comparisons: int) -> None:
    text = body(
        verdict(comparisons),
        owner="@acme/ml-platform",
        recipe="unchanged since v7",
        commits="trained from `abc`; judged by main",
        links=[("run of v8", "http://mlflow.test/run")],
        release=RELEASE,
    )
    assert len(text.splitlines()) < 80
    assert 'promote rollback flight-delay --reason "…"' in text
    assert "[run of v8](http://mlflow.test/run)" in text
    assert "@acme/ml-platform, please review" in text
    assert f"lice {comparisons - 1} is fine." in text  # only the table loses rows
    assert ("promote explain flight-delay 8" in text) == (comparisons == 60)
