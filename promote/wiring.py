"""The one place where the real parts are put together from the settings. Importing it loads MLflow's and GitHub's clients: seconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from promote.github_forge import GitHubForge
from promote.image_registry import open_image_registry
from promote.judging import EvidenceJudge
from promote.kubernetes_rollout import KubernetesRollout
from promote.model_registry import open_model_registry
from promote.observing import Parts
from promote.reconciler import Reconciler
from promote.settings import PromoteSettings


def open_parts(settings: PromoteSettings) -> Parts:
    """Return the outside parts that the settings name; nothing is asked yet.

    Raises:
        UnsupportedRegistry: PROMOTE_IMAGES or PROMOTE_BASE_IMAGE names what this version cannot use.
        ModelRegistryRefused: PROMOTE_TRACKING_URL is no http address.
        ClusterRefused: PROMOTE_CLUSTER_URL names credentials that are not there.
    """
    return Parts(
        forge=GitHubForge.from_settings(settings),
        rollout=KubernetesRollout.from_settings(settings),
        registry=open_model_registry(settings.tracking_url, public_url=settings.public_tracking_url),
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
    parts = open_parts(settings)
    return parts, Reconciler(parts, EvidenceJudge(parts.registry))
