"""A cluster in memory: tests say what it would answer for an image."""

from __future__ import annotations

from dataclasses import dataclass, field

from promote.cluster.port import RolloutStatus


@dataclass
class FakeRollout:
    """Answers `progressing` for an image that it was told nothing about, `absent` while it was told nothing at all about the model."""

    told: dict[str, dict[str, RolloutStatus]] = field(default_factory=dict)

    def status(self, model: str, image: str) -> RolloutStatus:
        if model not in self.told:
            return RolloutStatus("absent", f"the cluster has no Deployment server-{model} yet")
        return self.told[model].get(
            image, RolloutStatus("progressing", f"the Deployment does not run {image} yet")
        )

    def becomes_healthy(self, model: str, image: str) -> None:
        """The Deployment runs this image alone, and all of it is available."""
        self.told[model] = {
            image: RolloutStatus("healthy", "1 of 1 replicas run it and are available")
        }

    def fails(
        self, model: str, image: str, reason: str = "ProgressDeadlineExceeded: it crashed"
    ) -> None:
        """The cluster gives this image up."""
        self.told[model] = {image: RolloutStatus("failed", reason)}
