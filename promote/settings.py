"""What an operator sets by environment, with prefix PROMOTE_.

Nothing else of promote reads the environment.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from retrain.environment import header_secret, plain_address, settings_from


def _tracking_address(address: str) -> str:
    try:
        return plain_address(address) if address else address
    except ValueError as problem:
        raise ValueError(
            f"{problem}; a login goes to MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        ) from None


def _images(place: str) -> str:
    """Refuse a login. `promote/images/opening.py` checks the rest."""
    if not re.match(r"oci-layout:|https?://|ecr:", place):
        raise ValueError(
            "write oci-layout:/an/absolute/folder, https://<host>[/prefix] or "
            "ecr:<account>.dkr.ecr.<region>.amazonaws.com[/prefix]"
        )
    if not place.startswith("oci-layout:") and re.search(r"[@?#\s]", place):
        raise ValueError(
            "it may hold no user, password or query; a login goes to PROMOTE_IMAGES_USER and "
            "PROMOTE_IMAGES_PASSWORD"
        )
    return place


def _base_image(reference: str) -> str:
    if reference and not re.fullmatch(r"[^@?#\s]+@sha256:[0-9a-f]{64}", reference):
        raise ValueError(
            "write <repository>@sha256:<digest> or https://<host>/<repository>@sha256:<digest>, "
            "without user or password"
        )
    return reference


def _cluster(place: str) -> str:
    try:
        return (
            place if re.fullmatch(r"in-cluster|kubeconfig(:.+)?", place) else plain_address(place)
        )
    except ValueError as problem:
        raise ValueError(
            "write in-cluster, kubeconfig or kubeconfig:<context>; or "
            f"{str(problem).removeprefix('write ')}"
        ) from None


_CONFIG = SettingsConfigDict(
    env_prefix="PROMOTE_", frozen=True, extra="forbid", hide_input_in_errors=True
)
_Kind = TypeVar("_Kind", bound=BaseSettings)
TrackingAddress = Annotated[str, AfterValidator(_tracking_address)]


class MlflowSettings(BaseSettings):
    """MLflow alone: all that `promote judge --local` needs."""

    model_config = _CONFIG

    tracking_url: TrackingAddress
    """MLflow's root."""
    public_tracking_url: TrackingAddress = ""
    """MLflow's root as a person's browser reaches it; empty means `tracking_url`."""


class ForgeSettings(BaseSettings):
    """The forge alone: all that `promote mirror` needs."""

    model_config = _CONFIG

    forge_url: Annotated[str, AfterValidator(plain_address)] = "https://api.github.com"
    """REST root; on the laptop `http://127.0.0.1:<port>/api/v3`."""
    forge_token: Annotated[SecretStr, header_secret()]
    repository: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    """Owner and name of the repository whose `branch` says what should run."""
    branch: str = "main"
    request_timeout_seconds: float = Field(default=15.0, gt=0)
    """One call to forge or cluster; longer is an outage."""


class PromoteSettings(ForgeSettings, MlflowSettings):
    """One promote service per environment. Defaults are for production; the laptop sets its own."""

    environment: str = Field(default="production", pattern=r"^[a-z0-9-]+$")
    images: Annotated[str, AfterValidator(_images)]
    """The image registry: `https://<host>[/prefix]`, or
    `ecr:<account>.dkr.ecr.<region>.amazonaws.com[/prefix]`, or on the laptop a folder,
    `oci-layout:/absolute/folder`."""
    images_user: str = ""
    """Sent to a registry over HTTP that asks for a login. ECR uses AWS's own login."""
    images_password: SecretStr = SecretStr("")
    images_pull_host: str = Field(default="", pattern=r"^[a-z0-9.:-]*$")
    """The registry as the cluster reaches it; empty means the host of `images`."""
    image_prefix: str = "ratchet"
    """An image is `<prefix>/<model>@sha256:…`."""
    base_image: Annotated[str, AfterValidator(_base_image)] = ""
    """The image below the model layer: `<repository>@sha256:…` in the registry of `images`, or
    `https://<host>/<repository>@sha256:…`. Empty means an empty image."""
    cluster_url: Annotated[str, AfterValidator(_cluster)]
    """`in-cluster` (the pod's own account), `kubeconfig` or `kubeconfig:<context>` (KUBECONFIG,
    else ~/.kube/config), or the root of a server that answers like Kubernetes."""
    namespace: str = "models"
    interval_seconds: float = Field(default=30.0, gt=0)
    """Between passes without a nudge. Well below the time that a reviewer takes."""
    rollout_deadline_seconds: float = Field(default=300.0, gt=0)
    """How long a release may take to become healthy after promote first saw its commit on main.
    The default is Flux's 3 minutes and two retries."""
    forge_seconds_between_writes: float = Field(default=1.0, ge=0)
    """GitHub asks for one second; 0 on the laptop."""
    forge_writes_per_hour: int = Field(default=480, ge=0)
    """GitHub refuses after about 500 requests an hour that create content. 0 means no limit, for
    the laptop."""
    forge_seconds_between_requests: float = Field(default=0.0, ge=0)
    mirror: str = ""
    """The folder of main's mirror and of the remembered statuses. Its content may be lost. Empty
    means the temporary folder for `promote serve`, and the person's cache folder for commands."""
    webhook_secret: SecretStr = SecretStr("")
    """The secret with which the forge signs webhooks. Empty means that promote takes none."""
    url: TrackingAddress = ""
    """Root of the running service that `promote status` asks. Empty means that the command asks
    forge, MLflow, image registry and cluster itself."""
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)

    @property
    def mirror_folder(self) -> Path:
        """The bare repository that mirrors main; its lock and what is remembered lie beside it."""
        folder = Path(self.mirror) if self.mirror else _cache_folder()
        name = f"{self.forge_url} {self.repository} {self.branch}"
        return folder / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.git"


def _temporary_folder() -> Path:
    return Path(tempfile.gettempdir(), f"ratchet-mirror-{os.getuid()}")


def _cache_folder() -> Path:
    """Return the person's cache folder, by the XDG base directory specification.

    A process without a home folder, such as a pod's, gets the temporary folder.
    """
    home_cache = Path(os.environ.get("HOME", ""), ".cache")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or home_cache)
    return cache / "ratchet" if cache.is_absolute() else _temporary_folder()


def read_service_settings() -> PromoteSettings:
    """Return the settings of the service, which keeps its mirror in the temporary folder.

    Raises:
        SettingsRefused: As of `read_settings`.
    """
    settings = read_settings()
    return settings.model_copy(update={"mirror": settings.mirror or str(_temporary_folder())})


def read_settings() -> PromoteSettings:
    """Return the settings from the environment.

    Raises:
        SettingsRefused: Settings are missing, wrong or unknown. It names all of them, no value.
    """
    return _read(PromoteSettings)


def read_forge_settings() -> ForgeSettings:
    """Return the settings of a command that needs the forge alone; it may have all of promote's.

    Raises:
        SettingsRefused: As of `read_settings`.
    """
    return _read(ForgeSettings)


def read_mlflow_settings() -> MlflowSettings:
    """Return the settings of a command that needs MLflow alone; it may have all of promote's.

    Raises:
        SettingsRefused: As of `read_settings`.
    """
    return _read(MlflowSettings)


def _read(kind: type[_Kind]) -> _Kind:
    tokens = ("MLFLOW_TRACKING_TOKEN", "AWS_SESSION_TOKEN")
    others = PromoteSettings.model_fields.keys() - kind.model_fields.keys()
    not_asked = {f"PROMOTE_{name.upper()}" for name in others}
    given = {name: value for name, value in os.environ.items() if name not in not_asked}
    return settings_from(kind, given, prefix="PROMOTE_", library_tokens=tokens)
