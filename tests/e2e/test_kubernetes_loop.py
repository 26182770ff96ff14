"""What the loop promises on a real Kubernetes when pods, releases, Flux and the cluster break.

Phones ask all the time, and every release is a merged pull request. The tests are one story: each
begins where the test before ended. Every model then has a champion that answers.
"""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.local.processes import wait_until_answers
from infra.local.stack.reviewer import REPOSITORY
from infra.local.stack.web import wait_for
from promote.contract import Slot
from promote.release.manifest import parse
from promote.release.slot import release_path
from tests.grounds.kubernetes_ground import why_not
from tests.grounds.kubernetes_loop import BROKEN, DEADLINE_SECONDS, MODEL, Loop
from tests.grounds.kubernetes_story import DISTURBANCES, Story, between, disturb, failed

pytestmark = [
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
    pytest.mark.kubernetes,
    pytest.mark.timeout(600),
]
PER_SECOND = 10
"""Enough to see a lost request. The rollouts of four models take most of two cores."""


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    loop = Loop(tmp_path_factory.mktemp("loop"))
    story = Story(loop, per_second=PER_SECOND)
    try:
        loop.begin()
        story.serve(MODEL, *BROKEN.values())
        yield story
    finally:
        story.stop()


def test_a_promotion_fails_no_request(story: Story) -> None:
    loop = story.loop
    assert loop.retrain(MODEL, 1) == 2
    merged = loop.review_and_merge(loop.proposed(MODEL, 2))
    loop.wait_until_served(MODEL, 2)
    _went_from_to(story, merged, 1, 2)


def test_killed_between_merge_and_alias_of_a_rollback_the_next_pass_completes_and_no_request_fails(
    story: Story,
) -> None:
    loop = story.loop
    merged = loop.review_and_merge(loop.roll_back(MODEL))
    loop.kill_promote()
    wait_for(
        "the pods of version 1",
        lambda: True if _only_version(loop, 1) else None,
        timeout_seconds=120,
    )
    assert loop.champion(MODEL) == 2
    _went_from_to(story, merged, 2, 1)
    wait_until_answers(loop.start_promote(), f"{loop.promote_url}/health")
    loop.wait_until_served(MODEL, 1, seconds=30)


def _went_from_to(story: Story, merged: float, old: int, new: int) -> None:
    """A rollout just ended: no request failed, both versions answered, now only the new one."""
    ended = time.monotonic()
    time.sleep(2)  # the phones go on
    answers = story.asked(MODEL, merged)
    assert failed(answers) == []
    assert {answer.version for answer in answers} == {old, new}
    assert {answer.version for answer in between(answers, ended)} == {new}
    first = min(answer.asked_at for answer in answers if answer.version == new)
    print(f"merge to first answer of version {new}: {first - merged:.1f} s")


def _only_version(loop: Loop, version: int) -> bool:
    return {
        pod["metadata"]["labels"]["app.kubernetes.io/version"] for pod in loop.pods("models", MODEL)
    } == {str(version)}


@dataclass(frozen=True)
class Release:
    """A merged release that is broken on purpose."""

    model: str
    version: int
    pull: dict[str, Any]
    merged: float
    """When, by `time.monotonic()`."""


@pytest.fixture(scope="module")
def broken(story: Story) -> dict[str, Release]:
    """One release for each fault. They are merged one after the other and fail at the same time."""
    loop, releases = story.loop, {}
    for fault, model in BROKEN.items():
        if fault != "missing":
            loop.restart_promote(base=loop.broken_base(fault))
        version = loop.retrain(model, 1)
        pull = loop.proposed(model, version)
        releases[fault] = Release(model, version, pull, loop.review_and_merge(pull))
        if fault == "missing":
            # Before the merge, promote would withdraw the gate's status.
            loop.lose_image(model, _image_of(loop, releases[fault]))
    loop.restart_promote()
    return releases


def test_another_model_goes_on_while_three_releases_are_broken(
    story: Story, broken: dict[str, Release]
) -> None:
    loop = story.loop
    assert loop.retrain(MODEL, 2) == 3
    merged = loop.review_and_merge(loop.proposed(MODEL, 3))
    loop.wait_until_served(MODEL, 3)
    assert failed(story.asked(MODEL, merged)) == []
    first = min(answer.asked_at for answer in story.asked(MODEL, merged) if answer.version == 3)
    print(f"{first - merged:.1f} s to the first answer, while {len(broken)} releases are broken")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("missing", "not found"), ("corrupt", "ModelAltered"), ("crashing", "crashed on purpose")],
)
def test_a_broken_release_fails_with_its_reason_and_the_old_one_answers(
    story: Story, broken: dict[str, Release], fault: str, reason: str
) -> None:
    loop, release = story.loop, broken[fault]
    model = release.model
    loop.wait_for_state(model, "failed, held", seconds=DEADLINE_SECONDS + 60)
    statuses = loop.forge_api("GET", f"/commits/{_merge_commit(loop, release)}/statuses")
    assert [status["state"] for status in statuses].count("failure") == 1
    assert loop.champion(model) == 1
    comments = loop.forge_api("GET", f"/issues/{release.pull['number']}/comments")
    assert any(reason in comment["body"] for comment in comments), comments
    assert failed(story.asked(model, release.merged)) == []

    revert = loop.proposed(model)
    assert "revert-to-v1" in revert["head"]["ref"]
    merged = loop.review_and_merge(revert)
    wait_for(
        "the old template",
        lambda: True if _template_version(loop, model) == "1" else None,
        timeout_seconds=60,
        every_seconds=0.5,
    )
    assert time.monotonic() - merged < 30, (
        "the revert waited for the old health check, of three minutes"
    )
    loop.wait_until_served(model, 1)
    loop.wait_for_state(model, "no challenger", seconds=60)
    assert failed(story.asked(model, release.merged)) == []
    assert {answer.version for answer in story.asked(model, merged)} <= {1, release.version}


def _merge_commit(loop: Loop, release: Release) -> str:
    return str(loop.forge_api("GET", f"/pulls/{release.pull['number']}")["merge_commit_sha"])


def _image_of(loop: Loop, release: Release) -> str:
    path = f"{release.pull['head']['sha']}:{release_path(Slot(release.model, 'local'))}"
    content = subprocess.run(
        ["git", "-C", str(loop.folder / "forge"), "show", path], capture_output=True, check=True
    ).stdout
    return parse(content, release.model).image


def _template_version(loop: Loop, model: str) -> str:
    template = loop.kube("get", "deployment", f"server-{model}", "--namespace=models")["spec"][
        "template"
    ]
    return str(template["metadata"]["labels"]["app.kubernetes.io/version"])


def test_what_a_hand_changed_or_deleted_comes_back_and_is_reported(story: Story) -> None:
    loop = story.loop
    loop.running.kubectl(
        "scale", "deployment", f"server-{MODEL}", "--namespace=models", "--replicas=1"
    )
    loop.running.kubectl("delete", "service", f"server-{MODEL}", "--namespace=models")
    loop.running.kubectl(
        "annotate",
        "kustomization",
        MODEL,
        "--namespace=flux-system",
        f"reconcile.fluxcd.io/requestedAt={time.time()}",
    )  # Flux would do this by itself every ten minutes

    def is_back() -> bool | None:
        deployment = loop.kube("get", "deployment", f"server-{MODEL}", "--namespace=models")
        services = [
            service["metadata"]["name"]
            for service in loop.kube("get", "services", "--namespace=models")["items"]
        ]
        return (
            True if deployment["spec"]["replicas"] == 2 and f"server-{MODEL}" in services else None
        )

    wait_for("the Deployment and its Service as git has them", is_back, timeout_seconds=60)
    events = [
        event["message"]
        for event in loop.kube("get", "events", "--namespace=flux-system")["items"]
        if event["involvedObject"]["name"] == MODEL
    ]
    assert any(f"Deployment/models/server-{MODEL} configured" in message for message in events), (
        events
    )
    assert any(f"Service/models/server-{MODEL} created" in message for message in events), events
    story.answers_again(MODEL, time.monotonic())


def test_a_model_removed_from_git_is_pruned(story: Story, tmp_path: Path) -> None:
    loop, model = story.loop, BROKEN["missing"]
    story.phones[model].stop()
    clone = tmp_path / "clone"
    git = ["git", "-c", "user.name=owner", "-c", "user.email=owner@localhost"]
    subprocess.run(
        [*git, "clone", "--quiet", f"{loop.forge_url}/{REPOSITORY}.git", str(clone)], check=True
    )
    subprocess.run(
        [
            *git,
            "rm",
            "-r",
            "--quiet",
            f"gitops/models/{model}",
            f"gitops/clusters/local/{model}.yaml",
        ],
        cwd=clone,
        check=True,
    )
    subprocess.run(
        [*git, "commit", "--quiet", "--message", f"{model} is retired"], cwd=clone, check=True
    )
    subprocess.run(
        [
            *git,
            "push",
            "--quiet",
            f"http://x:{loop.token}@{loop.forge_url.removeprefix('http://')}/{REPOSITORY}.git",
            "HEAD:retire",
        ],
        cwd=clone,
        check=True,
    )
    asked = {"title": f"{model} is retired", "head": "retire", "base": "main"}
    pull = loop.forge_api("POST", "/pulls", asked)
    # on GitHub the workflow gate.yaml gives the status
    status = {"state": "success", "context": "ratchet/gate"}
    loop.forge_api("POST", f"/statuses/{pull['head']['sha']}", status)
    loop.review_and_merge(pull)
    wait_for(
        f"no pod of {model}",
        lambda: True if not loop.pods("models", model) else None,
        timeout_seconds=120,
    )
    assert loop.pods("models", MODEL)


def test_servers_gateways_containerd_and_the_api_server_go_away_and_answers_resume(
    story: Story,
) -> None:
    loop = story.loop
    for what in DISTURBANCES:
        began = time.monotonic()
        disturb(loop, what)
        seconds = story.answers_again(MODEL, began)
        answers = story.asked(MODEL, began)
        assert {answer.version for answer in answers if answer.status == 200} == {3}
        statuses = dict(Counter(answer.status for answer in failed(answers)))
        counts = f"{len(answers)} asked, {len(failed(answers))} failed {statuses}"
        print(f"{what}: {counts}, the last {seconds:.1f} s after it")
    wait_for("the API server", lambda: True if _is_there(loop) else None, timeout_seconds=60)


def _is_there(loop: Loop) -> bool:
    try:
        return bool(loop.pods("models", MODEL))
    except subprocess.CalledProcessError:  # kubectl finds no API server yet
        return False
