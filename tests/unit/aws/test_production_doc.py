"""docs/production.md against what it mentions.

These are templates, parameters, outputs, settings, files, namespaces and the ruleset.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from promote.settings import PromoteSettings
from retrain.settings import Settings
from tests.grounds.cloudformation import template

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "production.md").read_text()
SHELL = "\n".join(re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL))
DEPLOYS = [shlex.split(line) for line in re.findall(r"aws cloudformation deploy .*", SHELL)]


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def test_every_template_is_deployed_in_order() -> None:
    assert [Path(option(command, "--template-file")).stem for command in DEPLOYS] == [
        "ecr",
        "buckets",
        "roles",
        "databases",
    ]


@pytest.mark.parametrize(
    "command", DEPLOYS, ids=lambda command: Path(option(command, "--template-file")).stem
)
def test_a_deployment_gives_every_parameter_and_no_other(command: list[str]) -> None:
    path = ROOT / option(command, "--template-file")
    content = template(path.stem)
    given = {
        pair.partition("=")[0]
        for pair in command[command.index("--parameter-overrides") + 1 :]
        if "=" in pair
    }
    required = {
        name for name, parameter in content["Parameters"].items() if "Default" not in parameter
    }
    assert required <= given <= set(content["Parameters"])
    makes_roles = any(
        resource["Type"].startswith("AWS::IAM::") for resource in content["Resources"].values()
    )
    assert ("--capabilities" in command) == makes_roles


def test_every_output_that_is_asked_for_exists_and_every_output_is_used() -> None:
    stacks = {
        option(command, "--stack-name"): template(Path(option(command, "--template-file")).stem)
        for command in DEPLOYS
    }
    asked = set(re.findall(r"output (ratchet-\w+) (\w+)", TEXT))
    assert all(name in stacks[stack]["Outputs"] for stack, name in asked)
    assert {name for stack, name in asked} == {
        name for stack in ("buckets", "roles", "databases") for name in template(stack)["Outputs"]
    }


def test_every_file_that_is_named_is_there() -> None:
    named = set(
        re.findall(
            r"\b(?:infra|gitops|docs|dags)/[\w/.-]+\.(?:yaml|json|md)\b|\.github/workflows/[\w.]+",
            TEXT,
        )
    )
    assert named >= {"infra/aws/ruleset.json", "gitops/platform/training/kustomization.yaml"}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_every_setting_that_is_named_is_one() -> None:
    names = set(re.findall(r"\b(?:PROMOTE|RETRAIN)_[A-Z_]+\b", TEXT))
    known = {f"RETRAIN_{name.upper()}" for name in Settings.model_fields} | {
        f"PROMOTE_{name.upper()}" for name in PromoteSettings.model_fields
    }
    assert names <= known


def test_the_ruleset_wants_a_person_and_the_gate_and_lets_nobody_past() -> None:
    assert "--input infra/aws/ruleset.json" in SHELL
    ruleset = json.loads((ROOT / "infra/aws/ruleset.json").read_text())
    rules = {rule["type"]: rule.get("parameters", {}) for rule in ruleset["rules"]}
    assert (ruleset["enforcement"], ruleset["bypass_actors"]) == ("active", [])
    assert ruleset["conditions"]["ref_name"] == {"include": ["~DEFAULT_BRANCH"], "exclude": []}
    assert rules["pull_request"]["required_approving_review_count"] >= 1
    assert all(
        rules["pull_request"][name]
        for name in (
            "dismiss_stale_reviews_on_push",
            "require_code_owner_review",
            "require_last_push_approval",
        )
    )
    assert rules["required_status_checks"]["required_status_checks"] == [
        {"context": "ratchet/gate"}
    ]
    assert {"deletion", "non_fast_forward"} <= set(rules)
