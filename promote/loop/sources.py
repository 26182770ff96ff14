"""Where an observation gets what MLflow, the cluster and the image registry hold.

`Direct` asks about one model. `Lists` asks once about all models, for a whole pass: the number of
calls does not grow with the number of models. The first look of a pass at a model uses the lists.
After an act, the model is looked at directly.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import TypeVar

from promote.cluster.port import Rollout, RolloutStatus
from promote.errors import PromoteError
from promote.images.port import ImageRegistry
from promote.registry.port import ModelRegistry, ModelVersion, RegisteredModel

_Value = TypeVar("_Value")
_MOST_IMAGES_CHECKED = 5
"""Of the images that were there before, in one pass: all are checked again in turn."""


class Direct:
    """Asks about one model at a time."""

    def __init__(self, registry: ModelRegistry, rollout: Rollout, images: ImageRegistry) -> None:
        self.registry, self.rollout, self.images = registry, rollout, images

    def challenger(self, model: str) -> ModelVersion | None:
        """Return the version with alias `challenger`."""
        return self.registry.challenger(model)

    def champion(self, model: str) -> int | None:
        """Return the number of the version with alias `champion`."""
        champion = self.registry.champion(model)
        return champion.version if champion else None

    def version(self, model: str, number: int) -> ModelVersion:
        """Return one version."""
        return self.registry.version(model, number)

    def status(self, model: str, image: str) -> RolloutStatus:
        """Return how far the cluster is with an image."""
        return self.rollout.status(model, image)

    def image(self, repository: str, tag: str) -> str | None:
        """Return the digest of an image; None when there is none."""
        return self.images.find(repository, tag)


class ImageMemory:
    """Digests of images that were there, oldest check first. Images rarely go away."""

    def __init__(self) -> None:
        self.digests: dict[tuple[str, str], str] = {}

    def due(self) -> frozenset[tuple[str, str]]:
        """Return the images that this pass checks again."""
        return frozenset(islice(self.digests, _MOST_IMAGES_CHECKED))

    def put(self, key: tuple[str, str], digest: str | None) -> None:
        """Keep the answer of a check."""
        self.digests.pop(key, None)
        if digest is not None:
            self.digests[key] = digest


class Lists(Direct):
    """What the lists of one pass say. A list that failed fails for each model, without a call."""

    def __init__(self, direct: Direct, images: Mapping[str, str], memory: ImageMemory) -> None:
        """Read the lists.

        Args:
            direct: The parts.
            images: For each model the image that main names.
            memory: Outlives the pass.
        """
        super().__init__(direct.registry, direct.rollout, direct.images)
        self._images, self._memory, self._due = dict(images), memory, memory.due()
        self._models: Mapping[str, RegisteredModel] | PromoteError
        self._statuses: Mapping[str, RolloutStatus] | PromoteError
        try:
            self._models = self.registry.registered_models()
        except PromoteError as error:
            self._models = error
        try:
            self._statuses = self.rollout.statuses(images) if images else {}
        except PromoteError as error:
            self._statuses = error

    def challenger(self, model: str) -> ModelVersion | None:
        """Return the version with alias `challenger`."""
        listed = self._listed(model)
        if listed is None:
            return super().challenger(model)
        return None if listed.challenger is None else self.version(model, listed.challenger)

    def champion(self, model: str) -> int | None:
        """Return the number of the version with alias `champion`."""
        listed = self._listed(model)
        return super().champion(model) if listed is None else listed.champion

    def version(self, model: str, number: int) -> ModelVersion:
        """Return one version: from the list when it is the newest."""
        listed = self._listed(model)
        newest = listed.newest if listed else None
        return newest if newest and newest.version == number else super().version(model, number)

    def status(self, model: str, image: str) -> RolloutStatus:
        """Return how far the cluster was with an image when the pass began."""
        if self._images.get(model) != image:
            return super().status(model, image)
        return _answered(self._statuses)[model]

    def image(self, repository: str, tag: str) -> str | None:
        """Return the digest of an image: from memory, unless its check is due."""
        key = (repository, tag)
        if key in self._memory.digests and key not in self._due:
            return self._memory.digests[key]
        digest = super().image(repository, tag)
        self._memory.put(key, digest)
        return digest

    def _listed(self, model: str) -> RegisteredModel | None:
        """Return the model's entry; None when the list lacks it: we may not see the model."""
        return _answered(self._models).get(model)


def _answered(answer: Mapping[str, _Value] | PromoteError) -> Mapping[str, _Value]:
    if isinstance(answer, PromoteError):
        raise answer
    return answer
