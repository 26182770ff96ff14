"""The states of a promotion: their order, and each by the smallest observation that reaches it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any, get_args

import pytest

from promote.cluster.port import RolloutStatus
from promote.contract import Release, State, Verdict
from promote.errors import ModelRegistryRefused, ModelRegistryUnavailable, NoPolicy
from promote.forge.port import PullRequest, Status
from promote.loop.lifecycle import STATES, decide
from promote.loop.observation import (
    SUPERSEDED,
    Blind,
    Challenger,
    DatedVerdict,
    ForgeView,
    Look,
    Observation,
    ProposedPull,
)
from promote.release.history import ReleaseCommit
from promote.release.slot import BranchName

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
DIGEST = "sha256:" + "a" * 64
HEALTHY, PROGRESSING, FAILED = (
    RolloutStatus("healthy", "fine"),
    RolloutStatus("progressing", "slowly"),
    RolloutStatus("failed", "crashed"),
)


def release_commit(
    version: int, commit: str, *, minutes_ago: float = 60, rollout: str | None = "success"
) -> ReleaseCommit:
    at = NOW - timedelta(minutes=minutes_ago)
    release = Release(
        model="m",
        version=version,
        image=f"r/m@{DIGEST}",
        model_digest=DIGEST,
        verdict_digest=DIGEST,
    )
    status = Status("ratchet/rollout", rollout, "", at) if rollout else None  # type: ignore[arg-type]  # one of the states
    return ReleaseCommit(commit * 40, at, f"release {version}".encode(), release, status)


def verdict(outcome: str) -> Verdict:
    return Verdict.model_validate(
        {
            "outcome": outcome,
            "kind": "refresh",
            "model": "m",
            "challenger": 9,
            "champion": 8,
            "snapshot_id": DIGEST,
            "policy_digest": DIGEST,
        }
        | {"comparisons": (), "reasons": ()}
    )


def pull(
    number: int = 5,
    version: int = 9,
    *,
    purpose: Any = "promotion",
    base_commit: str | None = "b" * 12,
    gate: str | None = "success",
    **changed: Any,
) -> ProposedPull:
    as_proposed, is_current = changed.pop("as_proposed", True), changed.pop("is_current", True)
    fields = {"state": "open", "title": "", "url": "", "created_at": NOW} | changed
    head = PullRequest(number, "branch", "h" * 40, **fields)
    return ProposedPull(
        head, BranchName(purpose, version, base_commit), as_proposed, gate, is_current
    )


# v8 is main's and served, v7 before it; v9 challenges, was judged, built, branched and opened.
USUAL = Observation(
    "m",
    "production",
    at=NOW,
    policy="0" * 8,
    main="c" * 40,
    history=(release_commit(8, "b"), release_commit(7, "a", minutes_ago=600)),
    rollout=HEALTHY,
    champion=8,
    challenger=Challenger(
        9, judged=DatedVerdict(verdict("promote")), image=f"r/m@{DIGEST}", branch="d" * 40
    ),
    pulls=(pull(),),
)


def made(**changed: Any) -> Challenger:
    """The usual challenger, with changes."""
    assert USUAL.challenger is not None
    return replace(USUAL.challenger, **changed)


def judged(outcome: str | None, *, at: datetime | None = None) -> Challenger:
    """The usual challenger with another verdict, or without one."""
    return made(judged=DatedVerdict(verdict(outcome), at) if outcome else None)


LANDED = (
    release_commit(8, "b", minutes_ago=1, rollout=None),
    release_commit(7, "a", minutes_ago=600),
)
ANNOUNCED = (
    release_commit(8, "b", minutes_ago=1, rollout="pending"),
    release_commit(7, "a", minutes_ago=600),
)
LATE = (
    release_commit(8, "b", minutes_ago=6, rollout="pending"),
    release_commit(7, "a", minutes_ago=600),
)
BACK = (release_commit(7, "c"), release_commit(8, "b"), release_commit(7, "a", minutes_ago=600))
BROKEN_FIRST: dict[str, Any] = {
    "history": (release_commit(8, "b", rollout="failure"),),
    "rollout": FAILED,
    "champion": None,
}
AWAY = (ModelRegistryUnavailable("MLflow does not answer."),)
BROKEN = (release_commit(8, "b", rollout="failure"), release_commit(7, "a", minutes_ago=600))
REMOVED = replace(release_commit(8, "c"), content=None, release=None, rollout=None)
FIRST = {"history": (), "rollout": None, "champion": None, "pulls": ()}

CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("blind", "wait", {"forge_failure": AWAY[0]}),
    ("blind", "wait", {"forge_failure": AWAY[0], "champion": 7}),
    ("blind", "wait", {"failures": AWAY}),
    ("blind", "wait", {"failures": AWAY, "champion": 7}),
    (
        "return ungated",
        "gate",
        {"failures": AWAY, "pulls": (pull(purpose="rollback", version=7, gate=None),)},
    ),
    ("failed", "open revert", {"failures": AWAY, "history": BROKEN, "rollout": None, "pulls": ()}),
    (
        "blind",
        "wait",
        {
            "failures": AWAY,
            "history": BROKEN,
            "rollout": None,
            "pulls": (pull(purpose="revert", version=7),),
        },
    ),
    ("alias behind", "set champion", {"champion": 7}),
    ("alias behind", "set champion", {"champion": None}),
    ("unrecognised", "wait", {"is_recognised": False}),
    (
        "unrecognised",
        "wait",
        {
            "history": (
                replace(release_commit(8, "b"), content=None, release=None, rollout=None),
                *USUAL.history,
            )
        },
    ),
    ("unrecorded", "record success", {"history": LANDED, "champion": 7}),
    ("unrecorded", "record success", {"history": BROKEN, "champion": 7}),
    ("obsolete", "close", {"pulls": (pull(purpose="revert", version=7),)}),
    (
        "obsolete",
        "close",
        {
            "pulls": (pull(purpose="revert", version=7, base_commit="e" * 12),),
            "rollout": PROGRESSING,
        },
    ),
    ("obsolete", "close", {"pulls": (pull(purpose="rollback", version=8, base_commit="e" * 12),)}),
    ("unannounced", "announce", {"history": LANDED, "rollout": PROGRESSING, "champion": 7}),
    (
        "unannounced",
        "announce",
        {
            "history": (release_commit(8, "b", minutes_ago=600, rollout=None), LANDED[1]),
            "rollout": PROGRESSING,
            "champion": 7,
        },
    ),
    ("rolling out", "wait", {"history": ANNOUNCED, "rollout": PROGRESSING, "champion": 7}),
    (
        "rolling out",
        "wait",
        {"history": ANNOUNCED, "rollout": RolloutStatus("absent", ""), "champion": 7},
    ),
    (
        "failed unrecorded",
        "record failure",
        {"history": LATE, "rollout": PROGRESSING, "champion": 7},
    ),
    ("failed unrecorded", "record failure", {"history": LANDED, "rollout": FAILED, "champion": 7}),
    ("failed", "open revert", {"history": BROKEN, "rollout": FAILED, "champion": 7, "pulls": ()}),
    (
        "failed, held",
        "wait",
        {
            "history": BROKEN,
            "rollout": FAILED,
            "champion": 7,
            "pulls": (pull(purpose="revert", version=7),),
        },
    ),
    (
        "failed, held",
        "wait",
        {
            "history": BROKEN,
            "rollout": FAILED,
            "champion": 7,
            "pulls": (pull(purpose="revert", version=7, state="closed"),),
        },
    ),
    (
        "failed, held",
        "wait",
        {
            "history": BROKEN,
            "rollout": FAILED,
            "champion": 7,
            "pulls": (pull(purpose="rollback", version=7),),
        },
    ),
    ("closing", "close", {"pulls": (pull(labels=frozenset({SUPERSEDED})),)}),
    ("edited", "flag", {"pulls": (pull(as_proposed=False),)}),
    ("edited", "wait", {"pulls": (pull(as_proposed=False, gate="failure"),)}),
    ("stale", "close", {"pulls": (pull(base_commit="e" * 12),)}),
    ("stale", "close", {"pulls": (pull(base_commit=None),)}),
    ("stale", "close", {"pulls": (pull(is_current=False),)}),
    ("stale", "close", {"pulls": (pull(is_current=False, gate=None),)}),
    ("superseded", "label", {"pulls": (pull(6), pull(5, 10))}),
    ("ungated", "gate", {"pulls": (pull(gate=None),)}),
    ("ungated", "wait", {"pulls": (pull(gate=None),), "policy": NoPolicy("main has no YAML")}),
    ("return ungated", "gate", {"pulls": (pull(purpose="rollback", version=7, gate=None),)}),
    (
        "return ungated",
        "gate",
        {
            "pulls": (pull(purpose="rollback", version=7, gate=None),),
            "history": LANDED,
            "rollout": PROGRESSING,
            "champion": 7,
        },
    ),
    (
        "return ungated",
        "gate",
        {"pulls": (pull(purpose="rollback", version=7, gate=None),), "is_recognised": False},
    ),
    (
        "return ungated",
        "gate",
        {
            "pulls": (pull(purpose="revert", version=7, gate=None),),
            "history": BROKEN,
            "rollout": FAILED,
            "champion": 7,
        },
    ),
    ("no challenger", "wait", {"challenger": None}),
    ("no challenger", "wait", {"challenger": Challenger(8), "pulls": ()}),
    (
        "left behind",
        "drop challenger",
        {"history": BACK, "champion": 7, "challenger": Challenger(8), "pulls": ()},
    ),
    ("had its turn", "wait", {"challenger": Challenger(7), "pulls": ()}),
    ("failed, held", "wait", {**BROKEN_FIRST, "challenger": Challenger(8), "pulls": ()}),
    ("failed, held", "wait", {**BROKEN_FIRST, "challenger": None, "pulls": ()}),
    ("failed, held", "wait", {**BROKEN_FIRST, "challenger": judged("keep"), "pulls": ()}),
    ("failed, held", "wait", {**BROKEN_FIRST, "pulls": (pull(state="closed"),)}),
    ("proposed", "wait", BROKEN_FIRST),
    ("proposed", "wait", {}),
    ("rejected", "wait", {"pulls": (pull(state="closed"),)}),
    ("rejected", "wait", {"pulls": (pull(state="closed", base_commit="e" * 12),)}),
    ("unjudged", "judge", {"pulls": (), "challenger": judged(None)}),
    (
        "unjudged",
        "wait",
        {"pulls": (), "challenger": judged(None), "policy": NoPolicy("main has no YAML")},
    ),
    ("kept", "wait", {"pulls": (), "challenger": judged("keep")}),
    ("inconclusive", "wait", {"pulls": (), "challenger": judged("inconclusive")}),
    ("unbuilt", "build", {"pulls": (), "challenger": made(image=None, branch=None)}),
    ("unbranched", "branch", {"pulls": (), "challenger": made(branch=None)}),
    ("unopened", "open", {"pulls": ()}),
    (
        "unopened",
        "open",
        {"pulls": (pull(state="closed", labels=frozenset({SUPERSEDED}), base_commit="e" * 12),)},
    ),
    ("unopened", "open", FIRST),
    ("unjudged", "judge", {**FIRST, "challenger": judged(None)}),
    ("no challenger", "wait", {**FIRST, "challenger": None}),
    (
        "unopened",
        "open",
        {**FIRST, "history": (REMOVED, release_commit(8, "b", rollout="failure"))},
    ),
]


def look_of(changed: dict[str, Any]) -> Look:
    """USUAL with changes; blind when they say so. Only the forge's part is left of a blind look."""
    forge_failure, failures = changed.get("forge_failure"), changed.get("failures")
    if forge_failure:
        return Blind("m", "production", NOW, (forge_failure,))
    rest = {name: value for name, value in changed.items() if name != "failures"}
    usual = replace(USUAL, **rest)
    if not failures:
        return usual
    view = ForgeView("m", "production", usual.main, usual.history, usual.pulls)
    return Blind("m", "production", NOW, failures, view, usual.rollout)


OBSERVATIONS = [
    look for _, _, changed in CASES if isinstance(look := look_of(changed), Observation)
]


@pytest.mark.parametrize(("state", "act", "changed"), CASES)
def test_the_first_state_that_holds_decides(state: str, act: str, changed: dict[str, Any]) -> None:
    step = decide(look_of(changed))
    assert (step.state, step.act) == (state, act)


def test_every_state_is_reached_and_tried_in_the_order_in_which_the_contract_lists_them() -> None:
    steps = [
        (function, step) for look in OBSERVATIONS for function in STATES if (step := function(look))
    ]
    of_function = [{step.state for other, step in steps if other is one} for one in STATES]
    listed = get_args(State)
    tried = [sorted(states, key=listed.index) for states in of_function]
    forge = ["blind", "return ungated", "failed"]
    assert [*forge, *dict.fromkeys(chain(*tried))] == list(listed)


def test_every_function_decides_some_case() -> None:
    """Each is the first that holds in some case; the ways back come before all of them."""
    first = {next(one for one in STATES if one(look)) for look in OBSERVATIONS}
    assert first == set(STATES)


def test_a_way_back_comes_before_everything_else() -> None:
    """Whatever else is wrong, a person must be able to merge it."""
    back = (pull(purpose="rollback", version=7, gate=None),)
    for _, _, changed in CASES:
        if "forge_failure" not in changed:
            assert decide(look_of({**changed, "pulls": back})).state == "return ungated"


@pytest.mark.parametrize(("state", "act", "changed"), CASES)
def test_whoever_is_waited_for_is_named_with_a_reason(
    state: str, act: str, changed: dict[str, Any]
) -> None:
    look = look_of(changed)
    step = decide(look)
    is_open = isinstance(look, Observation) and bool(look.open)
    done = {"no challenger", "had its turn", "rejected", "kept", "inconclusive"}
    assert (step.waits_for is None) == (state in done and not is_open)
    assert (step.waits_for == "promote") == (act != "wait")
    assert step.reason[-1] in ".:" or step.reason == "main has no YAML" or "says:" in step.reason


@pytest.mark.parametrize(
    ("failures", "who"),
    [([True], "outage"), ([False], "person"), ([True, False], "person"), ([True, True], "outage")],
)
def test_a_refusal_waits_for_a_person_and_an_outage_for_an_answer(
    failures: list[bool], who: str
) -> None:
    said = tuple(
        ModelRegistryUnavailable("No answer.") if is_outage else ModelRegistryRefused("No.")
        for is_outage in failures
    )
    assert decide(look_of({"failures": said})).waits_for == who
    assert decide(look_of({"forge_failure": said[0]})).waits_for == (
        "outage" if failures[0] else "person"
    )


def test_the_time_to_become_healthy_begins_with_the_first_look() -> None:
    made_long_ago = replace(
        release_commit(8, "b", minutes_ago=600),
        rollout=Status("ratchet/rollout", "pending", "", NOW),
    )
    observation = replace(
        USUAL, history=(made_long_ago, LANDED[1]), rollout=PROGRESSING, champion=7
    )
    assert decide(observation).state == "rolling out"
    assert decide(replace(observation, at=NOW + timedelta(minutes=5))).state == "failed unrecorded"


def test_an_open_way_back_waits_for_a_review_whatever_became_of_the_challenger() -> None:
    back = pull(6, 7, purpose="rollback")
    for state, changed in [
        ("no challenger", {"challenger": None}),
        ("kept", {"challenger": judged("keep")}),
    ]:
        step = decide(replace(USUAL, pulls=(back,), **changed))
        assert (step.state, step.waits_for) == (state, "reviewer")
        assert step.reason.endswith("#6 waits for a review.")


def test_since_comes_from_what_says_it() -> None:
    opened = NOW - timedelta(hours=3)
    assert decide(replace(USUAL, pulls=(pull(created_at=opened),))).since == opened
    assert decide(replace(USUAL, pulls=(pull(state="closed", closed_at=opened),))).since == opened
    assert (
        decide(replace(USUAL, history=ANNOUNCED, rollout=PROGRESSING, champion=7)).since
        == ANNOUNCED[0].at
    )
    assert decide(replace(USUAL, pulls=(), challenger=judged("keep", at=opened))).since == opened
    held = decide(replace(USUAL, **BROKEN_FIRST, challenger=None, pulls=()))
    assert held.since == BROKEN_FIRST["history"][0].rollout.at


def test_of_several_proposals_the_challengers_stays() -> None:
    step = decide(replace(USUAL, pulls=(pull(6, 10), pull(5, 9), pull(4, 8))))
    assert [one.pull.number for one in step.pulls] == [4, 6]


def test_a_rollback_that_a_person_asked_for_is_never_stale() -> None:
    assert (
        decide(
            replace(USUAL, pulls=(pull(6, 7, purpose="rollback", base_commit="e" * 12), pull()))
        ).state
        == "proposed"
    )
