"""A verdict as MLflow keeps it: files in the challenger's run, and a tag of the challenger's version.

Only this file writes and reads the tag. The tag is written last: a verdict without a tag is judged
again.
"""

from __future__ import annotations

import json
from datetime import datetime

from pydantic import AwareDatetime, ValidationError

from promote.contract import Outcome, Release, Verdict
from promote.errors import ArtifactNotFound, InvalidArtifact
from promote.evidence.port import Judged
from promote.registry.port import ModelRegistry, ModelVersion
from retrain.contract import Contract, Digest, utc_text
from retrain.spec.model_file import ModelSpec

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


def tag_name(challenger: str, champion: str | None, policy: str) -> str:
    """Return the tag's name for a challenger over a champion under a policy, all as digests.

    >>> tag_name("sha256:" + "a" * 64, None, "sha256:" + "b" * 64)
    'verdict.aaaaaaaaaaaa.over-none.by-bbbbbbbbbbbb'
    """
    over = "none" if champion is None else _short(champion)
    return f"{_PREFIX}{_short(challenger)}.over-{over}.by-{_short(policy)}"


def tag_for(challenger: ModelVersion, champion: Release | None, spec: ModelSpec) -> str:
    """Return the tag's name for a challenger over the release on main, under main's policy."""
    return tag_name(
        challenger.model_digest,
        champion.model_digest if champion else None,
        spec.gate.policy_digest,
    )


def verdict_tags(version: ModelVersion) -> dict[str, VerdictTag]:
    """Return the version's verdicts by the tag's name; a value that promote did not write is left out."""
    texts = {name: text for name, text in version.tags.items() if name.startswith(_PREFIX)}
    values = {name: _parsed(text) for name, text in texts.items()}
    return {name: value for name, value in values.items() if value}


def evidence_folder(digest: str) -> str:
    """Return where in the run's evidence the files of a verdict lie."""
    return _short(digest)


class KeptVerdicts:
    """Writes and reads verdicts; remembers the verdicts that were read, by their digest."""

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry
        self._verdicts: dict[str, Verdict] = {}

    def keep(self, version: ModelVersion, name: str, judged: Judged, at: datetime) -> None:
        """Write the run's figures and files, then the tag `name`."""
        verdict, registry = judged.verdict, self._registry
        registry.log_metrics(version, judged.figures)
        registry.log_evidence(version, evidence_folder(verdict.digest), judged.files)
        value = {
            "digest": verdict.digest,
            "outcome": verdict.outcome,
            "sentence": verdict.reasons[0].sentence[:_MOST_LETTERS] if verdict.reasons else "",
            "at": utc_text(at),
        }
        registry.tag(version.model, version.version, name, json.dumps(value, sort_keys=True))

    def find(self, version: ModelVersion, name: str) -> VerdictTag | None:
        """Return the tag's value; None without such a tag.

        Raises:
            InvalidArtifact: The value is not what promote wrote.
        """
        if name not in version.tags:
            return None
        if tag := _parsed(version.tags[name]):
            return tag
        raise _invalid(version, f"Tag {name} is not in the form that promote writes")

    def read(self, version: ModelVersion, tag: VerdictTag) -> Verdict:
        """Return the whole verdict of a tag.

        Raises:
            InvalidArtifact: The file is missing or is not what promote wrote.
        """
        digest = tag.digest
        if digest not in self._verdicts:
            try:
                content = self._registry.read_evidence(version, evidence_folder(digest), _FILE)
                verdict = Verdict.model_validate_json(content)
            except (ArtifactNotFound, ValidationError) as error:
                raise _invalid(version, f"Verdict {digest} cannot be read: {error}") from error
            if verdict.digest != digest:
                raise _invalid(version, f"{_FILE} should be {digest} and is {verdict.digest}")
            self._verdicts[digest] = verdict
        return self._verdicts[digest]


def _parsed(text: str) -> VerdictTag | None:
    try:
        return VerdictTag.model_validate_json(text)
    except ValidationError:
        return None


def _invalid(version: ModelVersion, problem: str) -> InvalidArtifact:
    which = f"version {version.version} of {version.model}"
    fix = f"Delete the tags `{_PREFIX}…` of {which} in MLflow, and promote judges it again."
    return InvalidArtifact(f"{problem} ({which}). {fix}")


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]
