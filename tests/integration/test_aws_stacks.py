"""The templates, deployed against moto in the order of docs/production.md, and used by our code.

moto ignores a bucket's properties and policy, and the ARNs of managed passwords. tests/unit/aws
checks these in the templates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest

from promote.images.ecr import EcrAccount
from retrain.settings import Settings
from retrain.snapshot.snapshot import build_snapshot, read_split
from retrain.snapshot.store import PartitionStore
from tests.fakes.row_source import JUNE, FakeSource, small_spec, things
from tests.grounds.cloudformation import FOLDER
from tests.grounds.s3_servers import asked_at, moto_server

pytestmark = pytest.mark.filterwarnings(
    "ignore:Tried to parse AWS..S3..BucketPolicy but it's not supported by moto"
)  # see the head

ISSUER = "oidc.eks.us-east-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF"


@pytest.fixture(scope="module", autouse=True)
def aws() -> Iterator[None]:
    with moto_server() as env, asked_at(env):
        yield


def deploy(name: str, stack: str = "", **parameters: str) -> dict[str, str]:
    """The stack's outputs."""
    client, stack = boto3.Session().client("cloudformation"), stack or f"ratchet-{name}"
    body = (FOLDER / f"{name}.yaml").read_text()
    if name == "databases":
        body = re.sub(r"  \w+Secret:\n    Description:.*\n    Value:.*\n", "", body)  # see the head
    given = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
    client.create_stack(
        StackName=stack, TemplateBody=body, Parameters=given, Capabilities=["CAPABILITY_IAM"]
    )  # type: ignore[arg-type]  # two strings each
    described = client.describe_stacks(StackName=stack)["Stacks"][0]
    assert described["StackStatus"] == "CREATE_COMPLETE"
    return {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}


@pytest.fixture(scope="module")
def buckets() -> dict[str, str]:
    return deploy("buckets", Name="acme-ratchet")


@pytest.fixture(scope="module")
def roles(buckets: dict[str, str]) -> dict[str, str]:
    return deploy("roles", OidcProvider=ISSUER, **buckets)


def test_retrain_keeps_a_window_in_the_bucket_that_the_stacks_name(
    roles: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETRAIN_SNAPSHOTS", roles["Snapshots"])
    store = PartitionStore(Settings().snapshots)
    snapshot = build_snapshot(
        small_spec(),
        datetime(2013, 7, 8, tzinfo=UTC),
        FakeSource(things(JUNE, days=60, night_hours=4)),
        store,
    )
    assert all(
        partition.uri.startswith("s3://acme-ratchet-snapshots/weekly/partitions/")
        for partition in snapshot.partitions
    )
    assert read_split(snapshot, snapshot.test).num_rows == snapshot.test.rows


def test_a_model_has_a_repository_whose_tags_are_written_once() -> None:
    outputs = deploy("ecr", "ratchet-ecr-flight-delay", Name="flight-delay")
    assert outputs["RepositoryUri"] == f"{outputs['Registry']}/ratchet/flight-delay"
    account = EcrAccount(outputs["Registry"])
    account.make_repository("ratchet/flight-delay")
    account.make_repository("ratchet/without-a-stack")
    found = boto3.Session().client("ecr").describe_repositories()["repositories"]
    assert {one["repositoryName"]: one["imageTagMutability"] for one in found} == {
        "ratchet/flight-delay": "IMMUTABLE",
        "ratchet/without-a-stack": "IMMUTABLE",
    }
    assert account.credentials()[0] == "AWS"


def test_each_role_can_be_taken_by_its_service_account(roles: dict[str, str]) -> None:
    iam = boto3.Session().client("iam")
    for name in ("Retrain", "Promote", "Mlflow"):
        role: Any = iam.get_role(RoleName=roles[f"{name}Role"].rpartition("/")[2])["Role"]
        condition = role["AssumeRolePolicyDocument"]["Statement"][0]["Condition"]["StringEquals"]
        assert condition == {
            f"{ISSUER}:aud": "sts.amazonaws.com",
            f"{ISSUER}:sub": f"system:serviceaccount:{name.lower()}:{name.lower()}",
        }


def test_the_databases_are_encrypted_and_not_public() -> None:
    ec2 = boto3.Session().client("ec2")
    subnets = ec2.describe_subnets()["Subnets"][:2]
    outputs = deploy(
        "databases",
        Vpc=subnets[0]["VpcId"],
        PrivateSubnets=",".join(subnet["SubnetId"] for subnet in subnets),
        ClusterSecurityGroup=ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"],
    )
    found = boto3.client("rds").describe_db_instances()["DBInstances"]
    assert {database["Endpoint"]["Address"] for database in found} == {
        outputs["MlflowHost"],
        outputs["AirflowHost"],
    }
    assert all(
        database["StorageEncrypted"] and not database["PubliclyAccessible"] for database in found
    )
