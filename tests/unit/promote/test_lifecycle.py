"""The table of states: its order, and each row by the smallest observation that reaches it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from promote.contract import Release, Verdict
from promote.forge import PullRequest, Status
from promote.history import Named
from promote.lifecycle import SUPERSEDED, TABLE, Challenger, Observation, ObservedPull, decide
from promote.release import BranchName
from promote.rollout import RolloutStatus

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
DIGEST = "sha256:" + "a" * 64
HEALTHY, PROGRESSING, FAILED = RolloutStatus("healthy", "fine"), RolloutStatus("progressing", "slowly"), RolloutStatus("failed", "crashed")


def named(version: int, commit: str, *, minutes_ago: float = 60, rollout: str | None = "success") -> Named:
    at = NOW - timedelta(minutes=minutes_ago)
    release = Release(model="m", version=version, image=f"r/m@{DIGEST}", model_digest=DIGEST, verdict_digest=DIGEST)
    status = Status("ratchet/rollout", rollout, "", at) if rollout else None  # type: ignore[arg-type]  # one of the states
    return Named(commit * 40, at, f"release {version}".encode(), release, status)


def verdict(outcome: str) -> Verdict:
    return Verdict.model_validate(
        {"outcome": outcome, "kind": "refresh", "model": "m", "challenger": 9, "champion": 8, "snapshot_id": DIGEST, "policy_digest": DIGEST}
        | {"comparisons": (), "reasons": ()}
    )


def pull(
    number: int = 5, version: int = 9, *, purpose: Any = "promotion", over: str | None = "b" * 12, gate: str | None = "success", **changed: Any
) -> ObservedPull:
    as_proposed = changed.pop("as_proposed", True)
    fields = {"state": "open", "title": "", "url": "", "created_at": NOW} | changed
    return ObservedPull(PullRequest(number, "branch", "h" * 40, **fields), BranchName(purpose, version, over), as_proposed, gate)


# v8 is main's and served, v7 before it; v9 challenges, was judged, built, branched and opened.
USUAL = Observation(
    "m",
    "production",
    NOW,
    main="c" * 40,
    history=(named(8, "b"), named(7, "a", minutes_ago=600)),
    rollout=HEALTHY,
    champion=8,
    challenger=Challenger(9),
    verdict=verdict("promote"),
    image=f"r/m@{DIGEST}",
    branch="d" * 40,
    pulls=(pull(),),
)
LANDED = (named(8, "b", minutes_ago=1, rollout=None), named(7, "a", minutes_ago=600))
LATE = (named(8, "b", minutes_ago=6, rollout=None), named(7, "a", minutes_ago=600))
BROKEN = (named(8, "b", rollout="failure"), named(7, "a", minutes_ago=600))
FIRST = {"history": (), "rollout": None, "champion": None, "pulls": ()}

CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("blind", "wait", {"failures": ("the forge does not answer",)}),
    ("blind", "wait", {"failures": ("the forge does not answer",), "champion": 7}),
    ("alias behind", "set champion", {"champion": 7}),
    ("alias behind", "set champion", {"champion": None}),
    ("unrecognised", "wait", {"is_recognised": False}),
    ("unrecognised", "wait", {"history": (replace(named(8, "b"), content=None, release=None, rollout=None), *USUAL.history)}),
    ("unrecorded", "record success", {"history": LANDED, "champion": 7}),
    ("unrecorded", "record success", {"history": BROKEN, "champion": 7}),
    ("obsolete", "close", {"pulls": (pull(purpose="revert", version=7),)}),
    ("obsolete", "close", {"pulls": (pull(purpose="revert", version=7, over="e" * 12),), "rollout": PROGRESSING}),
    ("rolling out", "wait", {"history": LANDED, "rollout": PROGRESSING, "champion": 7}),
    ("rolling out", "wait", {"history": LANDED, "rollout": RolloutStatus("absent", ""), "champion": 7}),
    ("failed unrecorded", "record failure", {"history": LATE, "rollout": PROGRESSING, "champion": 7}),
    ("failed unrecorded", "record failure", {"history": LANDED, "rollout": FAILED, "champion": 7}),
    ("failed", "open revert", {"history": BROKEN, "rollout": FAILED, "champion": 7, "pulls": ()}),
    ("failed, held", "wait", {"history": BROKEN, "rollout": FAILED, "champion": 7, "pulls": (pull(purpose="revert", version=7),)}),
    ("failed, held", "wait", {"history": BROKEN, "rollout": FAILED, "champion": 7, "pulls": (pull(purpose="revert", version=7, state="closed"),)}),
    ("failed, held", "wait", {"history": BROKEN, "rollout": FAILED, "champion": 7, "pulls": (pull(purpose="rollback", version=7),)}),
    ("closing", "close", {"pulls": (pull(labels=frozenset({SUPERSEDED})),)}),
    ("edited", "flag", {"pulls": (pull(as_proposed=False),)}),
    ("edited", "wait", {"pulls": (pull(as_proposed=False, gate="failure"),)}),
    ("stale", "close", {"pulls": (pull(over="e" * 12),)}),
    ("stale", "close", {"pulls": (pull(over=None),)}),
    ("superseded", "label", {"pulls": (pull(6), pull(5, 10))}),
    ("ungated", "gate", {"pulls": (pull(gate=None),)}),
    ("return ungated", "gate", {"pulls": (pull(purpose="rollback", version=7, gate=None),)}),
    ("return ungated", "gate", {"pulls": (pull(purpose="rollback", version=7, gate=None),), "history": LANDED, "rollout": PROGRESSING, "champion": 7}),
    ("return ungated", "gate", {"pulls": (pull(purpose="rollback", version=7, gate=None),), "is_recognised": False}),
    ("return ungated", "gate", {"pulls": (pull(purpose="revert", version=7, gate=None),), "history": BROKEN, "rollout": FAILED, "champion": 7}),
    ("no challenger", "wait", {"challenger": None}),
    ("no challenger", "wait", {"challenger": Challenger(8), "pulls": ()}),
    ("had its turn", "wait", {"challenger": Challenger(7), "pulls": ()}),
    ("proposed", "wait", {}),
    ("proposed", "wait", {"challenger": Challenger(7, named_again=True), "pulls": (pull(version=7),)}),
    ("rejected", "wait", {"pulls": (pull(state="closed"),)}),
    ("rejected", "wait", {"pulls": (pull(state="closed", over="e" * 12),)}),
    ("unjudged", "judge", {"pulls": (), "verdict": None}),
    ("unjudged", "wait", {"pulls": (), "verdict": None, "policy_problem": "main has no YAML"}),
    ("kept", "wait", {"pulls": (), "verdict": verdict("keep")}),
    ("kept", "wait", {"pulls": (), "verdict": verdict("inconclusive")}),
    ("unbuilt", "build", {"pulls": (), "image": None, "branch": None}),
    ("unbranched", "branch", {"pulls": (), "branch": None}),
    ("unopened", "open", {"pulls": ()}),
    ("unopened", "open", {"pulls": (pull(state="closed", labels=frozenset({SUPERSEDED}), over="e" * 12),)}),
    ("unopened", "open", FIRST),
    ("unjudged", "judge", {**FIRST, "verdict": None}),
    ("no challenger", "wait", {**FIRST, "challenger": None}),
]


@pytest.mark.parametrize(("state", "act", "changed"), CASES)
def test_the_first_row_that_matches_decides(state: str, act: str, changed: dict[str, Any]) -> None:
    step = decide(replace(USUAL, **changed))
    assert (step.state, step.act) == (state, act)


def test_the_states_are_the_designs_in_its_order() -> None:
    states = "blind|alias behind|return ungated|unrecognised|unrecorded|obsolete|rolling out|failed unrecorded|failed|failed, held|closing|edited|stale"
    more = "superseded|ungated|no challenger|had its turn|proposed|rejected|unjudged|kept|unbuilt|unbranched|unopened"
    assert list(dict.fromkeys(row.state for row in TABLE)) == f"{states}|{more}".split("|")


def test_every_row_is_reached_by_a_case() -> None:
    assert {(row.state, row.act) for row in TABLE} == {(state, act) for state, act, _ in CASES}


@pytest.mark.parametrize(("state", "act", "changed"), [case for case in CASES if case[1] == "wait"])
def test_whoever_is_waited_for_is_named_first(state: str, act: str, changed: dict[str, Any]) -> None:
    waiting = decide(replace(USUAL, **changed)).waiting_for
    done = {"no challenger", "had its turn", "rejected", "kept"}
    assert (waiting is None) == (state in done)
    assert waiting is None or waiting.startswith(("an answer: ", "a person: ", "a reviewer of #", "the rollout of version "))


def test_of_several_proposals_the_challengers_stays() -> None:
    step = decide(replace(USUAL, pulls=(pull(6, 10), pull(5, 9), pull(4, 8))))
    assert [observed.pull.number for observed in step.pulls] == [4, 6]


def test_a_rollback_that_a_person_asked_for_is_never_stale() -> None:
    assert decide(replace(USUAL, pulls=(pull(6, 7, purpose="rollback", over="e" * 12), pull()))).state == "proposed"


def test_a_failed_first_release_has_nothing_to_go_back_to_and_the_next_challenger_may_follow() -> None:
    seen = replace(USUAL, history=(named(8, "b", rollout="failure"),), rollout=FAILED, champion=None)
    assert decide(seen).state == "proposed"
