"""What runs, as the cluster tells it: a Deployment's JSON read over HTTP, and what it says about one image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True)
class RolloutStatus:
    """How far the cluster is with one image, at the moment of asking."""

    state: Literal["healthy", "progressing", "failed", "absent"]
    """`failed` is the cluster's own word; `absent` is no Deployment at all. The deadline is not known here."""
    reason: str
    """A sentence for people; for `failed` it carries the cluster's message."""


class Rollout(Protocol):
    """The cluster, read only."""

    def status(self, model: str, image: str) -> RolloutStatus:
        """What the Deployment of a model says about an image (repository and digest).

        Healthy: its template runs the image, the generation is observed, and updated = replicas = available are at least 1.

        Raises:
            promote.errors.ClusterUnavailable: It did not answer: nothing is known.
            promote.errors.ClusterRefused: It refused the credentials or the question.
        """
