"""What the loop promises when pods, releases, Flux and the cluster itself break: on a real Kubernetes, under a constant load, through merged pull requests.

The tests are one story: each begins where the one before ended, with a champion of both models that answers.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.local.demo.laptop import REPOSITORY
from infra.local.demo.web import wait_for
from infra.local.processes import wait_until_answers
from tests.kubernetes_ground import why_not
from tests.kubernetes_loop import DEADLINE_SECONDS, DISTURBANCES, MODEL, OTHER, Loop, Story, between, disturb, failed

missing = why_not() or next((f"{program} is missing" for program in ("buildah", "mmdebstrap") if shutil.which(program) is None), "")
pytestmark = [pytest.mark.skipif(bool(missing), reason=missing), pytest.mark.kubernetes, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    loop = Loop(tmp_path_factory.mktemp("loop"))
    told = Story(loop)
    try:
        loop.begin()
        told.serve(MODEL, OTHER)
        yield told
    finally:
        told.stop()


def test_a_promotion_and_its_rollback_fail_no_request(story: Story) -> None:
    loop = story.loop
    assert loop.retrain(MODEL, 1) == 2
    for pull, version in ((loop.proposed(MODEL, 2), 2), (None, 1)):
        merged = loop.merge(pull or loop.roll_back(MODEL))
        loop.wait_until_served(MODEL, version)
        ended = time.monotonic()
        time.sleep(2)  # the phones go on: none of the old may answer any more
        answers = story.asked(MODEL, merged)
        assert failed(answers) == []
        assert {answer.version for answer in answers} == {1, 2}
        assert {answer.version for answer in between(answers, ended)} == {version}
        print(f"merge to first answer of version {version}: {min(a.asked_at for a in answers if a.version == version) - merged:.1f} s")


def test_killed_between_merge_and_alias_the_next_pass_completes(story: Story) -> None:
    loop = story.loop
    pull = loop.roll_back(MODEL)
    loop.merge(pull)
    loop.kill_promote()
    wait_for("the pods of version 2", lambda: True if _only_version(loop, 2) else None, timeout_seconds=120)
    assert loop.champion(MODEL) == 1
    wait_until_answers(loop.start_promote(), f"{loop.promote_url}/health")
    loop.wait_until_served(MODEL, 2, seconds=30)


def _only_version(loop: Loop, version: int) -> bool:
    return {pod["metadata"]["labels"]["app.kubernetes.io/version"] for pod in loop.pods("models", MODEL)} == {str(version)}


@pytest.mark.parametrize(
    ("fault", "week", "reason"),
    [
        ("missing", 2, "not found"),
        ("corrupt", 3, "ModelAltered"),
        ("crashing", 4, "crashed on purpose"),
    ],
)
def test_a_broken_release_fails_with_its_reason_and_the_old_one_answers(story: Story, fault: str, week: int, reason: str) -> None:
    loop = story.loop
    if fault != "missing":
        loop.restart_promote(base=loop.broken_base(fault))
    version = loop.retrain(MODEL, week)
    pull = loop.proposed(MODEL, version)
    broken = loop.merge(pull)
    if fault == "missing":
        loop.lose_image(MODEL, _image_of(loop, pull))  # after the merge: before it, promote withdraws the gate
        _the_other_model_goes_on(story)

    loop.wait_for_state(MODEL, "failed, held", seconds=DEADLINE_SECONDS + 60)
    statuses = loop.forge_api("GET", f"/commits/{_merge_commit(loop, pull)}/statuses")
    assert [status["state"] for status in statuses].count("failure") == 1
    assert loop.champion(MODEL) == 2
    comments = loop.forge_api("GET", f"/issues/{pull['number']}/comments")
    assert any(reason in comment["body"] for comment in comments), comments
    assert failed(story.asked(MODEL, broken)) == []

    revert = loop.proposed(MODEL)
    assert "revert-to-v2" in revert["head"]["ref"]
    merged = loop.merge(revert)
    wait_for("the old template", lambda: True if _template_version(loop) == "2" else None, timeout_seconds=60, every_seconds=0.5)
    assert time.monotonic() - merged < 30, "the revert waited for the old health check, of three minutes"
    loop.wait_until_served(MODEL, 2)
    loop.wait_for_state(MODEL, "had its turn", seconds=60)
    assert failed(story.asked(MODEL, broken)) == []
    assert {answer.version for answer in story.asked(MODEL, merged)} <= {2, version}
    if fault != "missing":
        loop.restart_promote()


def _the_other_model_goes_on(story: Story) -> None:
    loop = story.loop
    assert loop.retrain(OTHER, 1) == 2
    merged = loop.merge(loop.proposed(OTHER, 2))
    loop.wait_until_served(OTHER, 2)
    answers = story.asked(OTHER, merged)
    assert failed(answers) == []
    print(f"the other model: {min(a.asked_at for a in answers if a.version == 2) - merged:.1f} s from merge to first answer, while this one is broken")


def _merge_commit(loop: Loop, pull: dict[str, Any]) -> str:
    return str(loop.forge_api("GET", f"/pulls/{pull['number']}")["merge_commit_sha"])


def _image_of(loop: Loop, pull: dict[str, Any]) -> str:
    git = ["git", "-C", str(loop.folder / "forge")]
    text = subprocess.run([*git, "show", f"{pull['head']['sha']}:gitops/models/{MODEL}/local/release.yaml"], capture_output=True, text=True, check=True).stdout
    return next(line.split('"')[1] for line in text.splitlines() if line.startswith("  image:"))


def _template_version(loop: Loop) -> str:
    template = loop.kube("get", "deployment", f"server-{MODEL}", "--namespace=models")["spec"]["template"]
    return str(template["metadata"]["labels"]["app.kubernetes.io/version"])


def test_what_a_hand_changed_or_deleted_comes_back_and_is_reported(story: Story) -> None:
    loop = story.loop
    loop.running.kubectl("scale", "deployment", f"server-{MODEL}", "--namespace=models", "--replicas=1")
    loop.running.kubectl("delete", "service", f"server-{MODEL}", "--namespace=models")
    loop.running.kubectl("annotate", "kustomization", MODEL, "--namespace=flux-system", f"reconcile.fluxcd.io/requestedAt={time.time()}")  # or in ten minutes

    def is_back() -> bool | None:
        deployment = loop.kube("get", "deployment", f"server-{MODEL}", "--namespace=models")
        services = [service["metadata"]["name"] for service in loop.kube("get", "services", "--namespace=models")["items"]]
        return True if deployment["spec"]["replicas"] == 2 and f"server-{MODEL}" in services else None

    wait_for("the Deployment and its Service as git has them", is_back, timeout_seconds=60)
    events = [event["message"] for event in loop.kube("get", "events", "--namespace=flux-system")["items"] if event["involvedObject"]["name"] == MODEL]
    assert any(f"Deployment/models/server-{MODEL} configured" in message for message in events), events
    assert any(f"Service/models/server-{MODEL} created" in message for message in events), events
    story.answers_again(MODEL, time.monotonic())


def test_servers_gateways_containerd_and_the_api_server_go_away_and_answers_resume(story: Story) -> None:
    loop = story.loop
    for what in DISTURBANCES:
        began = time.monotonic()
        disturb(loop, what)
        seconds = story.answers_again(MODEL, began)
        answers = story.asked(MODEL, began)
        assert {answer.version for answer in answers if answer.status == 200} == {2}
        statuses = dict(Counter(answer.status for answer in failed(answers)))
        print(f"{what}: {len(answers)} asked, {len(failed(answers))} failed {statuses}, the last {seconds:.1f} s after it")
    wait_for("the API server", lambda: True if _is_there(loop) else None, timeout_seconds=60)


def _is_there(loop: Loop) -> bool:
    try:
        return bool(loop.pods("models", MODEL))
    except subprocess.CalledProcessError:  # kubectl finds no API server yet
        return False


def test_a_model_removed_from_git_is_pruned(story: Story, tmp_path: Path) -> None:
    loop = story.loop
    story.phones[OTHER].stop()
    clone = tmp_path / "clone"
    git = ["git", "-c", "user.name=owner", "-c", "user.email=owner@localhost"]
    subprocess.run([*git, "clone", "--quiet", f"{loop.forge_url}/{REPOSITORY}.git", str(clone)], check=True)
    subprocess.run([*git, "rm", "-r", "--quiet", f"gitops/models/{OTHER}", f"gitops/clusters/local/{OTHER}.yaml"], cwd=clone, check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", f"{OTHER} is retired"], cwd=clone, check=True)
    subprocess.run([*git, "push", "--quiet", f"http://x:{loop.token}@{loop.forge_url.removeprefix('http://')}/{REPOSITORY}.git", "main"], cwd=clone, check=True)
    wait_for(f"no pod of {OTHER}", lambda: True if not loop.pods("models", OTHER) else None, timeout_seconds=120)
    assert loop.pods("models", MODEL)
