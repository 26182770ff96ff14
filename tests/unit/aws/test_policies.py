"""Who may do what on AWS: the tests evaluate the templates' policies.

Each wrong change below must change an answer.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.grounds.cloudformation import ACCOUNT, REGION, resources, template
from tests.grounds.iam_policies import Answer, Request, evaluate

ISSUER = "oidc.eks.eu-central-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF"
PROVIDER = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{ISSUER}"
SNAPSHOTS, ARTIFACTS = "arn:aws:s3:::acme-ratchet-snapshots", "arn:aws:s3:::acme-ratchet-artifacts"
PARTITION = f"{SNAPSHOTS}/weekly/partitions/2013-W27/ab.parquet"
REPOSITORIES = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository"
IMAGE = f"{REPOSITORIES}/ratchet/flight-delay"
TLS = {"aws:SecureTransport": "true"}
CREATES = {**TLS, "s3:ObjectCreationOperation": "true", "s3:if-none-match": "*"}
PUSH = (
    "BatchCheckLayerAvailability",
    "InitiateLayerUpload",
    "UploadLayerPart",
    "CompleteLayerUpload",
    "PutImage",
    "BatchGetImage",
    "GetDownloadUrlForLayer",
)
DESTROY = (
    "BatchDeleteImage",
    "DeleteRepository",
    "PutImageTagMutability",
    "PutLifecyclePolicy",
    "DeleteLifecyclePolicy",
    "SetRepositoryPolicy",
)

Templates = dict[str, dict[str, Any]]
Row = tuple[str, Request, Answer]
"""Role, request, answer."""


def stored(action: str, resource: str, **context: str) -> Request:
    return Request(f"s3:{action}", resource, context={**TLS, **context})


ALLOWED: tuple[Row, ...] = (
    ("Retrain", stored("GetObject", PARTITION), "allow"),
    ("Retrain", Request("s3:PutObject", PARTITION, context=CREATES), "allow"),
    (
        "Retrain",
        Request(
            "s3:PutObject",
            PARTITION,
            context={**TLS, "s3:ObjectCreationOperation": "true", "s3:if-match": "etag"},
        ),
        "allow",
    ),
    ("Retrain", stored("ListBucket", SNAPSHOTS), "allow"),
    ("Promote", stored("GetObject", PARTITION), "allow"),
    ("Promote", stored("ListBucket", SNAPSHOTS), "allow"),
    ("Promote", Request("ecr:GetAuthorizationToken"), "allow"),
    ("Promote", Request("ecr:CreateRepository", IMAGE), "allow"),
    ("Promote", Request("ecr:DescribeRepositories", IMAGE), "allow"),
    *(("Promote", Request(f"ecr:{action}", IMAGE), "allow") for action in PUSH),
    ("Mlflow", stored("PutObject", f"{ARTIFACTS}/1/run/artifacts/model/model.onnx"), "allow"),
    ("Mlflow", stored("GetObject", f"{ARTIFACTS}/1/run/artifacts/snapshot.json"), "allow"),
    ("Mlflow", stored("ListBucket", ARTIFACTS), "allow"),
)
REFUSED: tuple[Row, ...] = (
    *(("Promote", Request(f"ecr:{action}", IMAGE), "deny") for action in DESTROY),
    ("Promote", Request("ecr:PutImageScanningConfiguration", IMAGE), "no"),
    ("Promote", Request("ecr:PutImage", f"{REPOSITORIES}/somebody/else"), "no"),
    ("Promote", Request("ecr:PutImage", f"{REPOSITORIES}/ratchet-too/flight-delay"), "no"),
    ("Promote", Request("ecr:PutImage", IMAGE.replace(ACCOUNT, "999999999999")), "no"),
    ("Promote", Request("s3:PutObject", PARTITION, context=CREATES), "no"),
    ("Promote", stored("DeleteObject", PARTITION), "no"),
    ("Promote", stored("GetObject", f"{ARTIFACTS}/1/run/artifacts/snapshot.json"), "no"),
    ("Promote", Request("iam:PassRole"), "no"),
    ("Promote", Request("secretsmanager:GetSecretValue"), "no"),
    (
        "Retrain",
        Request("s3:PutObject", PARTITION, context={**TLS, "s3:ObjectCreationOperation": "true"}),
        "deny",
    ),
    (
        "Retrain",
        Request("s3:PutObject", PARTITION, context={**CREATES, "aws:SecureTransport": "false"}),
        "deny",
    ),
    ("Retrain", Request("s3:PutObject", f"{SNAPSHOTS}/other/file", context=CREATES), "no"),
    ("Retrain", stored("DeleteObject", PARTITION), "no"),
    ("Retrain", stored("DeleteObjectVersion", PARTITION), "no"),
    ("Retrain", stored("PutBucketPolicy", SNAPSHOTS), "no"),
    ("Retrain", stored("PutBucketVersioning", SNAPSHOTS), "no"),
    ("Retrain", stored("GetObject", f"{ARTIFACTS}/1/run/artifacts/snapshot.json"), "no"),
    ("Retrain", Request("ecr:PutImage", IMAGE), "no"),
    ("Retrain", Request("ecr:GetAuthorizationToken"), "no"),
    ("Mlflow", stored("DeleteObject", f"{ARTIFACTS}/1/run/artifacts/snapshot.json"), "no"),
    (
        "Mlflow",
        Request("s3:GetObject", f"{ARTIFACTS}/1", context={"aws:SecureTransport": "false"}),
        "deny",
    ),
    ("Mlflow", stored("GetObject", PARTITION), "no"),
    ("Mlflow", Request("ecr:PutImage", IMAGE), "no"),
)
ACCOUNTS = {
    "Retrain": "system:serviceaccount:retrain:retrain",
    "Promote": "system:serviceaccount:promote:promote",
    "Mlflow": "system:serviceaccount:mlflow:mlflow",
}
STRANGERS = (
    "system:serviceaccount:models:server-flight-delay",
    "system:serviceaccount:models:default",
    "system:serviceaccount:gateway:gateway",
    "system:serviceaccount:airflow:airflow",
    "system:serviceaccount:promote:default",
    "system:serviceaccount:promote-too:promote",
)


def templates() -> Templates:
    return {name: template(name) for name in ("roles", "buckets")}


def filled(found: Templates) -> tuple[dict[str, Any], dict[str, Any]]:
    roles = resources(
        found["roles"],
        OidcProvider=ISSUER,
        SnapshotsBucket="acme-ratchet-snapshots",
        ArtifactsBucket="acme-ratchet-artifacts",
    )
    return roles, resources(found["buckets"], Name="acme-ratchet")


def answer(found: Templates, role: str, request: Request) -> Answer:
    roles, buckets = filled(found)
    policies = [policy["PolicyDocument"] for policy in roles[role]["Policies"]]
    guarded = {
        properties["Bucket"]: properties["PolicyDocument"]
        for name, properties in buckets.items()
        if name.endswith("Rules")
    }
    bucket = request.resource.removeprefix("arn:aws:s3:::").partition("/")[0]
    return evaluate([*policies, *([guarded[bucket]] if bucket in guarded else [])], request)


def may_become(
    found: Templates,
    role: str,
    account: str,
    *,
    audience: str = "sts.amazonaws.com",
    provider: str = PROVIDER,
) -> bool:
    trust = filled(found)[0][role]["AssumeRolePolicyDocument"]
    asked = Request(
        "sts:AssumeRoleWithWebIdentity",
        "*",
        provider,
        {f"{ISSUER}:aud": audience, f"{ISSUER}:sub": account},
    )
    return evaluate([trust], asked) == "allow"


@pytest.mark.parametrize(
    ("role", "request_", "expected"),
    [*ALLOWED, *REFUSED],
    ids=lambda value: getattr(value, "action", str(value)),
)
def test_each_role_may_do_its_work_and_nothing_else(
    role: str, request_: Request, expected: Answer
) -> None:
    assert answer(templates(), role, request_) == expected


def test_each_role_is_for_one_service_account_of_this_cluster() -> None:
    found = templates()
    for role, account in ACCOUNTS.items():
        assert may_become(found, role, account)
        assert not any(
            may_become(found, role, other)
            for other in (*STRANGERS, *(set(ACCOUNTS.values()) - {account}))
        )
        assert not may_become(found, role, account, audience="somebody-else")
        assert not may_become(found, role, account, provider=PROVIDER.replace("0123", "9999"))


def test_no_role_lets_anyone_in_whom_this_file_does_not_name() -> None:
    roles = {
        name
        for name, resource in template("roles")["Resources"].items()
        if resource["Type"] == "AWS::IAM::Role"
    }
    assert roles == set(ACCOUNTS), "the servers and the gateway have no role"
    assert set(template("roles")["Resources"]) == roles
    for properties in filled(templates())[0].values():
        assert set(properties) == {"AssumeRolePolicyDocument", "Policies"}, (
            "no managed policy comes in by the side"
        )


def test_no_statement_names_all_actions_and_only_the_login_all_resources() -> None:
    for properties in filled(templates())[0].values():
        for statement in (
            one
            for policy in properties["Policies"]
            for one in policy["PolicyDocument"]["Statement"]
            if one["Effect"] == "Allow"
        ):
            actions = (
                statement["Action"]
                if isinstance(statement["Action"], list)
                else [statement["Action"]]
            )
            assert not any("*" in action for action in actions)
            assert statement["Resource"] != "*" or actions == ["ecr:GetAuthorizationToken"]


def _statement(found: Templates, kind: str, resource: str, sid: str) -> dict[str, Any]:
    properties = found[kind]["Resources"][resource]["Properties"]
    documents = (
        [properties["PolicyDocument"]]
        if kind == "buckets"
        else [policy["PolicyDocument"] for policy in properties["Policies"]]
    )
    return next(
        statement
        for document in documents
        for statement in document["Statement"]
        if statement["Sid"] == sid
    )


def _drop(kind: str, resource: str, sid: str) -> Callable[[Templates], None]:
    def change(found: Templates) -> None:
        _statement(found, kind, resource, sid)["Action"] = "none:None"

    return change


def _set(kind: str, resource: str, sid: str, **fields: Any) -> Callable[[Templates], None]:
    return lambda found: _statement(found, kind, resource, sid).update(fields)


def _trust(role: str, *replaced: tuple[str, str]) -> Callable[[Templates], None]:
    def change(found: Templates) -> None:
        trust = found["roles"]["Resources"][role]["Properties"]["AssumeRolePolicyDocument"]
        for old, new in replaced:
            assert old in trust["Fn::Sub"]
            trust["Fn::Sub"] = trust["Fn::Sub"].replace(old, new)

    return change


WRONG: dict[str, Callable[[Templates], None]] = {
    "promote may delete, if something else lets it": _drop("roles", "Promote", "NeverDelete"),
    "promote pushes anywhere": _set("roles", "Promote", "Push", Resource="*"),
    "promote pushes to names that begin alike": _set(
        "roles", "Promote", "Push", Resource={"Fn::Sub": f"{REPOSITORIES}/ratchet*"}
    ),
    "promote may do all with images": _set("roles", "Promote", "Push", Action="ecr:*"),
    "promote cannot log in": _drop("roles", "Promote", "Login"),
    "promote cannot read rows": _drop("roles", "Promote", "Partitions"),
    "promote writes rows": _set(
        "roles", "Promote", "Partitions", Action=["s3:GetObject", "s3:PutObject"]
    ),
    "retrain deletes": _set("roles", "Retrain", "Partitions", Action="s3:*"),
    "retrain leaves its prefix": _set("roles", "Retrain", "Partitions", Resource=f"{SNAPSHOTS}/*"),
    "retrain takes a missing file for a forbidden one": _drop(
        "roles", "Retrain", "MissingIsNotForbidden"
    ),
    "retrain sees artifacts": _set("roles", "Retrain", "Partitions", Resource="arn:aws:s3:::*"),
    "mlflow deletes": _set("roles", "Mlflow", "Artifacts", Action="s3:*"),
    "mlflow sees rows": _set("roles", "Mlflow", "Artifacts", Resource="*"),
    "snapshots without TLS": _drop("buckets", "SnapshotsRules", "TlsOnly"),
    "artifacts without TLS": _drop("buckets", "ArtifactsRules", "TlsOnly"),
    "partitions are written over unseen": _drop("buckets", "SnapshotsRules", "WrittenOnCondition"),
    "only creation is let through": _set(
        "buckets",
        "SnapshotsRules",
        "WrittenOnCondition",
        Condition={
            "Null": {"s3:if-none-match": "true"},
            "Bool": {"s3:ObjectCreationOperation": "true"},
        },
    ),
    "every account of promote's namespace": _trust(
        "Promote", ("StringEquals", "StringLike"), ("promote:promote", "promote:*")
    ),
    "any audience": _trust("Retrain", ('"${OidcProvider}:aud": "sts.amazonaws.com", ', "")),
    "a server may become mlflow": _trust(
        "Mlflow", ("serviceaccount:mlflow:mlflow", "serviceaccount:models:default")
    ),
    "retrain's account in another namespace": _trust(
        "Retrain", ("serviceaccount:retrain:retrain", "serviceaccount:airflow:retrain")
    ),
}


def _findings(found: Templates) -> Iterator[str]:
    for role, request, expected in (*ALLOWED, *REFUSED):
        if answer(found, role, request) != expected:
            yield f"{role} {request.action} {request.resource}"
    for role, account in ACCOUNTS.items():
        if not may_become(found, role, account) or may_become(
            found, role, account, audience="somebody-else"
        ):
            yield f"{account} and {role}"
        yield from (
            f"{other} becomes {role}" for other in STRANGERS if may_become(found, role, other)
        )


def test_nothing_is_found_in_the_templates_as_they_are() -> None:
    assert list(_findings(templates())) == []


@pytest.mark.parametrize("name", WRONG)
def test_a_weakened_policy_is_found(name: str) -> None:
    found = copy.deepcopy(templates())
    WRONG[name](found)
    assert list(_findings(found)) != []


@pytest.mark.parametrize(
    ("statement", "answer_"),
    [
        ({"Effect": "Allow", "Action": "s3:get*", "Resource": "*"}, "allow"),
        ({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::B/*"}, "no"),
        ({"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::b/?"}, "allow"),
        (
            {
                "Effect": "Allow",
                "Action": "*",
                "Resource": "*",
                "Condition": {"StringEquals": {"aws:absent": "x"}},
            },
            "no",
        ),
        (
            {
                "Effect": "Allow",
                "Action": "*",
                "Resource": "*",
                "Condition": {"Null": {"aws:absent": "true"}},
            },
            "allow",
        ),
        (
            {
                "Effect": "Deny",
                "Action": "*",
                "Resource": "*",
                "Condition": {"Bool": {"aws:securetransport": "false"}},
            },
            "no",
        ),
    ],
)
def test_the_evaluator_answers_as_aws_does(statement: dict[str, Any], answer_: Answer) -> None:
    assert (
        evaluate(
            [{"Statement": statement}], Request("s3:GetObject", "arn:aws:s3:::b/k", context=TLS)
        )
        == answer_
    )


def test_the_evaluator_refuses_what_it_does_not_know() -> None:
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    for unknown in (
        {"NotAction": "x"},
        {"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}},
    ):
        with pytest.raises(NotImplementedError, match="does not know"):
            evaluate([{"Statement": {**everything, **unknown}}], Request("s3:GetObject"))
