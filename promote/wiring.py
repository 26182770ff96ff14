"""The one place where the real parts are put together from the settings. Each function loads the clients it needs, MLflow's takes seconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from promote.settings import PromoteSettings

if TYPE_CHECKING:
    from promote.forge.port import Forge
    from promote.loop.observer import Parts
    from promote.loop.reconciler import Reconciler


def open_forge(settings: PromoteSettings) -> Forge:
    """Return the forge alone, for questions that need nothing else; nothing is asked yet."""
    from promote.forge.github import GitHubForge  # noqa: PLC0415 - slow to load

    return GitHubForge.from_settings(settings)


def open_parts(settings: PromoteSettings) -> Parts:
    """Return the outside parts that the settings name; nothing is asked yet.

    Raises:
        UnsupportedRegistry: PROMOTE_IMAGES or PROMOTE_BASE_IMAGE names what this version cannot use.
        ModelRegistryRefused: PROMOTE_TRACKING_URL is no http address.
        ClusterRefused: PROMOTE_CLUSTER_URL names credentials that are not there.
    """
    from promote.cluster.kubernetes import KubernetesRollout  # noqa: PLC0415 - slow to load
    from promote.images.opening import open_image_registry  # noqa: PLC0415 - slow to load
    from promote.loop.observer import Parts  # noqa: PLC0415 - slow to load
    from promote.registry.mlflow import open_model_registry  # noqa: PLC0415 - slow to load

    return Parts(
        forge=open_forge(settings),
        rollout=KubernetesRollout.from_settings(settings),
        registry=open_model_registry(
            settings.tracking_url, public_url=settings.public_tracking_url
        ),
        images=open_image_registry(
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
    )


def open_reconciler(settings: PromoteSettings) -> tuple[Parts, Reconciler]:
    """Return the parts and the reconciler over them; raises as `open_parts` does."""
    from promote.evidence.judging import EvidenceJudge  # noqa: PLC0415 - slow to load
    from promote.loop.reconciler import Reconciler  # noqa: PLC0415 - slow to load

    parts = open_parts(settings)
    return parts, Reconciler(parts, EvidenceJudge(parts.registry))
