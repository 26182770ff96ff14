"""People, clusters, outages and kills interrupt promote between any two of its calls.

Whatever happens, promote opens each proposal once, and every champion has served.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from promote.contract import Promotion, Slot
from promote.errors import (
    ClusterUnavailable,
    ForgeUnavailable,
    ImageRegistryUnavailable,
    ModelRegistryUnavailable,
    NothingToReturnTo,
    Unavailable,
)
from promote.release.history import ROLLOUT_CONTEXT
from promote.release.manifest import InvalidRelease, parse
from promote.release.slot import release_path
from tests.fakes.promotion_world import MODEL, PATH, World

WRITES = {
    "add_label",
    "close",
    "comment",
    "create_branch",
    "log_evidence",
    "log_metrics",
    "open_pull_request",
    "push",
    "set_champion",
    "set_status",
    "tag",
}
OUTAGES: dict[str, type[Unavailable]] = {
    "forge": ForgeUnavailable,
    "rollout": ClusterUnavailable,
    "registry": ModelRegistryUnavailable,
    "images": ImageRegistryUnavailable,
}


class Killed(BaseException):
    """Ends the process; no code of promote catches it."""


@dataclass
class Trouble:
    """Lets the drawn events happen between any two calls of promote to the outside."""

    draw: Callable[[], str]
    act: Callable[[str], None]
    is_on: bool = True
    calls: int = 0
    observations_failed: bool = False
    writes_after_failure: list[str] = field(default_factory=list)

    def around(self, name: str, part: Any) -> Any:
        return _Troubled(self, name, part)

    def before(self, name: str, call: str) -> None:
        self.calls += 1
        if not self.is_on or call == "open_pull_request":
            return  # a forge has no compare-and-set: promote can only look right before it opens
        event = self.draw()
        if event == "outage":
            raise OUTAGES[name](f"{name} does not answer")
        if event == "kill":
            raise Killed
        self.act(event)

    def after(self, name: str, call: str) -> None:
        if self.is_on and call in WRITES and self.draw() in {"kill", "outage"}:
            raise Killed  # done, and the answer was lost


@dataclass(eq=False)
class _Troubled:
    trouble: Trouble
    name: str
    part: Any

    def __getattr__(self, call: str) -> Any:
        found = getattr(self.part, call)

        def called(*arguments: Any, **named: Any) -> Any:
            self.trouble.before(self.name, call)
            answer = found(*arguments, **named)
            self.trouble.after(self.name, call)
            return answer

        asks = callable(found) and call != "refresh"  # refresh only makes the next call ask
        return called if asks else found


PEOPLE = [
    "nothing",
    "merge",
    "squash",
    "close",
    "edit",
    "rollback",
    "register",
    "register kept",
    "healthy",
    "fails",
    "unrelated commit",
    "time",
    "another replica",
]


class Story:
    """A world in which events happen. Their results are checked afterwards."""

    def __init__(self, draw: Callable[[], str]) -> None:
        self.world = World()
        self.trouble = Trouble(draw, self.happen)
        self.world.around = self.trouble.around
        self.inside = False

    def happen(self, event: str) -> None:
        if self.inside or event == "nothing":
            return
        self.inside, was_on, self.trouble.is_on = True, self.trouble.is_on, False
        try:
            self._happen(event)
        finally:
            self.inside, self.trouble.is_on = False, was_on

    def _happen(self, event: str) -> None:
        world = self.world
        pulls = [pull for pull in world.forge.pull_requests("ratchet/") if pull.state == "open"]
        if event in {"merge", "squash"} and pulls:
            gate = {
                status.context: status.state for status in world.forge.statuses(pulls[0].head)
            }.get("ratchet/gate")
            if gate == "success":  # a ruleset of the repository requires it
                world.forge.merge(pulls[0].number, squash=event == "squash")
        elif event == "close" and pulls:
            world.forge.close(pulls[-1].number)
        elif event == "edit" and pulls:
            world.forge.push({"README.md": b"edited\n"}, branch=pulls[0].branch)
        elif event == "rollback":
            try:
                world.roll_back()
            except NothingToReturnTo:
                pass
        elif event in {"register", "register kept"}:
            world.register("promote" if event == "register" else "keep")
        elif event in {"healthy", "fails"}:
            world.roll_out(healthy=event == "healthy")
        elif event == "unrelated commit":
            world.forge.push({"docs/page.md": str(world.at).encode()})
        elif event == "time":
            for _ in range(120):
                world.tick()
        elif event == "another replica":
            world.reconciler().reconcile(MODEL)

    def pass_once(self) -> Promotion | None:
        try:
            return self.world.reconciler().reconcile(MODEL)
        except Killed:
            return None

    def settle(self) -> Promotion:
        self.trouble.is_on = False
        for _ in range(4):
            self.world.roll_out()
            promotion = self.world.reconciler().reconcile(MODEL)
        return promotion


def _check(world: World) -> None:
    forge = world.forge
    open_branches = [pull.branch for pull in forge.pulls.values() if pull.state == "open"]
    assert len(open_branches) == len(set(open_branches)), "one branch has two open pull requests"
    promotions = [
        branch
        for branch in (pull.branch for pull in forge.pulls.values())
        if "rollback" not in branch and "revert" not in branch
    ]
    ways_back = {
        tuple(branch.rsplit("-to-", 1)[1].split("-over-"))
        for branch in open_branches
        if "-to-v" in branch
    }
    assert len(ways_back) == len({over for _, over in ways_back}), (
        "two ways back from one release contradict each other"
    )
    closed_by_us = {
        pull.branch for pull in forge.pulls.values() if "ratchet/superseded" in pull.labels
    }
    assert all(promotions.count(branch) == 1 or branch in closed_by_us for branch in promotions), (
        "a promotion was proposed twice"
    )
    champion = world.registry.champion(MODEL)
    if champion:
        served = set()
        for version in forge.history(release_path(Slot(MODEL, "production")), forge.head()):
            states = {status.context: status.state for status in forge.statuses(version.commit)}
            if states.get(ROLLOUT_CONTEXT) == "success" and version.content:
                served.add(parse(version.content, MODEL).version)
        assert champion.version in served, "the champion never served"


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(st.integers(0, 2**32), st.integers(3, 12))
def test_it_converges_whatever_happens_between_any_two_calls(seed: int, passes: int) -> None:
    random = Random(seed)  # thousands of draws an example: hypothesis's own are too slow for that
    choices = [*["nothing"] * 60, *PEOPLE, "kill", "kill", "outage"]
    story = Story(lambda: random.choice(choices))
    story.world.register()
    for _ in range(passes):
        story.pass_once()
        _check(story.world)
    last = story.settle()
    _check(story.world)

    again = story.world.reconciler().reconcile(MODEL)
    assert (last.state, last.waits_for) == (again.state, again.waits_for)
    assert last.waits_for in {None, "reviewer", "person", "rollout"}, last
    observation = story.world.look()
    if observation.is_healthy and observation.is_recognised:
        assert observation.release_commit is not None
        assert observation.release_commit.served
        assert observation.champion == observation.release_commit.release.version


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 200), st.integers(0, 200))
def test_killed_at_any_call_and_run_again_it_ends_as_if_it_never_was(
    first: int, second: int
) -> None:
    def story(kills: set[int]) -> World:
        world = World()
        counted = iter(range(10_000))
        teller = Story(lambda: "kill" if next(counted) in kills else "nothing")
        world = teller.world
        for _ in range(2):
            world.register()
            for _ in range(4):
                teller.pass_once()
            teller.happen("squash")
            world.roll_out()
            for _ in range(4):
                teller.pass_once()
        return world

    undisturbed, killed = story(set()), story({first, first + second})

    def end(world: World) -> object:
        observation = world.look()
        pulls = sorted(
            (pull.branch.rpartition("-")[0], pull.state, pull.title)
            for pull in world.forge.pulls.values()
        )
        return (
            observation.champion,
            observation.release_commit.release,
            observation.release_commit.served,
            pulls,
            len(world.images.pushed),
        )

    assert end(killed) == end(undisturbed)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(sorted(OUTAGES)), st.integers(0, 60))
def test_after_a_failed_observation_nothing_is_written(part: str, at: int) -> None:
    world = World()
    world.ship()
    world.register()
    calls: list[tuple[str, str]] = []
    failed: list[int] = []

    class Counting:
        def __init__(self, name: str, real: Any) -> None:
            self.name, self.real = name, real

        def __getattr__(self, call: str) -> Any:
            if call == "refresh":  # asks nothing
                return self.real.refresh

            def called(*arguments: Any, **named: Any) -> Any:
                calls.append((self.name, call))
                if self.name == part and call not in WRITES and len(calls) > at and not failed:
                    failed.append(len(calls))
                    raise OUTAGES[self.name]("no answer")
                return getattr(self.real, call)(*arguments, **named)

            return called

    world.around = Counting
    promotion = world.reconciler().reconcile(MODEL)

    if failed:
        assert not [call for _, call in calls[failed[0] :] if call in WRITES]
        assert promotion.waits_for == "outage"


def test_the_exact_bytes_of_main_are_never_something_promote_did_not_propose() -> None:
    world = World()
    world.ship()
    content = world.forge.read_file(PATH, world.forge.head()) or b""
    for broken in (
        content + b"\n",
        content.replace(b'"1"', b"1"),
        content.replace(b"sha256:", b"sha512:"),
        content.replace(b"\n", b"\r\n"),
    ):
        try:
            parse(broken, MODEL)
        except InvalidRelease:
            continue
        raise AssertionError(broken)
