"""What Amazon's registry wants besides the distribution API: a repository that exists, and a login that lasts twelve hours. Bytes go by http.py."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import botocore.exceptions
from botocore.config import Config

from promote.errors import (
    ImageRegistryLoginRefused,
    ImageRegistryRefused,
    ImageRegistryUnavailable,
    UnsupportedRegistry,
)

_HOST = re.compile(r"(\d{12})\.dkr\.ecr(?:-fips)?\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?")
_REFRESH_BEFORE = timedelta(minutes=15)  # longer than the largest push
_LOGIN_FAULTS = re.compile(
    r"Expired|InvalidClientTokenId|UnrecognizedClient|InvalidSignature|SignatureDoesNotMatch|AuthFailure|InvalidIdentityToken"
)


class EcrAccount:
    """One account's registry in one region; AWS's credentials come from where boto3 finds them."""

    def __init__(
        self,
        host: str,
        *,
        client: Any = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        found = _HOST.fullmatch(host)
        if found is None:
            raise UnsupportedRegistry(
                f"{host[:100]!r} is not an address of ECR; write ecr:<account>.dkr.ecr.<region>.amazonaws.com and perhaps /prefix."
            )
        self._account, region = found.groups()
        retries = Config(
            retries={"mode": "standard", "total_max_attempts": 4},
            connect_timeout=10,
            read_timeout=30,
        )
        self._host, self._clock = host, clock
        # a session of its own: boto3's default one keeps the first credentials it ever saw
        self._client = client or boto3.Session().client("ecr", region_name=region, config=retries)
        self._login: tuple[str, str] | None = None
        self._refresh_at = datetime.min.replace(tzinfo=UTC)

    def credentials(self) -> tuple[str, str]:
        """Return user and password; a fresh one well before the last one expires."""
        if self._login is None or self._clock() >= self._refresh_at:
            with self._asking("for a login"):
                found = self._client.get_authorization_token()["authorizationData"][0]
            user, _, password = (
                base64.b64decode(found["authorizationToken"]).decode().partition(":")
            )
            self._login, self._refresh_at = (user, password), found["expiresAt"] - _REFRESH_BEFORE
        return self._login

    def make_repository(self, name: str) -> None:
        """Create a repository whose tags cannot be changed and whose images are scanned, unless there is one."""
        with self._asking(f"about repository {name}"):
            try:
                self._client.describe_repositories(registryId=self._account, repositoryNames=[name])
            except self._client.exceptions.RepositoryNotFoundException:
                self._create(name)

    def _create(self, name: str) -> None:
        try:
            self._client.create_repository(
                registryId=self._account,
                repositoryName=name,
                imageTagMutability="IMMUTABLE",
                imageScanningConfiguration={"scanOnPush": True},
            )
        except self._client.exceptions.RepositoryAlreadyExistsException:
            pass  # another push was quicker

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        asked = f"AWS was asked {what} in {self._host}"
        try:
            yield
        except (
            botocore.exceptions.NoCredentialsError,
            botocore.exceptions.CredentialRetrievalError,
            botocore.exceptions.PartialCredentialsError,
        ) as error:
            raise ImageRegistryLoginRefused(
                f"{asked}, and boto3 found no credentials ({error}). Give the pod a role, or set AWS_PROFILE."
            ) from error
        except botocore.exceptions.ClientError as error:
            raise _translated(asked, error) from error
        except botocore.exceptions.BotoCoreError as error:
            raise ImageRegistryUnavailable(f"{asked} and did not answer: {error}") from error


def _translated(asked: str, error: botocore.exceptions.ClientError) -> Exception:
    code, message = (
        str(error.response.get("Error", {}).get("Code")),
        error.response.get("Error", {}).get("Message"),
    )
    if _LOGIN_FAULTS.search(code):
        return ImageRegistryLoginRefused(
            f"{asked} and refused the credentials: {code} {message}. They expired or are wrong: sign in again (aws sso login)."
        )
    if (
        error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500) >= 500
        or "Throttl" in code
    ):
        return ImageRegistryUnavailable(f"{asked} and answered {code} {message}.")
    return ImageRegistryRefused(
        f"{asked} and refused: {code} {message}. See the role's policy in infra/aws."
    )
