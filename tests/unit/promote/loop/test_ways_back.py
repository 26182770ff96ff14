"""Ways back: where a rollback goes, what is open beside it, and that the forge is enough."""

from __future__ import annotations

from typing import Any

import pytest

from promote.errors import (
    ClusterUnavailable,
    ForgeRefused,
    ForgeUnavailable,
    NothingToReturnTo,
    Refused,
    Unavailable,
)
from promote.forge.port import Forge
from promote.loop.observation import SUPERSEDED
from promote.release.history import ROLLOUT_CONTEXT
from tests.fakes.promotion_world import MODEL, PATH, World


class Away:
    """A part that raises an error at every call."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getattr__(self, name: str) -> Any:
        def refuse(*_: Any, **__: Any) -> Any:
            raise self.error

        return refuse


def only_the_forge(name: str, part: Any) -> Any:
    return part if name == "forge" else Away(ClusterUnavailable(f"{name} does not answer"))


def gate_of(forge: Forge, commit: str) -> str | None:
    return {status.context: status.state for status in forge.statuses(commit)}.get("ratchet/gate")


def merge_back(world: World) -> None:
    """Merge the open rollback and let the cluster follow."""
    world.reconciler().reconcile(MODEL)
    world.forge.merge(world.open_pull("rollback").pull.number)
    world.roll_out()
    world.reconciler().reconcile(MODEL)


def shipped(releases: int) -> World:
    world = World()
    for _ in range(releases):
        world.ship()
    return world


def test_a_rollback_is_opened_and_gated_while_all_but_the_forge_is_away() -> None:
    world = shipped(2)
    world.around = only_the_forge

    pull = world.roll_back().pull
    promotion = world.reconciler().reconcile(MODEL)

    assert gate_of(world.forge, pull.head) == "success"
    assert (promotion.state, promotion.waits_for) == ("blind", "outage")
    assert [one.number for one in promotion.open] == [pull.number]
    assert promotion.serving is not None
    assert promotion.serving.version == 2


def test_a_revert_is_opened_and_gated_while_all_but_the_forge_is_away() -> None:
    world = shipped(1)
    world.register()
    world.reconciler().reconcile(MODEL)
    commit = world.forge.merge(world.open_pull().pull.number)
    world.forge.set_status(commit, ROLLOUT_CONTEXT, "failure", "it crashed")
    world.around = only_the_forge

    world.reconciler().reconcile(MODEL)

    revert = world.open_pull("revert")
    assert revert.branch.version == 1
    assert gate_of(world.forge, revert.pull.head) == "success"


@pytest.mark.parametrize("change", [{"README.md": b"more"}, {PATH: b"else"}])
def test_a_way_back_that_changes_anything_else_is_not_gated_by_a_blind_look(
    change: dict[str, bytes],
) -> None:
    world = shipped(2)
    pull = world.roll_back().pull
    head = world.forge.push(change, branch=pull.branch)
    world.around = only_the_forge

    world.reconciler().reconcile(MODEL)

    assert gate_of(world.forge, head) is None


def test_a_way_back_whose_branch_names_another_version_than_it_holds_is_not_gated() -> None:
    world = shipped(3)
    pull = world.roll_back().pull
    first = world.forge.read_file(PATH, world.look().history[2].commit)
    head = world.forge.push({PATH: first}, branch=pull.branch)

    promotion = world.reconciler().reconcile(MODEL)

    assert gate_of(world.forge, head) == "failure"
    assert promotion.state == "edited"


@pytest.mark.parametrize(
    ("error", "kind"), [(ForgeUnavailable("no answer"), Unavailable), (ForgeRefused("no"), Refused)]
)
def test_without_the_forge_there_is_no_way_back_and_the_error_says_which_kind(
    error: Exception, kind: type[Exception]
) -> None:
    world = shipped(2)
    world.around = lambda name, part: Away(error) if name == "forge" else part
    with pytest.raises(kind):
        world.roll_back()


def test_the_next_rollback_does_not_offer_the_version_that_was_left() -> None:
    world = shipped(3)
    world.roll_back()
    merge_back(world)

    pull = world.roll_back().pull

    assert "/rollback-to-v1-over-" in pull.branch


def test_versions_passed_over_by_a_rollback_are_not_offered_either() -> None:
    world = shipped(4)
    world.roll_back(version=2)
    merge_back(world)

    assert "/rollback-to-v1-" in world.roll_back().pull.branch


def test_a_person_may_name_the_version_that_was_left() -> None:
    world = shipped(3)
    world.roll_back()
    merge_back(world)

    assert "/rollback-to-v3-" in world.roll_back(version=3).pull.branch


def test_when_all_others_were_left_nothing_is_offered_and_the_error_says_how_to_name_one() -> None:
    world = shipped(2)
    world.roll_back()
    merge_back(world)

    with pytest.raises(NothingToReturnTo, match=r"Name one with --to"):
        world.roll_back()


def test_an_open_rollback_is_named_and_the_second_reason_is_added_to_it() -> None:
    world = shipped(2)
    first = world.roll_back(reason="complaints")

    second = world.roll_back(reason="worse than complaints")
    world.roll_back(reason="worse than complaints")

    assert (first.is_new, second.is_new, second.pull.number) == (True, False, first.pull.number)
    (comment,) = world.forge.comments[first.pull.number]
    assert "worse than complaints" in comment


def test_a_rollback_to_another_version_closes_the_open_one() -> None:
    world = shipped(3)
    first = world.roll_back().pull

    second = world.roll_back(version=1, reason="further")

    assert second.replaced == (first.number,)
    assert world.forge.pulls[first.number].state == "closed"
    assert SUPERSEDED in world.forge.pulls[first.number].labels
    assert [one.pull.number for one in world.look().open] == [second.pull.number]
    assert world.roll_back().pull.number == second.pull.number, "the open one is the person's word"


def test_an_open_rollback_over_an_older_release_is_replaced() -> None:
    world = shipped(2)
    old = world.roll_back().pull
    world.register()
    world.reconciler().reconcile(MODEL)
    world.forge.merge(world.open_pull().pull.number)
    world.roll_out()
    world.reconciler().reconcile(MODEL)

    new = world.roll_back()

    assert "/rollback-to-v2-" in new.pull.branch
    assert new.replaced == (old.number,)


def test_an_edited_rollback_stays_and_the_error_says_what_to_do() -> None:
    world = shipped(2)
    first = world.roll_back().pull
    world.forge.push({"README.md": b"more"}, branch=first.branch)

    with pytest.raises(ForgeRefused, match="branch"):
        world.roll_back()
    assert world.forge.pulls[first.number].state == "open"


def test_an_open_revert_to_the_same_version_is_the_rollback() -> None:
    world = shipped(1)
    world.register()
    world.reconciler().reconcile(MODEL)
    world.forge.merge(world.open_pull().pull.number)
    world.roll_out(healthy=False)
    world.reconciler().reconcile(MODEL)
    revert = world.open_pull("revert").pull

    asked = world.roll_back(reason="it is broken")

    assert (asked.pull.number, asked.is_new) == (revert.number, False)
    assert len(world.look().open) == 1


def test_a_version_that_was_rolled_back_is_no_challenger_any_more() -> None:
    world = shipped(2)
    world.roll_back()
    merge_back(world)

    promotion = world.reconciler().reconcile(MODEL)

    assert world.registry.challenger(MODEL) is None
    assert (promotion.state, promotion.version, promotion.verdict) == (
        "no challenger",
        2,
        "promote",
    )
    assert promotion.serving is not None
    assert promotion.serving.version == 1


def test_a_challenger_registered_meanwhile_keeps_its_turn() -> None:
    world = shipped(2)
    world.roll_back()
    merge_back(world)
    world.registry._aliases[MODEL, "challenger"] = 2  # as before promote took the alias
    real = world.registry.drop_challenger

    def drop(model: str, number: int) -> None:
        """Retrain registers right before the alias is removed."""
        world.register()
        world.registry._aliases[model, "challenger"] = number
        real(model, number)

    world.registry.drop_challenger = drop  # type: ignore[method-assign]  # a race, as no part can make one

    promotion = world.reconciler().reconcile(MODEL)

    assert (promotion.version, promotion.state) == (3, "proposed")


def test_while_only_the_cluster_is_away_the_challenger_and_its_verdict_are_still_shown() -> None:
    world = shipped(1)
    number = world.register()
    before = world.reconciler().reconcile(MODEL)
    error = ClusterUnavailable("the cluster does not answer")
    world.around = lambda name, part: Away(error) if name == "rollout" else part

    promotion = world.reconciler().reconcile(MODEL)

    assert (promotion.state, promotion.waits_for) == ("blind", "outage")
    assert (promotion.version, promotion.verdict) == (number, "promote")
    assert (promotion.version, promotion.verdict) == (before.version, before.verdict)
