"""Images in memory."""

from __future__ import annotations

from promote.errors import ImageRegistryRefused, ImageRegistryUnavailable, InvalidImage
from promote.images.image import Image
from promote.images.layer import read_model_layer
from promote.images.names import check_digest, check_repository, check_tag, image_reference


class FakeImageRegistry:
    """An ImageRegistry in memory.

    `is_down` makes every call an outage. `pushed` lists the repository and tag of each new image.
    """

    def __init__(self) -> None:
        self.is_down = False
        self.pushed: list[tuple[str, str]] = []
        self._images: dict[tuple[str, str], Image] = {}
        self._tags: dict[tuple[str, str], str] = {}

    def base_image(self) -> None:
        """The empty image."""

    def reference(self, repository: str, digest: str) -> str:
        """Repository and digest."""
        return image_reference(repository, digest)

    def find(self, repository: str, tag: str) -> str | None:
        """The digest that a tag names."""
        self._observe()
        return self._tags.get((check_repository(repository), check_tag(tag)))

    def push(self, repository: str, image: Image, *, tag: str) -> str:
        """Keep an image, then its tag."""
        self._observe()
        key = (check_repository(repository), check_tag(tag))
        if self._tags.get(key, image.digest) != image.digest:
            raise ImageRegistryRefused(f"tag {tag} of {repository} already names {self._tags[key]}")
        if image.base_layers:
            raise ImageRegistryRefused(f"{repository} lacks the layers of the base image")
        if (repository, image.digest) not in self._images:
            self.pushed.append((repository, tag))
        self._images[repository, image.digest] = image
        self._tags[key] = image.digest
        return image.digest

    def lose(self) -> None:
        """Forget every image, as an operator's wrong command does."""
        self._images.clear()
        self._tags.clear()

    def model_folder(self, repository: str, digest: str) -> dict[str, bytes]:
        """The files of an image's model layer."""
        self._observe()
        image = self._images.get((check_repository(repository), check_digest(digest)))
        if image is None:
            raise InvalidImage(f"{repository} has no image {digest}")
        return read_model_layer(image.model_layer.content)

    def _observe(self) -> None:
        if self.is_down:
            raise ImageRegistryUnavailable("the image registry does not answer")
