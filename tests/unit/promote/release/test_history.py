"""What main named and what served, from random graphs and from statuses as promote writes them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from promote.contract import Release
from promote.forge.port import Status
from promote.release.history import (
    ReleaseCommit,
    last_served,
    left_behind,
    return_target,
    served_at,
)
from promote.release.history_reader import HistoryReader
from tests.fakes.forge import FakeForge

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def release(version: int) -> Release:
    digest = "sha256:" + f"{version}" * 64
    return Release(
        model="m",
        version=version,
        image=f"ratchet/m@{digest}",
        model_digest=digest,
        verdict_digest=digest,
    )


def release_commit(
    version: int | None, landed: int, seen: int | None = None, state: Any = "success"
) -> ReleaseCommit:
    """Times in minutes after noon."""
    status = (
        None
        if seen is None
        else Status("ratchet/rollout", state, "", NOON + timedelta(minutes=seen))
    )
    content = None if version is None else str(version).encode()
    return ReleaseCommit(
        f"{landed:040x}",
        NOON + timedelta(minutes=landed),
        content,
        None if version is None else release(version),
        status,
    )


def version_at(history: Sequence[ReleaseCommit], minutes: float) -> int | None:
    found = served_at(history, NOON + timedelta(minutes=minutes))
    return found.release.version if found else None


HISTORY = (
    release_commit(1, 60, 63),
    release_commit(3, 40, 45, "failure"),
    release_commit(2, 20, 22),
    release_commit(1, 0, 2),
)


def test_a_release_serves_from_when_it_was_seen_healthy_until_the_next_one_is() -> None:
    assert [
        version_at(HISTORY, minute) for minute in (0, 1.9, 2, 21, 22, 41, 62.9, 63, 10_000)
    ] == [None, None, 1, 1, 2, 2, 2, 1, 1]


def test_the_reason_tells_of_a_failed_release_and_of_a_rollback() -> None:
    failed, back = (
        served_at(HISTORY, NOON + timedelta(minutes=50)),
        served_at(HISTORY, NOON + timedelta(minutes=70)),
    )
    assert failed is not None
    assert back is not None
    assert "version 3, named later, did not become healthy" in failed.why
    assert "again, by a rollback" in back.why


def test_nothing_serves_after_main_stopped_naming_a_release() -> None:
    history = (release_commit(None, 30), release_commit(1, 0, 2))
    assert version_at(history, 29) == 1
    assert version_at(history, 31) is None


@pytest.mark.parametrize(
    ("versions", "left", "target"),
    [
        ((), set(), None),
        ((1,), set(), None),
        ((1, 2), set(), 1),
        ((1, 2, 1), {2}, None),
        ((1, 2, 3, 2), {3}, 1),
        ((1, 2, 3, 1), {2, 3}, None),
        ((1, 2, 3, 2, 3), {2}, 1),
        ((1, 2, 3, 2, 4), {3}, 2),
        ((1, 2, 3, 2, 1), {2, 3}, None),
        ((1, None, 1), set(), None),
        ((1, 2, None), set(), 2),
    ],
)
def test_a_rollback_goes_to_the_newest_release_that_no_way_back_left(
    versions: tuple[int | None, ...], left: set[int], target: int | None
) -> None:
    history = tuple(
        release_commit(version, 10 * at, 10 * at + 2) for at, version in enumerate(versions)
    )[::-1]
    found = return_target(history)
    assert left_behind(history) == left
    assert (found.release.version if found and found.release else None) == target


def test_a_person_may_name_a_release_that_was_left_but_none_that_never_served() -> None:
    history = (
        release_commit(1, 60, 63),
        release_commit(3, 40, 45, "failure"),
        release_commit(2, 20, 22),
        release_commit(1, 0, 2),
    )
    back = return_target(history, version=2)
    assert back is not None
    assert back.release == release(2)
    assert return_target(history, version=3) is None


def test_the_champion_is_the_newest_that_was_seen_healthy() -> None:
    history = (
        release_commit(3, 40, 45, "failure"),
        release_commit(2, 20, 22),
        release_commit(1, 0, 2),
    )
    champion = last_served(history)
    assert champion is not None
    assert champion.release == release(2)
    assert last_served(()) is None


def test_what_main_named_before_is_asked_about_once() -> None:
    forge = FakeForge({})
    commits = [
        forge.push({"gitops/models/m/production/release.yaml": content})
        for content in (b"1", b"2", b"3")
    ]
    for commit, state in zip(commits, ("success", "failure", "failure"), strict=True):
        forge.set_status(commit, "ratchet/rollout", state, "")  # type: ignore[arg-type]  # one of the states
    asked: list[str] = []
    real = forge.statuses
    forge.statuses = lambda commit: (asked.append(commit), real(commit))[1]  # type: ignore[method-assign]  # counts calls
    reader = HistoryReader(forge, "production")

    for _ in range(3):
        history = reader.read("m", forge.head())

    assert [
        release_commit.rollout.state for release_commit in history if release_commit.rollout
    ] == [
        "failure",
        "failure",
        "success",
    ]
    assert asked == [*reversed(commits), commits[2], commits[2]], (
        "what main names may still become healthy"
    )
