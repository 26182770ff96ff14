"""Passes over a world of fakes: a promotion from start to end, and what can disturb it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from promote.contract import Release
from promote.errors import (
    ModelRegistryRefused,
    NothingToReturnTo,
    PromoteError,
    RowsNotFound,
    RowsRefused,
    RowsUnavailable,
)
from promote.images.image import build_image
from promote.images.names import image_tag
from promote.loop.lifecycle import decide
from promote.loop.observation import Observation
from promote.loop.policy import read_policy
from promote.loop.reconciler import Reconciler
from promote.loop.step import Act
from promote.release.history import ROLLOUT_CONTEXT
from promote.release.manifest import parse, render
from tests.fakes.promotion_world import MODEL, PATH, World, model_folder

OVERLAY = "gitops/models/flight-delay/production/kustomization.yaml"


def _champion(world: World) -> int | None:
    version = world.registry.champion(MODEL)
    return version.version if version else None


def _statuses(world: World, commit: str) -> dict[str, str]:
    return {status.context: status.state for status in world.forge.statuses(commit)}


def test_a_first_challenger_is_judged_built_and_proposed_with_the_models_own_files() -> None:
    world = World()
    number = world.register()

    promotion = world.reconciler().reconcile(MODEL)

    assert (promotion.state, promotion.version, promotion.verdict, promotion.pull_request) == (
        "proposed",
        number,
        "promote",
        1,
    )
    assert (promotion.waits_for, promotion.reason) == ("reviewer", "#1 waits for a review.")
    pull = world.open_pull().pull
    assert re.fullmatch(r"ratchet/flight-delay/production/v1-first-by-[0-9a-f]{8}", pull.branch)
    assert pull.title == "flight-delay v1: log loss improves by 0.013 [0.006, 0.019]"
    assert len(world.forge.bodies[1].splitlines()) < 80
    run_id, folder = next(iter(world.registry.evidence))
    kept = f"{run_id}/artifacts/evidence/{folder}"
    assert f"{kept}/explanation.md?workflowType=machine_learning" in world.forge.bodies[1]
    assert f"{kept}/intervals.png?workflowType=machine_learning" in world.forge.bodies[1]
    assert sorted(world.forge.difference(world.forge.head(), pull.head).files) == [
        "gitops/clusters/production/flight-delay.yaml",
        OVERLAY,
        PATH,
    ]
    assert _statuses(world, pull.head) == {"ratchet/gate": "success"}


def test_a_proposal_says_that_the_model_was_trained_on_a_sample() -> None:
    world = World()
    world.registry.tag(MODEL, world.register(), "trained_on", "2 of 9 rows, evenly spaced")
    world.reconciler().reconcile(MODEL)
    assert "boosted_trees. Trained on 2 of 9 rows, evenly spaced\n" in world.forge.bodies[1]


def test_the_alias_champion_follows_only_after_the_rollout_is_seen_healthy() -> None:
    world = World()
    number = world.register()
    reconciler = world.reconciler()
    reconciler.reconcile(MODEL)
    commit = world.forge.merge(1)

    assert reconciler.reconcile(MODEL).state == "rolling out"
    assert _champion(world) is None

    world.roll_out()
    promotion = reconciler.reconcile(MODEL)

    assert _statuses(world, commit)[ROLLOUT_CONTEXT] == "success"
    assert _champion(world) == number
    assert (promotion.state, promotion.waits_for, promotion.verdict) == (
        "no challenger",
        None,
        "promote",
    )
    assert "Rollout: version 1 is healthy" in world.forge.comments[1][0]


def test_the_next_promotion_changes_one_file_and_its_branch_names_the_commit_it_replaces() -> None:
    world = World()
    world.ship()
    base_commit = world.look().base_commit
    world.register()

    world.reconciler().reconcile(MODEL)

    pull = world.open_pull().pull
    assert pull.branch.startswith(f"ratchet/flight-delay/production/v2-over-{base_commit}-by-")
    assert list(world.forge.difference(world.forge.head(), pull.head).files) == [PATH]
    assert "**Recipe**: unchanged since v1" in world.forge.bodies[pull.number]


def test_the_pull_request_names_both_commits_and_says_when_mains_recipe_is_another() -> None:
    for is_mains in (True, False):
        world = World()
        spec = read_policy(world.forge, MODEL, world.forge.head())
        recipe = spec.recipe_digest("boosted_trees") if is_mains else "sha256:" + "5" * 64
        world.register(recipe_digest=recipe, git_revision="c0ffee" * 6 + "abcd")
        main = world.forge.head()

        world.reconciler().reconcile(MODEL)

        text = world.forge.bodies[world.open_pull().pull.number]
        both = f"trained from `c0ffeec0ffee`; judged by the policy of main at `{main[:12]}`"
        assert both in text
        assert ("main's recipe differs from the trained one" in text) is not is_mains


@pytest.mark.parametrize("outcome", ["keep", "inconclusive"])
def test_a_challenger_that_is_not_supported_is_kept_out_and_not_judged_again(outcome: str) -> None:
    world = World()
    world.register(outcome)  # type: ignore[arg-type]  # one of Outcome's words

    for _ in range(3):
        promotion = world.reconciler().reconcile(MODEL)

    state = "kept" if outcome == "keep" else "inconclusive"
    assert (promotion.state, promotion.verdict, promotion.waits_for) == (state, outcome, None)
    assert len(world.judge.asked) == 1
    assert not world.forge.pulls


def test_a_pull_request_that_a_person_closed_is_not_opened_again() -> None:
    world = World()
    world.register()
    world.reconciler().reconcile(MODEL)
    world.forge.close(1)

    assert world.reconciler().reconcile(MODEL).state == "rejected"
    assert len(world.forge.pulls) == 1


def test_a_pull_request_over_an_older_release_is_closed_as_stale_and_proposed_anew() -> None:
    world = World()
    world.ship()
    world.ship()
    world.register()
    world.reconciler().reconcile(MODEL)
    stale = world.open_pull().pull.number
    back = world.roll_back(reason="complaints").pull
    world.reconciler().reconcile(MODEL)
    world.forge.merge(back.number)
    world.roll_out()

    promotion = world.reconciler().reconcile(MODEL)

    assert world.forge.pulls[stale].state == "closed"
    assert "ratchet/superseded" in world.forge.pulls[stale].labels
    assert promotion.state == "proposed"
    assert world.open_pull().pull.number != stale
    assert world.judge.asked[-1] == (3, 1)


def test_a_newer_challenger_supersedes_the_open_pull_request() -> None:
    world = World()
    world.register()
    world.reconciler().reconcile(MODEL)
    world.register()

    promotion = world.reconciler().reconcile(MODEL)

    assert (promotion.version, promotion.state, promotion.pull_request) == (2, "proposed", 2)
    assert world.forge.pulls[1].state == "closed"
    assert "ratchet/superseded" in world.forge.pulls[1].labels


def test_an_edited_branch_is_flagged_and_holds_until_a_person_acts() -> None:
    world = World()
    world.register()
    world.reconciler().reconcile(MODEL)
    branch = world.open_pull().pull.branch
    head = world.forge.push({PATH: b"something else"}, branch=branch)

    promotion = world.reconciler().reconcile(MODEL)

    assert promotion.state == "edited"
    assert promotion.waits_for == "person"
    assert promotion.reason.startswith("#1 no longer changes")
    assert _statuses(world, head) == {"ratchet/gate": "failure"}


def test_a_pull_request_that_changes_another_file_too_is_edited() -> None:
    world = World()
    world.register()
    world.reconciler().reconcile(MODEL)
    world.forge.push(
        {"gitops/models/base/deployment.yaml": b"privileged: true"},
        branch=world.open_pull().pull.branch,
    )

    assert world.reconciler().reconcile(MODEL).state == "edited"


def test_a_rollback_goes_back_byte_for_byte_and_the_version_left_has_had_its_turn() -> None:
    world = World()
    first, second = world.ship(), world.ship()
    content = world.forge.read_file(PATH, world.look().history[1].commit)
    reconciler = world.reconciler()

    pull = world.roll_back(reason="complaints").pull
    again = world.roll_back(reason="complaints, said twice").pull
    reconciler.reconcile(MODEL)
    world.forge.merge(pull.number)
    rolling = reconciler.reconcile(MODEL)
    world.roll_out()
    done = reconciler.reconcile(MODEL)

    assert again.number == pull.number
    assert "/rollback-to-v1-over-" in pull.branch
    assert world.forge.read_file(PATH, world.forge.head()) == content
    assert rolling.state == "rolling out"
    assert (done.state, done.version, _champion(world)) == ("no challenger", second, first)
    assert world.judge.asked == [(1, None), (2, 1)]


def test_a_rollback_with_nothing_to_return_to_says_what_ever_served() -> None:
    world = World()
    world.ship()

    with pytest.raises(NothingToReturnTo, match=r"versions served: \[1\]"):
        world.roll_back(reason="complaints")


def test_a_failed_rollout_is_recorded_and_a_revert_is_proposed_once() -> None:
    world = World()
    world.ship()
    world.register()
    world.reconciler().reconcile(MODEL)
    commit = world.forge.merge(world.open_pull().pull.number)
    world.roll_out(healthy=False)

    promotion = world.reconciler().reconcile(MODEL)
    world.reconciler().reconcile(MODEL)

    assert promotion.state == "failed, held"
    assert _statuses(world, commit)[ROLLOUT_CONTEXT] == "failure"
    assert _champion(world) == 1
    revert = world.open_pull("revert")
    assert parse(world.forge.read_file(PATH, revert.pull.head) or b"", MODEL).version == 1

    world.forge.merge(revert.pull.number)
    world.roll_out()
    assert world.reconciler().reconcile(MODEL).state == "no challenger"
    assert _champion(world) == 1


def test_a_release_that_is_not_healthy_by_its_deadline_failed() -> None:
    world = World()
    world.register()
    world.reconciler().reconcile(MODEL)
    commit = world.forge.merge(1)
    world.reconciler().reconcile(MODEL)
    for _ in range(301):
        world.tick()

    world.reconciler().reconcile(MODEL)

    assert _statuses(world, commit)[ROLLOUT_CONTEXT] == "failure"


def test_a_release_that_became_healthy_late_is_recorded_and_its_revert_closed() -> None:
    world = World()
    world.ship()
    world.register()
    world.reconciler().reconcile(MODEL)
    world.forge.merge(world.open_pull().pull.number)
    world.roll_out(healthy=False)
    world.reconciler().reconcile(MODEL)
    revert = world.open_pull("revert").pull.number

    world.roll_out()
    world.reconciler().reconcile(MODEL)

    assert _champion(world) == 2
    assert world.forge.pulls[revert].state == "closed"


@pytest.mark.parametrize("content", [b"kind: ConfigMap\n", None])
def test_what_a_person_wrote_on_main_by_hand_is_not_recognised_and_holds(
    content: bytes | None,
) -> None:
    world = World()
    world.ship()
    world.register()
    world.forge.push({PATH: content})

    promotion = world.reconciler().reconcile(MODEL)

    assert promotion.state == "unrecognised"
    assert promotion.waits_for == "person"
    assert _champion(world) == 1


def test_a_reverted_commit_is_recognised() -> None:
    world = World()
    world.ship()
    before = world.forge.read_file(PATH, world.forge.head())
    world.ship()
    world.forge.push({PATH: before}, message="Revert")
    world.roll_out()

    assert world.reconciler().reconcile(MODEL).state == "no challenger"
    assert _champion(world) == 1


def test_a_release_with_another_version_than_was_judged_is_not_recognised() -> None:
    world = World()
    world.ship()
    world.register()
    world.reconciler().reconcile(MODEL)
    pull = world.open_pull().pull
    good = world.forge.read_file(PATH, pull.head) or b""
    world.forge.push({PATH: good.replace(b'version: "2"', b'version: "1"')})

    assert world.reconciler().reconcile(MODEL).state == "unrecognised"


def test_a_merged_release_whose_image_is_lost_fails_like_any_other() -> None:
    world = World()
    world.ship()
    world.register()
    world.reconciler().reconcile(MODEL)
    world.forge.merge(world.open_pull().pull.number)
    world.images.lose()
    world.roll_out(healthy=False)

    assert world.reconciler().reconcile(MODEL).state == "failed, held"
    assert world.open_pull("revert").branch.version == 1
    assert _champion(world) == 1


@pytest.mark.parametrize(
    "unproven",
    ["not merged from the pull request", "other bytes than the pull request's", "not gated"],
)
def test_a_lost_image_excuses_no_bytes_but_those_of_a_gated_pull_request(unproven: str) -> None:
    world = World()
    world.ship()
    world.register()
    world.reconciler().reconcile(MODEL)
    pull = world.open_pull().pull
    commit = world.forge.merge(pull.number)
    if unproven != "not gated":
        commit = world.forge.push(
            {
                PATH: (world.forge.read_file(PATH, pull.head) or b"").replace(
                    b"@sha256:", b"-of-mine@sha256:"
                )
            }
        )
    if unproven == "other bytes than the pull request's":
        world.forge.pulls[pull.number] = replace(
            world.forge.pulls[pull.number], merge_commit=commit
        )
    if unproven == "not gated":
        world.forge.statuses_of[pull.head].clear()
    world.images.lose()

    assert world.reconciler().reconcile(MODEL).state == "unrecognised"


@pytest.mark.parametrize("part", ["registry", "images"])
def test_an_outage_is_blind_and_nothing_is_done(part: str) -> None:
    world = World()
    world.register()
    getattr(world, part).is_down = True

    promotion = world.reconciler().reconcile(MODEL)

    assert promotion.state == "blind"
    assert promotion.waits_for == "outage"
    assert not world.forge.pulls


def test_since_tells_when_a_state_began() -> None:
    world = World()
    world.registry.is_down = True
    reconciler = world.reconciler()
    first = reconciler.reconcile(MODEL).since
    world.tick()

    assert reconciler.reconcile(MODEL).since == first


def test_without_a_policy_on_main_nothing_is_judged_and_the_message_says_where_it_belongs() -> None:
    world = World()
    world.register()
    world.forge.push({"dags/models/flight-delay.yaml": None})

    promotion = world.reconciler().reconcile(MODEL)

    assert promotion.state == "unjudged"
    assert "dags/models" in promotion.reason
    assert not world.judge.asked


def test_another_policy_on_main_is_another_verdict() -> None:
    world = World()
    world.register("keep")
    world.reconciler().reconcile(MODEL)
    spec = world.forge.read_file("dags/models/flight-delay.yaml", world.forge.head()) or b""
    world.forge.push({"dags/models/flight-delay.yaml": spec + b"gate: {metric: brier}\n"})

    world.reconciler().reconcile(MODEL)

    assert len(world.judge.asked) == 2


def test_a_verdict_whose_bytes_were_changed_is_not_acted_upon() -> None:
    world = World()
    world.register("keep")
    world.reconciler().reconcile(MODEL)
    (files,) = world.registry.evidence.values()
    files["verdict.json"] = files["verdict.json"].replace(b'"keep"', b'"promote"')

    promotion = world.reconciler().reconcile(MODEL)

    assert (promotion.state, promotion.waits_for) == ("blind", "person")
    assert "has digest sha256:" in promotion.reason
    assert not world.forge.pulls


def test_a_model_folder_that_is_not_what_was_judged_is_not_built() -> None:
    world = World()
    world.register()
    for name in ("model.json", "model.onnx"):
        world.registry._folders[next(iter(world.registry._folders))][name] = model_folder(99)[name]  # type: ignore[index]  # the fake keeps dicts

    promotion = world.reconciler().reconcile(MODEL)

    assert promotion.state == "unbuilt"
    assert "judged was" in promotion.reason


def test_a_persons_branch_under_our_prefix_is_left_alone() -> None:
    world = World()
    world.register()
    world.forge.branches["ratchet/flight-delay/production/mine"] = world.forge.head()
    world.forge.push({"x": b"y"}, branch="ratchet/flight-delay/production/mine")
    mine = world.forge.open_pull_request("ratchet/flight-delay/production/mine", "Mine", "")

    assert world.reconciler().reconcile(MODEL).state == "proposed"
    assert world.forge.pulls[mine.number].state == "open"
    assert not world.forge.comments.get(mine.number)


def test_a_dry_run_changes_nothing() -> None:
    world = World()
    world.register()

    promotion, step = world.reconciler().preview(MODEL)

    assert (promotion.state, step.act) == ("unjudged", "judge")
    assert not world.registry.acts


def test_a_kept_version_that_a_person_built_and_pushed_is_not_recognised() -> None:
    world = World()
    world.ship()
    kept = world.register("keep")
    world.reconciler().reconcile(MODEL)
    version = world.registry.version(MODEL, kept)
    model_digest = version.model_digest
    digest = world.images.push(
        "ratchet/flight-delay", build_image(model_folder(kept)), tag=image_tag(kept, model_digest)
    )
    (verdict,) = [
        json.loads(value)["digest"]
        for name, value in version.tags.items()
        if name.startswith("verdict.")
    ]
    by_hand = Release(
        model=MODEL,
        version=kept,
        image=f"ratchet/flight-delay@{digest}",
        model_digest=model_digest,
        verdict_digest=verdict,
    )
    world.forge.push({PATH: render(by_hand)})
    world.roll_out()

    assert world.reconciler().reconcile(MODEL).state == "unrecognised"
    assert _champion(world) == 1


@pytest.mark.parametrize("act", ["record failure", "announce"])
def test_a_late_replica_writes_nothing_over_a_success(act: Act) -> None:
    world = World()
    world.register()
    world.reconciler().reconcile(MODEL)
    commit = world.forge.merge(1)
    world.roll_out(healthy=False)
    late = world.reconciler()
    observation = late.observer.look(MODEL)
    assert isinstance(observation, Observation)
    world.roll_out()
    world.reconciler().reconcile(MODEL)

    late._acts[act](observation, decide(observation))

    assert _statuses(world, commit)[ROLLOUT_CONTEXT] == "success"


KUSTOMIZATION_WITH_ANOTHER_IMAGE = b"""\
images:
  - name: ratchet/flight-delay
    newName: evil/image
"""


@pytest.mark.parametrize("path", [OVERLAY, "gitops/clusters/production/flight-delay.yaml"])
@pytest.mark.parametrize("change", ["more", "other bytes", "removed"])
def test_the_first_pull_request_is_edited_when_any_of_its_files_is(path: str, change: str) -> None:
    world = World()
    world.register()
    world.reconciler().reconcile(MODEL)
    pull = world.open_pull().pull
    before = world.forge.read_file(path, pull.head) or b""
    after = {
        "more": before + KUSTOMIZATION_WITH_ANOTHER_IMAGE,
        "other bytes": b"kind: Pod\n",
        "removed": None,
    }[change]
    head = world.forge.push({path: after}, branch=pull.branch)

    promotion = world.reconciler().reconcile(MODEL)

    assert (promotion.state, promotion.waits_for) == ("edited", "person")
    assert _statuses(world, head) == {"ratchet/gate": "failure"}


def test_replicas_that_changed_on_main_leave_an_open_first_pull_request_as_it_is() -> None:
    world = World()
    world.register()
    world.reconciler().reconcile(MODEL)
    _edit_spec(world, b"serving: {replicas: 5}\n")

    assert world.reconciler().reconcile(MODEL).state == "proposed"


def test_more_files_than_the_forge_lists_are_never_as_proposed() -> None:
    world = World()
    world.register()
    world.reconciler().reconcile(MODEL)
    world.forge.push(
        {f"docs/{number}": b"x" for number in range(400)}, branch=world.open_pull().pull.branch
    )

    assert world.reconciler().reconcile(MODEL).state == "edited"


def test_a_release_judged_over_an_older_release_is_not_gated_over_the_new_one() -> None:
    world = World()
    world.ship()
    challenger = world.register()
    world.reconciler().reconcile(MODEL)
    pull = world.open_pull().pull
    content = world.forge.read_file(PATH, pull.head)
    world.forge.merge(pull.number)
    world.roll_out()
    world.reconciler().reconcile(MODEL)
    world.ship()
    branch = f"ratchet/flight-delay/production/v{challenger}-over-{world.look().base_commit}"
    world.forge.branches[branch] = world.forge.head()
    head = world.forge.push({PATH: content}, branch=branch)
    opened = world.forge.open_pull_request(branch, "By hand", "")

    world.reconciler().reconcile(MODEL)

    assert _statuses(world, head).get("ratchet/gate") != "success"
    assert world.forge.pulls[opened.number].state == "closed"


def _edit_spec(world: World, more: bytes) -> None:
    spec = world.forge.read_file("dags/models/flight-delay.yaml", world.forge.head()) or b""
    world.forge.push({"dags/models/flight-delay.yaml": spec + more})


def test_a_changed_policy_closes_the_open_proposal_and_judges_again() -> None:
    world = World()
    world.register()
    world.reconciler().reconcile(MODEL)
    old = world.open_pull().pull
    _edit_spec(world, b"gate: {metric: brier}\n")

    promotion = world.reconciler().reconcile(MODEL)

    assert len(world.judge.asked) == 2
    assert world.forge.pulls[old.number].state == "closed"
    assert "ratchet/superseded" in world.forge.pulls[old.number].labels
    new = world.open_pull().pull
    assert (promotion.state, promotion.pull_request) == ("proposed", new.number)
    assert new.branch != old.branch
    assert _statuses(world, new.head) == {"ratchet/gate": "success"}


def test_a_changed_policy_under_which_the_version_is_kept_out_leaves_no_proposal() -> None:
    world = World()
    number = world.register()
    world.reconciler().reconcile(MODEL)
    _edit_spec(world, b"gate: {metric: brier}\n")
    world.judge.told[number] = "keep"

    assert world.reconciler().reconcile(MODEL).state == "kept"
    assert not world.look().open


def test_a_changed_title_is_no_changed_policy() -> None:
    world = World()
    world.register()
    world.reconciler().reconcile(MODEL)
    _edit_spec(world, b"title: Another title\n")

    assert world.reconciler().reconcile(MODEL).state == "proposed"
    assert len(world.judge.asked) == 1


def test_a_policy_that_cannot_be_read_gates_no_promotion_and_closes_none() -> None:
    world = World()
    world.register()
    world.reconciler().reconcile(MODEL)
    pull = world.open_pull().pull
    world.forge.statuses_of[pull.head].clear()
    _edit_spec(world, b"gate: [\n")

    promotion = world.reconciler().reconcile(MODEL)

    assert (promotion.state, promotion.waits_for) == ("ungated", "person")
    assert "cannot be read" in promotion.reason
    assert _statuses(world, pull.head) == {}


def test_a_first_release_that_fails_waits_for_a_person_until_main_names_it_no_more() -> None:
    world = World()
    world.register()
    world.reconciler().reconcile(MODEL)
    world.forge.merge(1)
    world.roll_out(healthy=False)

    held = world.reconciler().reconcile(MODEL)
    world.forge.push({PATH: None}, message="Revert")
    world.register()
    next_one = world.reconciler().reconcile(MODEL)

    assert (held.state, held.waits_for, held.serving) == ("failed, held", "person", None)
    assert "it crashed" in held.reason
    assert (next_one.state, next_one.version) == ("proposed", 2)
    assert "/v2-first-by-" in world.open_pull().pull.branch
    assert world.judge.asked[-1] == (2, None)


def test_the_challenger_after_a_failed_first_release_is_proposed_over_it() -> None:
    world = World()
    world.register()
    world.reconciler().reconcile(MODEL)
    world.forge.merge(1)
    world.roll_out(healthy=False)
    world.reconciler().reconcile(MODEL)
    world.register()

    assert world.reconciler().reconcile(MODEL).state == "proposed"


def test_a_commit_made_long_before_its_push_gets_its_time() -> None:
    world = World()
    world.ship()
    world.register()
    world.reconciler().reconcile(MODEL)
    commit = world.forge.merge(world.open_pull().pull.number)
    world.at += timedelta(days=3)

    promotion = world.reconciler().reconcile(MODEL)

    assert promotion.state == "rolling out"
    assert _statuses(world, commit)[ROLLOUT_CONTEXT] == "pending"


class Refusing:
    """MLflow with a wrong password."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def challenger(self, model: str) -> None:
        raise ModelRegistryRefused("MLflow answered 401.")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def test_a_refused_look_waits_for_a_person() -> None:
    world = World()
    world.around = lambda name, part: Refusing(part) if name == "registry" else part

    promotion = world.reconciler().reconcile(MODEL)

    assert (promotion.state, promotion.waits_for) == ("blind", "person")
    assert "401" in promotion.reason


@pytest.mark.parametrize(
    ("error", "who"),
    [
        (RowsNotFound("gone"), "person"),
        (RowsRefused("no"), "person"),
        (RowsUnavailable("away"), "outage"),
    ],
)
def test_rows_that_are_gone_wait_for_a_person_and_a_store_that_is_away_for_an_answer(
    error: PromoteError, who: str
) -> None:
    world = World()
    world.register()

    def judge(*_: Any, **__: Any) -> Any:
        raise error

    promotion = Reconciler(world.parts(), judge).reconcile(MODEL)

    assert (promotion.state, promotion.waits_for) == ("unjudged", who)


def test_the_promotion_says_what_serves_and_what_is_open_whatever_was_registered_since() -> None:
    world = World()
    world.ship()
    world.register()
    world.reconciler().reconcile(MODEL)
    proposed = world.open_pull().pull
    kept = world.register("keep")

    promotion = world.reconciler().reconcile(MODEL)

    assert promotion.serving is not None
    assert (promotion.serving.version, promotion.serving.pull_request) == (1, 1)
    assert promotion.serving.url == "https://forge.test/pull/1"
    assert promotion.serving.since == world.look().history[0].rollout.at
    assert (promotion.version, promotion.state) == (kept, "kept")
    assert [(one.number, one.version, one.purpose) for one in promotion.open] == [
        (proposed.number, 2, "promotion")
    ]


def test_since_is_the_same_in_every_process() -> None:
    world = World()
    world.register()
    world.reconciler().reconcile(MODEL)
    opened = world.open_pull().pull.created_at
    world.at += timedelta(days=1)

    assert world.reconciler().preview(MODEL)[0].since == opened
