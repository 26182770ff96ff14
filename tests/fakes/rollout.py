"""A cluster in memory. A test sets what the cluster answers for an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from promote.cluster.port import RolloutStatus, deployment_name


@dataclass
class FakeRollout:
    """Answers `absent` for a model without an answer, `progressing` for another image of a model.

    `calls` counts the calls of `statuses`: each stands for one list of Deployments and one of pods.
    """

    answers: dict[str, dict[str, RolloutStatus]] = field(default_factory=dict)
    calls: int = 0

    def statuses(self, images: Mapping[str, str]) -> dict[str, RolloutStatus]:
        self.calls += 1
        return {model: self._status(model, image) for model, image in images.items()}

    def status(self, model: str, image: str) -> RolloutStatus:
        return self.statuses({model: image})[model]

    def becomes_healthy(self, model: str, image: str) -> None:
        """The Deployment runs only this image, and all its replicas are available."""
        self.answers[model] = {
            image: RolloutStatus("healthy", "1 of 1 replicas run it and are available")
        }

    def fails(
        self, model: str, image: str, reason: str = "ProgressDeadlineExceeded: it crashed"
    ) -> None:
        """The cluster gives up on this image."""
        self.answers[model] = {image: RolloutStatus("failed", reason)}

    def _status(self, model: str, image: str) -> RolloutStatus:
        if model not in self.answers:
            return RolloutStatus(
                "absent", f"the cluster has no Deployment {deployment_name(model)}"
            )
        progressing = RolloutStatus("progressing", f"the Deployment does not run {image} yet")
        return self.answers[model].get(image, progressing)
