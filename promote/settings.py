"""What an operator sets, once, by environment: prefix PROMOTE_. Nothing else of promote reads the environment."""

from __future__ import annotations

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class PromoteSettings(BaseSettings):
    """One promote service per environment; the defaults are for production, the laptop overrides them."""

    model_config = SettingsConfigDict(env_prefix="PROMOTE_", frozen=True, extra="forbid")

    tracking_url: str
    """MLflow's root."""
    public_tracking_url: str = ""
    """MLflow's root as a person's browser reaches it; empty means `tracking_url`."""
    forge_url: str = "https://api.github.com"
    """REST root; on the laptop `http://127.0.0.1:<port>/api/v3`."""
    forge_token: SecretStr
    repository: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    """Owner and name of the repository whose `branch` says what should run."""
    branch: str = "main"
    environment: str = Field(default="production", pattern=r"^[a-z0-9-]+$")
    images: str
    """Where images lie: `oci-layout:/absolute/folder` on the laptop, `https://<host>[/prefix]`, or `ecr:<account>.dkr.ecr.<region>.amazonaws.com[/prefix]`."""
    images_user: str = ""
    """Told to a registry over HTTP that asks; ECR's login is AWS's own."""
    images_password: SecretStr = SecretStr("")
    images_pull_host: str = Field(default="", pattern=r"^[a-z0-9.:-]*$")
    """The registry as the cluster reaches it; empty means the host of `images`."""
    image_prefix: str = "ratchet"
    """An image is `<prefix>/<model>@sha256:…`."""
    base_image: str = ""
    """Below the model layer: `<repository>@sha256:…` in the registry of `images`, or `https://<host>/<repository>@sha256:…`; empty: the empty image."""
    cluster_url: str
    """`in-cluster` (the pod's own account), `kubeconfig` or `kubeconfig:<context>` (KUBECONFIG, else ~/.kube/config),
    or the root of what answers like Kubernetes."""
    namespace: str = "models"
    interval_seconds: float = Field(default=30.0, gt=0)
    """Between passes when nobody nudges; well below the time a reviewer takes to look."""
    rollout_deadline_seconds: float = Field(default=300.0, gt=0)
    """From a commit's landing on main until a release that is not healthy counts as failed: Flux's 3 minutes and two retries."""
    forge_seconds_between_writes: float = Field(default=1.0, ge=0)
    """GitHub asks for one second; 0 on the laptop."""
    forge_seconds_between_requests: float = Field(default=0.0, ge=0)
    request_timeout_seconds: float = Field(default=15.0, gt=0)
    """One call to forge or cluster; longer is an outage."""
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)

    @property
    def links(self) -> str:
        """MLflow's root for links that people follow."""
        return (self.public_tracking_url or self.tracking_url).rstrip("/")
