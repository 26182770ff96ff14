"""A verdict as MLflow keeps it: files in the challenger's run, and a tag of its version.

Only this file writes and reads the tag. The tag is written last: a verdict without a tag is judged
again.
"""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime

from pydantic import AwareDatetime, ValidationError

from promote.contract import Outcome, Release, Verdict
from promote.errors import ArtifactNotFound, InvalidArtifact
from promote.evidence.port import Judged
from promote.registry.port import ModelRegistry, ModelVersion
from retrain.contract import Contract, Digest, utc_text

_PREFIX, _FILE = "verdict.", "verdict.json"
_MOST_LETTERS = 1000
"""Of the sentence; MLflow limits a tag's value."""


class VerdictTag(Contract):
    """The value of the tag; the digest leads to the whole verdict."""

    digest: Digest
    outcome: Outcome
    sentence: str
    """The reason that decided."""
    at: AwareDatetime
    """When the gate judged."""


def tag_name(
    challenger: ModelVersion | Release, champion: Release | None, policy_digest: str
) -> str:
    """Return the tag's name for a challenger over the release on main, under main's policy.

    Such as `verdict.aaaaaaaaaaaa.over-none.by-bbbbbbbbbbbb`, of the three digests.
    """
    over = "none" if champion is None else short_digest(champion.model_digest)
    by = short_digest(policy_digest)
    return f"{_PREFIX}{short_digest(challenger.model_digest)}.over-{over}.by-{by}"


def verdict_tags(version: ModelVersion) -> dict[str, VerdictTag]:
    """Return the version's verdicts by the tag's name; ignore values that promote did not write."""
    tags = {}
    for name, text in version.tags.items():
        if name.startswith(_PREFIX):
            with suppress(ValidationError):
                tags[name] = VerdictTag.model_validate_json(text)
    return tags


def short_digest(digest: str) -> str:
    """Return a digest's first 12 digits: the name of a verdict's folder in the run's evidence."""
    return digest.removeprefix("sha256:")[:12]


class KeptVerdicts:
    """Writes and reads verdicts; remembers the verdicts that were read, by their digest."""

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry
        self._verdicts: dict[str, Verdict] = {}

    def keep(self, version: ModelVersion, name: str, judged: Judged, at: datetime) -> None:
        """Write the run's figures and files, then the tag `name`."""
        verdict = judged.verdict
        value = {
            "digest": verdict.digest,
            "outcome": verdict.outcome,
            "sentence": verdict.reasons[0].sentence[:_MOST_LETTERS] if verdict.reasons else "",
            "at": utc_text(at),
        }
        self._registry.log_metrics(version, judged.figures)
        self._registry.log_evidence(version, short_digest(verdict.digest), judged.files)
        text = json.dumps(value, sort_keys=True)
        self._registry.tag(version.model, version.version, name, text)

    def read(self, version: ModelVersion, tag: VerdictTag) -> Verdict:
        """Return the whole verdict of a tag.

        Raises:
            InvalidArtifact: The file is missing or is not what promote wrote.
        """
        if tag.digest not in self._verdicts:
            which = f"verdict {tag.digest} of version {version.version} of {version.model}"
            fix = f"Delete the version's tags `{_PREFIX}…` in MLflow, and promote judges it again."
            try:
                content = self._registry.read_evidence(version, short_digest(tag.digest), _FILE)
                verdict = Verdict.model_validate_json(content)
            except (ArtifactNotFound, ValidationError) as error:
                raise InvalidArtifact(f"Reading {which} failed: {error}. {fix}") from error
            if verdict.digest != tag.digest:
                raise InvalidArtifact(f"The file of {which} has digest {verdict.digest}. {fix}")
            self._verdicts[tag.digest] = verdict
        return self._verdicts[tag.digest]
