"""Where an observation gets what MLflow, the cluster and the image registry hold.

`Direct` asks about one model. `Lists` asks once about all models, for a whole pass: the number of
calls does not grow with the number of models. The first look of a pass at a model uses the lists.
After an act, the model is looked at directly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import TypeVar

from promote.cluster.port import Rollout, RolloutStatus
from promote.errors import PromoteError
from promote.images.port import ImageRegistry
from promote.registry.port import ModelRegistry, ModelVersion, RegisteredModel

_Value = TypeVar("_Value")
ImageMemory = dict[tuple[str, str], str]
"""Digests of images that were there, by repository and tag; oldest check first."""
_MOST_IMAGES_CHECKED = 5
"""Of the images that were there, in one pass: images rarely go away. All get their turn."""


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
        self._images, self._memory = dict(images), memory
        self._due = frozenset(islice(memory, _MOST_IMAGES_CHECKED))
        self._models = _answer_or_error(self.registry.registered_models)
        self._statuses = _answer_or_error(lambda: self.rollout.statuses(images) if images else {})

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
        if key in self._memory and key not in self._due:
            return self._memory[key]
        digest = super().image(repository, tag)
        self._memory.pop(key, None)
        if digest is not None:
            self._memory[key] = digest
        return digest

    def _listed(self, model: str) -> RegisteredModel | None:
        """Return the model's entry; None when the list lacks it: we may not see the model."""
        return _answered(self._models).get(model)


def _answer_or_error(
    ask: Callable[[], Mapping[str, _Value]],
) -> Mapping[str, _Value] | PromoteError:
    try:
        return ask()
    except PromoteError as error:
        return error


def _answered(answer: Mapping[str, _Value] | PromoteError) -> Mapping[str, _Value]:
    if isinstance(answer, PromoteError):
        raise answer
    return answer
