"""release.yaml to the byte, the names of branches, and the files, title and body of a promotion's pull request. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from promote.contract import Purpose, Release, Verdict
from promote.errors import InvalidName, InvalidRelease
from retrain.contract import digest_of_json, problem_with_model_name

_MOST_LINES = 78
_BRANCH = re.compile(
    r"(?:(rollback|revert)-to-)?v([1-9]\d*)-(?:over-([0-9a-f]{12})|first)(?:-by-([0-9a-f]{8}))?"
)

_RELEASE = """\
# Written by promote. Changed by pull requests only: what this file says on main is what runs.
apiVersion: v1
kind: ConfigMap
metadata:
  name: release
  annotations:
    config.kubernetes.io/local-config: "true"
data:
  image: "{image}"
  model_digest: "{model_digest}"
  verdict: "{verdict}"
  version: "{version}"
"""

_KUSTOMIZATION = """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: models
nameSuffix: -{model}
resources:
  - ../../base
  - release.yaml
components:
  - ../../release
labels:
  - pairs:
      app.kubernetes.io/name: {model}
    includeSelectors: true
replicas:
  - name: server
    count: {replicas}
"""

_FLUX = """\
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata:
  name: {model}
  namespace: flux-system
spec:
  dependsOn:
    - name: platform
  interval: 10m
  retryInterval: 30s
  timeout: 3m
  path: ./gitops/models/{model}/{environment}
  prune: true
  wait: true
  sourceRef:
    kind: GitRepository
    name: ratchet
"""


def release_path(model: str, environment: str) -> str:
    """Return where main names the release of a model."""
    return f"gitops/models/{check_model(model)}/{environment}/release.yaml"


def check_model(model: str) -> str:
    """Return a model's name.

    Raises:
        InvalidName: It could mean something else in a path, a branch or a URL.
    """
    if problem := problem_with_model_name(model):
        raise InvalidName(f"{model[:80]!r} {problem}.")
    return model


def render(release: Release) -> bytes:
    """Return the bytes of release.yaml; a function of the release."""
    return _RELEASE.format(
        image=release.image,
        model_digest=release.model_digest,
        verdict=release.verdict_digest,
        version=release.version,
    ).encode()


def parse(content: bytes, model: str) -> Release:
    """Return the release that the bytes of release.yaml name: exactly what `render` writes, nothing looser.

    Raises:
        InvalidRelease: Anything else.
    """
    values = dict(
        re.findall(
            r'^  (image|model_digest|verdict|version): "([^"\n\\]*)"$',
            content.decode(errors="replace"),
            flags=re.MULTILINE,
        )
    )
    try:
        release = Release(
            model=model,
            version=int(values["version"]),
            image=values["image"],
            model_digest=values["model_digest"],
            verdict_digest=values["verdict"],
        )
    except (KeyError, ValueError, ValidationError) as error:
        raise InvalidRelease(
            f"release.yaml of {model} lacks, or has badly, one of image, model_digest, verdict, version. Revert the commit."
        ) from error
    if render(release) != content or not re.fullmatch(
        r"[\w./:-]+@sha256:[0-9a-f]{64}", release.image
    ):
        raise InvalidRelease(
            f"release.yaml of {model} is not in the form that promote writes. Revert the commit."
        )
    return release


def first_files(model: str, environment: str, *, replicas: int = 2) -> dict[str, bytes]:
    """Return what the first pull request of a model adds beside release.yaml: its kustomization and its Flux object."""
    return {
        f"gitops/models/{model}/{environment}/kustomization.yaml": _KUSTOMIZATION.format(
            model=model, replicas=replicas
        ).encode(),
        f"gitops/clusters/{environment}/{model}.yaml": _FLUX.format(
            model=model, environment=environment
        ).encode(),
    }


def verdict_digest(verdict: Verdict) -> str:
    """Return the verdict's content address: what release.yaml and the registry's tag carry."""
    return digest_of_json(verdict.model_dump(mode="json"))


def verdict_name(challenger: str, champion: str | None, policy: str) -> str:
    """Return the name under which a verdict is kept: the contents of challenger and champion, and the policy.

    >>> verdict_name("sha256:" + "a" * 64, None, "sha256:" + "b" * 64)
    'verdict.aaaaaaaaaaaa.over-none.by-bbbbbbbbbbbb'
    """
    over = "none" if champion is None else _short(champion)
    return f"verdict.{_short(challenger)}.over-{over}.by-{_short(policy)}"


def evidence_name(digest: str) -> str:
    """Return the folder's name of a verdict among its run's evidence."""
    return _short(digest)


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]


def short_policy(policy_digest: str) -> str:
    """Return a policy's digest as branches write it: the first 8 digits."""
    return policy_digest.removeprefix("sha256:")[:8]


@dataclass(frozen=True)
class BranchName:
    """What a branch of ours is for. Branches are written once, so all that decides its bytes is in its name."""

    purpose: Purpose
    version: int
    base_commit: str | None
    """The first 12 digits of the commit naming M; None for a first release."""
    policy: str | None = None
    """The first 8 digits of the policy's digest; None for a way back, and in names of earlier versions of promote."""

    def text(self, model: str, environment: str) -> str:
        """The whole name.

        >>> BranchName("promotion", 9, "0123456789abcdef", "76543210").text("flight-delay", "production")
        'ratchet/flight-delay/production/v9-over-0123456789ab-by-76543210'
        """
        verb = "" if self.purpose == "promotion" else f"{self.purpose}-to-"
        over = f"over-{self.base_commit[:12]}" if self.base_commit else "first"
        policy = f"-by-{self.policy}" if self.policy else ""
        return f"{branch_prefix(model, environment)}{verb}v{self.version}-{over}{policy}"


def branch_prefix(model: str, environment: str) -> str:
    """Return how all branches of a model in an environment begin."""
    return f"ratchet/{model}/{environment}/"


def parse_branch(name: str, model: str, environment: str) -> BranchName | None:
    """Return what a branch is for; None when promote would not name one so.

    >>> parse_branch("ratchet/m/production/rollback-to-v7-over-0123456789ab", "m", "production")
    BranchName(purpose='rollback', version=7, base_commit='0123456789ab', policy=None)
    """
    prefix = branch_prefix(model, environment)
    match = _BRANCH.fullmatch(name.removeprefix(prefix))
    if match is None or not name.startswith(prefix):
        return None
    purposes: dict[str | None, Purpose] = {"rollback": "rollback", "revert": "revert"}
    return BranchName(purposes.get(match[1], "promotion"), int(match[2]), match[3], match[4])


def title(verdict: Verdict) -> str:
    """Return a pull request's title: `flight-delay v8: log loss improves by 0.013 [0.006, 0.019]`."""
    from promote.gate.words import difference  # noqa: PLC0415 - scipy takes a second, and most commands write no pull request

    found = difference(verdict.comparisons[0]) if verdict.comparisons else "without figures"
    return f"{verdict.model} v{verdict.challenger}: {found}"


def body(
    verdict: Verdict, *, owner: str, recipe: str, links: Sequence[tuple[str, str]], release: Release
) -> str:
    """Return a pull request's body, under 80 lines.

    Args:
        verdict: What the gate said.
        owner: Whom the forge asks to look, by naming them.
        recipe: What changed in the recipe since the champion, as a sentence.
        links: Runs, comparison, evidence, as (what, URL).
        release: What would run.
    """
    from promote.gate.words import explanation  # noqa: PLC0415 - see above

    tail = [
        "",
        f"**Recipe**: {recipe}",
        "**Look further**: " + " · ".join(f"[{what}]({url})" for what, url in links),
        f"**Ships**: `{release.image}` · verdict `{release.verdict_digest}`",
        f'**Undo**, after the merge: `promote rollback {verdict.model} --reason "…"`, or revert the commit.',
        "",
        f"{owner}, please review. Merging this rolls it out; promote never merges. Closing it without merging is a no to this version.",
    ]
    lines = explanation(verdict).rstrip().splitlines()
    room = _MOST_LINES - len(tail)
    if len(lines) > room:
        lines = [
            *lines[: room - 2],
            "",
            f"… {len(lines) - room + 2} more lines: `promote explain {verdict.model} {verdict.challenger}`",
        ]
    return "\n".join([*lines, *tail]) + "\n"


def rollback_body(*, model: str, now: int | None, to: Release, reason: str, served: str) -> str:
    """Return the body of a pull request that goes back.

    Args:
        model: Its name.
        now: The version that main names.
        to: What served before.
        reason: A person's, or the rollout's.
        served: When `to` was last seen healthy.
    """
    return (
        f"Back from {f'version {now}' if now else 'what main names'} to version {to.version} of {model}, which was seen healthy {served}.\n\n"
        f"**Reason**: {reason}\n**Ships**: `{to.image}`, byte for byte what was released before.\n\n"
        "Merging this rolls it out. The version left behind has had its turn and is not proposed again.\n"
    )
