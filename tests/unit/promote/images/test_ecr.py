"""Amazon's rules for a registry, as moto has them, and which of our errors AWS's errors become.

The rules are about repositories, logins that end, and tags that stay.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import botocore.exceptions
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from promote.errors import (
    ImageRegistryLoginRefused,
    ImageRegistryRefused,
    ImageRegistryUnavailable,
    PromoteError,
)
from promote.images.ecr import EcrAccount

ACCOUNT, REGION = "123456789012", "eu-central-1"
HOST = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
NOW = datetime(2026, 11, 2, tzinfo=UTC)


@pytest.fixture
def ecr(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        yield boto3.client("ecr", region_name=REGION)


@pytest.fixture
def stubbed(monkeypatch: pytest.MonkeyPatch) -> tuple[EcrAccount, Stubber, list[datetime]]:
    """An account whose AWS answers as it is told; the list holds the time."""
    client = boto3.client(
        "ecr", region_name=REGION, aws_access_key_id="x", aws_secret_access_key="x"
    )
    stubber, now = Stubber(client), [NOW]
    stubber.activate()
    return EcrAccount(HOST, client=client, clock=lambda: now[0]), stubber, now


def test_a_repository_is_made_once_with_fixed_tags_and_scans(ecr: Any) -> None:
    for _ in range(2):
        EcrAccount(HOST).make_repository("ratchet/flight-delay")
    (made,) = ecr.describe_repositories()["repositories"]
    assert made["repositoryName"] == "ratchet/flight-delay"
    assert made["registryId"] == ACCOUNT
    assert (made["imageTagMutability"], made["imageScanningConfiguration"]) == (
        "IMMUTABLE",
        {"scanOnPush": True},
    )


def test_a_repository_that_is_there_stays_as_it_is(ecr: Any) -> None:
    ecr.create_repository(
        repositoryName="ratchet/flight-delay", imageScanningConfiguration={"scanOnPush": False}
    )
    EcrAccount(HOST).make_repository("ratchet/flight-delay")
    assert ecr.describe_repositories()["repositories"][0]["imageScanningConfiguration"] == {
        "scanOnPush": False
    }


def test_a_repository_that_another_push_made_meanwhile_is_well(
    stubbed: tuple[EcrAccount, Stubber, list[datetime]],
) -> None:
    account, stubber, _ = stubbed
    stubber.add_client_error(
        "describe_repositories", "RepositoryNotFoundException", http_status_code=400
    )
    stubber.add_client_error(
        "create_repository", "RepositoryAlreadyExistsException", http_status_code=400
    )
    account.make_repository("ratchet/flight-delay")
    stubber.assert_no_pending_responses()


def test_motos_login_is_user_and_password(ecr: Any) -> None:
    assert EcrAccount(HOST).credentials() == ("AWS", f"{ACCOUNT}-auth-token")


def test_a_login_is_kept_and_fetched_again_before_it_ends(
    stubbed: tuple[EcrAccount, Stubber, list[datetime]],
) -> None:
    account, stubber, now = stubbed
    for password, hours in [("first:with:colons", 12), ("second", 24)]:
        token = base64.b64encode(f"AWS:{password}".encode()).decode()
        stubber.add_response(
            "get_authorization_token",
            {
                "authorizationData": [
                    {"authorizationToken": token, "expiresAt": NOW + timedelta(hours=hours)}
                ]
            },
        )
    found = []
    for minutes in (0, 1, 11 * 60 + 44, 11 * 60 + 45, 23 * 60):
        now[0] = NOW + timedelta(minutes=minutes)
        found.append(account.credentials()[1])
    assert found == ["first:with:colons"] * 3 + ["second"] * 2


@pytest.mark.parametrize(
    ("code", "status", "error", "message"),
    [
        ("ExpiredTokenException", 403, ImageRegistryLoginRefused, "sign in again"),
        ("ExpiredToken", 400, ImageRegistryLoginRefused, "sign in again"),
        ("UnrecognizedClientException", 400, ImageRegistryLoginRefused, "sign in again"),
        ("InvalidSignatureException", 403, ImageRegistryLoginRefused, "sign in again"),
        ("AccessDeniedException", 400, ImageRegistryRefused, "infra/aws"),
        ("LimitExceededException", 400, ImageRegistryRefused, "infra/aws"),
        ("ThrottlingException", 400, ImageRegistryUnavailable, "answered Throttling"),
        ("ServerException", 500, ImageRegistryUnavailable, "answered ServerException"),
    ],
)
def test_awss_errors_become_ours(
    stubbed: tuple[EcrAccount, Stubber, list[datetime]],
    code: str,
    status: int,
    error: type[PromoteError],
    message: str,
) -> None:
    account, stubber, _ = stubbed
    stubber.add_client_error(
        "get_authorization_token", code, "as AWS says", http_status_code=status
    )
    with pytest.raises(
        error, match=f"{HOST}.*{code} as AWS says.*{message}|{message}.*as AWS says"
    ) as caught:
        account.credentials()
    assert type(caught.value) is error


def test_no_credentials_are_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(
        boto3,
        "DEFAULT_SESSION",
        boto3.Session(aws_access_key_id="of", aws_secret_access_key="earlier"),
    )
    with pytest.raises(ImageRegistryLoginRefused, match="Give the pod a role"):
        EcrAccount(HOST).credentials()


def test_an_aws_that_does_not_answer_is_an_outage(
    stubbed: tuple[EcrAccount, Stubber, list[datetime]], monkeypatch: pytest.MonkeyPatch
) -> None:
    account, _, _ = stubbed

    def fail(**_: object) -> None:
        raise botocore.exceptions.EndpointConnectionError(endpoint_url="https://api.ecr")

    monkeypatch.setattr(account._client, "get_authorization_token", fail)
    with pytest.raises(ImageRegistryUnavailable, match="did not answer"):
        account.credentials()
