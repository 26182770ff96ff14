"""The one place where the real parts are put together from the settings.

An adapter is loaded by name when it is needed: MLflow's client alone takes seconds, and a command
that needs the forge alone must not wait for it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from promote.forge.port import Forge
from promote.forge.status_memory import StatusMemory
from promote.loop.observer import Parts
from promote.registry.port import ModelRegistry
from promote.settings import ForgeSettings, MlflowSettings, PromoteSettings

if TYPE_CHECKING:
    from promote.forge.mirror import Mirror


def open_forge(settings: PromoteSettings) -> Forge:
    """Return the forge alone. Nothing is asked yet."""
    forge: Forge = import_module("promote.forge.github").GitHubForge.from_settings(settings)
    return forge


def open_registry(settings: MlflowSettings) -> ModelRegistry:
    """Return MLflow alone. Nothing is asked yet."""
    registry: ModelRegistry = import_module("promote.registry.mlflow").open_model_registry(
        settings.tracking_url, public_url=settings.public_tracking_url
    )
    return registry


def open_mirror(settings: ForgeSettings, folder: Path) -> Mirror:
    """Return a mirror of main in `folder`. Nothing is fetched yet."""
    url = import_module("promote.forge.github").git_url(settings.forge_url, settings.repository)
    mirror: Mirror = import_module("promote.forge.mirror").Mirror(
        folder,
        url,
        settings.forge_token.get_secret_value(),
        branch=settings.branch,
        timeout_seconds=settings.request_timeout_seconds,
    )
    return mirror


def open_parts(settings: PromoteSettings) -> Parts:
    """Return the outside parts that the settings name. Nothing is asked yet.

    Raises:
        UnsupportedRegistry: PROMOTE_IMAGES or PROMOTE_BASE_IMAGE cannot be used by this version.
        ModelRegistryRefused: PROMOTE_TRACKING_URL is no http address.
        ClusterRefused: PROMOTE_CLUSTER_URL names credentials that are not there.
    """
    cluster = import_module("promote.cluster.kubernetes")
    images = import_module("promote.images.opening")
    return Parts(
        forge=open_forge(settings),
        rollout=cluster.KubernetesRollout(
            settings.cluster_url,
            namespace=settings.namespace,
            timeout_seconds=settings.request_timeout_seconds,
        ),
        registry=open_registry(settings),
        images=images.open_image_registry(
            settings.images,
            base_image=settings.base_image,
            user=settings.images_user,
            password=settings.images_password.get_secret_value(),
            pull_host=settings.images_pull_host,
        ),
        clock=lambda: datetime.now(UTC),
        environment=settings.environment,
        image_prefix=settings.image_prefix,
        deadline=timedelta(seconds=settings.rollout_deadline_seconds),
        memory=StatusMemory(settings.mirror_folder.with_suffix(".statuses.json")),
    )
