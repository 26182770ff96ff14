"""What main named and what served, from random graphs as git walks them, and from statuses as promote writes them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promote.contract import Release
from promote.forge.port import FileVersion, Status
from promote.release.history import (
    GraphCommit,
    ReleaseCommit,
    changes,
    first_parents,
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


@st.composite
def repositories(
    draw: st.DrawFn,
) -> tuple[dict[str, GraphCommit], dict[str, bytes | None], list[str]]:
    """A graph of commits with a file's content at each, as merges leave it, and the first-parent line of its head."""
    graph, contents, line = (
        {"0": GraphCommit((), NOON)},
        {"0": draw(st.sampled_from([None, b"a"]))},
        ["0"],
    )
    for number in range(1, draw(st.integers(1, 25))):
        sha, base = str(number), line[-1]
        kind = draw(st.sampled_from(["other", "change", "squash", "merge", "merge of several"]))
        parents, content = (base,), contents[base]
        if kind in {"change", "squash"}:
            content = draw(st.sampled_from([b"a", b"b", b"c", None]))
        if kind.startswith("merge"):
            fork = draw(st.sampled_from(line))
            side, previous = contents[fork], fork
            for step in range(1 if kind == "merge" else 3):
                touched = draw(st.booleans())
                side = draw(st.sampled_from([b"a", b"b", b"c"])) if touched else side
                graph[f"{sha}.{step}"], contents[f"{sha}.{step}"], previous = (
                    GraphCommit((previous,), NOON),
                    side,
                    f"{sha}.{step}",
                )
            parents = (base, previous)
            content = side if side != contents[fork] else content
        graph[sha], contents[sha] = GraphCommit(parents, NOON), content
        line.append(sha)
    return graph, contents, line[::-1]


def _touching(graph: dict[str, GraphCommit], contents: dict[str, bytes | None]) -> set[str]:
    """What `git log -- path` lists at least: commits, not merges, that differ from their parent."""
    single = {sha: commit.parents for sha, commit in graph.items() if len(commit.parents) < 2}
    return {
        sha
        for sha, parents in single.items()
        if contents[sha] != (contents[parents[0]] if parents else None)
    }


@given(repositories(), st.data())
def test_every_change_of_the_line_is_found_also_when_asked_in_parts(
    repository: Any, data: st.DataObject
) -> None:
    graph, contents, line = repository
    plain = [
        FileVersion(sha, NOON, contents[sha])
        for sha, before in zip(line, [*line[1:], None], strict=True)
        if contents[sha] != contents.get(before)
    ]
    touching = _touching(graph, contents)
    known = data.draw(st.sampled_from([None, *line[1:]])) if len(line) > 1 else None

    newer = changes(
        first_parents(line[0], graph, until=known), graph, touching, contents.__getitem__
    )
    older = (
        changes(first_parents(known, graph), graph, touching, contents.__getitem__) if known else []
    )

    assert newer + older == plain


@given(repositories())
def test_a_merge_whose_commits_the_forge_did_not_list_is_read_all_the_same(repository: Any) -> None:
    graph, contents, line = repository
    listed = {sha: commit for sha, commit in graph.items() if "." not in sha}
    plain = [
        FileVersion(sha, NOON, contents[sha])
        for sha, before in zip(line, [*line[1:], None], strict=True)
        if contents[sha] != contents.get(before)
    ]

    assert changes(line, listed, _touching(graph, contents), contents.__getitem__) == plain


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
