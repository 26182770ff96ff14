"""Amazon's registry needs two more things: an existing repository, and a login of twelve hours.

http.py sends the bytes.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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
_RETRIES = Config(
    retries={"mode": "standard", "total_max_attempts": 4}, connect_timeout=10, read_timeout=30
)
_LOGIN_FAULTS = re.compile(
    "Expired|InvalidClientTokenId|UnrecognizedClient|InvalidSignature|SignatureDoesNotMatch"
    "|AuthFailure|InvalidIdentityToken"
)
_NO_CREDENTIALS = (
    botocore.exceptions.NoCredentialsError,
    botocore.exceptions.CredentialRetrievalError,
    botocore.exceptions.PartialCredentialsError,
)


class EcrAccount:
    """The registry of one account in one region. boto3 finds the credentials of AWS."""

    def __init__(
        self,
        host: str,
        *,
        client: Any = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        parts = _HOST.fullmatch(host)
        if parts is None:
            raise UnsupportedRegistry(
                f"{host[:100]!r} is not an address of ECR. "
                "Write ecr:<account>.dkr.ecr.<region>.amazonaws.com, with /prefix if needed."
            )
        self._account, region = parts.groups()
        self._host, self._clock = host, clock
        # A session of our own: boto3's default session keeps its first credentials.
        self._client = client or boto3.Session().client("ecr", region_name=region, config=_RETRIES)
        self._login: tuple[str, str] | None = None
        self._refresh_at = datetime.min.replace(tzinfo=UTC)

    def credentials(self) -> tuple[str, str]:
        """Return user and password. A new login is fetched well before the old one expires."""
        if self._login is None or self._clock() >= self._refresh_at:
            with self._request("for a login"):
                data = self._client.get_authorization_token()["authorizationData"][0]
            user, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
            self._login, self._refresh_at = (user, password), data["expiresAt"] - _REFRESH_BEFORE
        return self._login

    def make_repository(self, name: str) -> None:
        """Create a repository unless it exists. Its tags cannot change; its images are scanned."""
        with self._request(f"about repository {name}"):
            try:
                self._client.describe_repositories(registryId=self._account, repositoryNames=[name])
            except self._client.exceptions.RepositoryNotFoundException:
                # suppressed: another push created the repository
                with suppress(self._client.exceptions.RepositoryAlreadyExistsException):
                    self._client.create_repository(
                        registryId=self._account,
                        repositoryName=name,
                        imageTagMutability="IMMUTABLE",
                        imageScanningConfiguration={"scanOnPush": True},
                    )

    @contextmanager
    def _request(self, what: str) -> Iterator[None]:
        """Translate boto3's errors into ours."""
        question = f"promote asked AWS {what} in {self._host}"
        try:
            yield
        except _NO_CREDENTIALS as error:
            raise ImageRegistryLoginRefused(
                f"{question}, and boto3 found no credentials ({error}). "
                "Give the pod a role, or set AWS_PROFILE."
            ) from error
        except botocore.exceptions.ClientError as error:
            raise _translated(question, error) from error
        except botocore.exceptions.BotoCoreError as error:
            raise ImageRegistryUnavailable(f"{question}. AWS did not answer: {error}") from error


def _translated(question: str, error: botocore.exceptions.ClientError) -> Exception:
    details = error.response.get("Error", {})
    code = str(details.get("Code"))
    answer = f"{question}. AWS answered {code} {details.get('Message')}"
    if _LOGIN_FAULTS.search(code):
        return ImageRegistryLoginRefused(
            f"{answer}. The credentials expired or are wrong: sign in again (aws sso login)."
        )
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
    if status >= 500 or "Throttl" in code:
        return ImageRegistryUnavailable(f"{answer}.")
    return ImageRegistryRefused(f"{answer}. Check the role's policy in infra/aws.")
