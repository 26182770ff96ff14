"""The templates pass cfn-lint and keep images, rows and databases safe."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.grounds.cloudformation import FOLDER, resources, template

NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
DATABASES = {"Vpc": "vpc-1", "PrivateSubnets": "subnet-1,subnet-2", "ClusterSecurityGroup": "sg-1"}


def test_there_is_a_template_for_each_concern() -> None:
    assert NAMES == ["buckets", "databases", "ecr", "roles"]


def test_cfn_lint_finds_nothing() -> None:
    command = [
        str(Path(sys.executable).with_name("cfn-lint")),
        "--regions",
        "eu-central-1",
        "us-east-1",
        "--",
        *(str(FOLDER / f"{name}.yaml") for name in NAMES),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert (done.stdout, done.returncode) == ("", 0), done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_and_output_says_what_it_is_for(name: str) -> None:
    content = template(name)
    assert all(given.get("Description") for given in content["Parameters"].values())
    assert all(given.get("Description") for given in content["Outputs"].values())


def test_a_repository_writes_tags_once_scans_and_forgets_only_what_no_tag_names() -> None:
    repository = resources(template("ecr"), Name="flight-delay")["Repository"]
    assert repository["RepositoryName"] == "ratchet/flight-delay"
    assert repository["ImageTagMutability"] == "IMMUTABLE"
    assert repository["ImageScanningConfiguration"] == {"ScanOnPush": True}
    rules = _lifecycle(repository)["rules"]
    assert [rule["selection"]["tagStatus"] for rule in rules] == ["untagged"]
    assert template("ecr")["Resources"]["Repository"]["DeletionPolicy"] == "Retain"


def _lifecycle(repository: dict[str, Any]) -> dict[str, Any]:
    text = repository["LifecyclePolicy"]["LifecyclePolicyText"]
    return json.loads(text) if isinstance(text, str) else text


@pytest.mark.parametrize("name", ["Snapshots", "Artifacts"])
def test_a_bucket_keeps_versions_is_encrypted_and_closed_to_the_world(name: str) -> None:
    bucket = resources(template("buckets"), Name="acme-ratchet")[name]
    assert bucket["BucketName"] == f"acme-ratchet-{name.lower()}"
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert (
        bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"][0][
            "ServerSideEncryptionByDefault"
        ]["SSEAlgorithm"]
        == "AES256"
    )
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    resource = template("buckets")["Resources"][name]
    assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert {rule for one in bucket["LifecycleConfiguration"]["Rules"] for rule in one} == {
        "Id",
        "Status",
        "NoncurrentVersionExpiration",
        "AbortIncompleteMultipartUpload",
    }, "no rule expires what is current"


@pytest.mark.parametrize("name", ["Mlflow", "Airflow"])
def test_a_database_is_encrypted_not_public_and_no_person_chooses_its_password(name: str) -> None:
    database = resources(template("databases"), **DATABASES)[name]
    assert (database["Engine"], database["DBName"]) == ("postgres", name.lower())
    assert database["StorageEncrypted"] is True
    assert database["PubliclyAccessible"] is False
    assert database["ManageMasterUserPassword"] is True
    assert "MasterUserPassword" not in database
    assert database["DeletionProtection"] is True
    assert int(database["BackupRetentionPeriod"]) >= 7
    assert template("databases")["Resources"][name]["DeletionPolicy"] == "Snapshot"


def test_only_the_cluster_comes_through_the_databases_door() -> None:
    rules = resources(template("databases"), **DATABASES)["Door"]["SecurityGroupIngress"]
    assert [
        (rule["FromPort"], rule["ToPort"], rule["SourceSecurityGroupId"], rule.get("CidrIp"))
        for rule in rules
    ] == [(5432, 5432, "sg-1", None)]
