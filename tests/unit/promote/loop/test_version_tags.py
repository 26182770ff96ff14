"""What people filter versions by in MLflow, and that quiet passes write none of it again."""

from __future__ import annotations

from typing import Any

import pytest

from promote.errors import ModelRegistryUnavailable, VersionNotFound
from promote.release.history_reader import HistoryReader
from retrain.contract import utc_text
from tests.fakes.promotion_world import MODEL, World

SERVICE = ("served_from", "served_until", "left_because")


def tags(world: World, version: int, *names: str) -> dict[str, str]:
    found = world.registry.version(MODEL, version).tags
    return {name: found[name] for name in names if name in found}


def merge_back(world: World) -> str:
    pull = world.roll_back(reason="a bad day").pull
    world.reconciler().reconcile(MODEL)
    world.forge.merge(pull.number)
    world.roll_out()
    world.reconciler().reconcile(MODEL)
    return pull.url


def healthy_at(world: World, place: int) -> str:
    """When the release at a place of the history, newest first, became healthy."""
    reader = HistoryReader(world.forge, "production")
    rollout = reader.read(MODEL, world.forge.head(), is_complete=True)[place].rollout
    assert rollout is not None
    return utc_text(rollout.at)


def test_a_proposed_version_says_its_verdict_its_pull_request_and_its_image() -> None:
    world = World()
    world.ship()
    number = world.register()
    world.reconciler().reconcile(MODEL)
    names = ("verdict", "verdict_over", "pull_request", "image")
    challenger = world.look().challenger
    assert challenger is not None
    image = challenger.image
    url = world.open_pull().pull.url
    assert tags(world, number, *names) == {
        "verdict": "promote",
        "verdict_over": "1",
        "pull_request": url,
        "image": image,
    }
    assert tags(world, 1, "verdict", "verdict_over") == {
        "verdict": "promote",
        "verdict_over": "none",
    }


def test_a_version_that_the_gate_keeps_out_says_so_and_has_no_pull_request() -> None:
    world = World()
    world.ship()
    number = world.register("keep")
    world.reconciler().reconcile(MODEL)
    assert tags(world, number, "verdict", "pull_request", *SERVICE) == {"verdict": "keep"}


def test_a_version_says_since_when_it_serves_and_the_version_before_until_when() -> None:
    world = World()
    world.ship()
    assert tags(world, 1, *SERVICE) == {"served_from": healthy_at(world, 0)}
    world.ship()
    pull = world.look().pulls[0].pull
    assert tags(world, 2, *SERVICE) == {"served_from": healthy_at(world, 0)}
    assert tags(world, 1, *SERVICE) == {
        "served_from": healthy_at(world, 1),
        "served_until": healthy_at(world, 0),
        "left_because": f"replaced by version 2: {pull.url}",
    }


def test_after_a_rollback_the_version_says_that_it_served_and_why_it_went() -> None:
    world = World()
    world.ship(), world.ship()
    url = merge_back(world)
    assert tags(world, 2, *SERVICE) == {
        "served_from": healthy_at(world, 1),
        "served_until": healthy_at(world, 0),
        "left_because": f"rollback to version 1: {url}",
    }
    assert tags(world, 1, *SERVICE) == {"served_from": healthy_at(world, 0)}


def test_a_pass_in_which_nothing_changed_writes_no_tag() -> None:
    world = World()
    world.ship()
    before = list(world.registry.acts)
    world.reconciler().reconcile(MODEL)
    assert world.registry.acts == before


class Registry:
    """A registry in which tags of some versions, or the alias, cannot be written."""

    def __init__(self, registry: Any, error: Exception, *, act: str, numbers: set[int]) -> None:
        self._registry, self._error, self._act, self._numbers = registry, error, act, numbers

    def __getattr__(self, name: str) -> Any:
        return self._write if name == self._act else getattr(self._registry, name)

    def _write(self, model: str, number: int, *rest: Any) -> None:
        if number in self._numbers:
            raise self._error
        getattr(self._registry, self._act)(model, number, *rest)


def merged_over_the_first() -> World:
    """Version 1 serves, version 2 is on main and healthy, and promote did not look yet."""
    world = World()
    world.ship(), world.register()
    world.reconciler().reconcile(MODEL)
    world.forge.merge(world.open_pull().pull.number)
    world.roll_out()
    return world


@pytest.mark.parametrize("act", ["set_champion", "tag"])
def test_killed_while_the_champion_changes_the_next_pass_writes_the_tags(act: str) -> None:
    world, error = merged_over_the_first(), ModelRegistryUnavailable("killed")
    world.around = lambda name, part: (
        Registry(part, error, act=act, numbers={1, 2}) if name == "registry" else part
    )
    assert world.reconciler().reconcile(MODEL).waits_for == "outage"
    world.around = lambda _, part: part
    world.reconciler().reconcile(MODEL)
    assert tags(world, 2, *SERVICE) == {"served_from": healthy_at(world, 0)}
    assert set(tags(world, 1, *SERVICE)) == set(SERVICE)


def test_a_version_that_somebody_deleted_does_not_keep_the_alias_back() -> None:
    world, error = merged_over_the_first(), VersionNotFound("deleted")
    world.around = lambda name, part: (
        Registry(part, error, act="tag", numbers={1}) if name == "registry" else part
    )
    world.reconciler().reconcile(MODEL)
    champion = world.registry.champion(MODEL)
    assert champion is not None
    assert champion.version == 2
