"""GitHub's workflows: no foreign action, few rights, no text of a pull request in a script.

Also the issue forms: GitHub ignores a wrong form without a word.
"""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHECKOUT = "actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683"
"""v4.2.2, by commit: a tag can be moved."""
MAY_WRITE = {"gate.yaml": {"statuses"}}
"""The status `ratchet/gate` is what gate.yaml is for."""
WORKFLOWS = sorted(ROOT.glob(".github/workflows/*"))


def read(path: Path) -> dict[Any, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def jobs(workflow: dict[Any, Any]) -> list[dict[str, Any]]:
    return list(workflow["jobs"].values())


def steps(workflow: dict[Any, Any]) -> list[dict[str, Any]]:
    return [step for job in jobs(workflow) for step in job["steps"]]


def parts_named(name: str, part: object) -> list[Any]:
    """Everything below a key of this name, however deep."""
    if isinstance(part, list):
        return [found for entry in part for found in parts_named(name, entry)]
    if not isinstance(part, dict):
        return []
    deeper = [found for entry in part.values() for found in parts_named(name, entry)]
    return [part[name], *deeper] if name in part else deeper


every_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)


def test_there_are_workflows() -> None:
    assert {"ci.yaml", "gate.yaml"} <= {path.name for path in WORKFLOWS}


def test_the_clusters_job_installs_what_our_own_ci_installs() -> None:
    script = (ROOT / ".ci/run").read_text()
    listed = re.search(r"^packages=\(\n(.*?)^\)", script, re.MULTILINE | re.DOTALL)
    assert listed
    job = read(ROOT / ".github/workflows/ci.yaml")["jobs"]["kubernetes"]
    [prepare] = [step["run"] for step in job["steps"] if "prepare.sh" in step.get("run", "")]
    # Ubuntu needs Debian's keys, and has its Chromium as a snap only.
    ours = {*listed[1].split(), "debian-archive-keyring"} - {"chromium"}
    assert set(prepare.split()[1:]) == ours


@every_workflow
def test_the_only_action_is_githubs_checkout_by_commit(path: Path) -> None:
    assert set(parts_named("uses", read(path))) <= {CHECKOUT}


@every_workflow
def test_a_checkout_leaves_no_token_behind(path: Path) -> None:
    checkouts = [step for step in steps(read(path)) if "uses" in step]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


@every_workflow
def test_rights_are_named_for_all_jobs_and_only_read_where_possible(path: Path) -> None:
    workflow = read(path)
    allowed = parts_named("permissions", workflow)
    assert "permissions" in workflow
    assert all(isinstance(rights, dict) for rights in allowed)
    written = {name for rights in allowed for name, right in rights.items() if right != "read"}
    assert written <= MAY_WRITE.get(path.name, set())


@every_workflow
def test_no_script_contains_text_of_an_event(path: Path) -> None:
    # Only `env:` may take such text: a branch's name may hold a command.
    scripts = [str(script) for script in parts_named("run", read(path))]
    assert not [script for script in scripts if re.search(r"\$\{\{", script)]


@every_workflow
def test_no_workflow_reads_a_secret(path: Path) -> None:
    assert "secrets." not in path.read_text(encoding="utf-8")


def test_every_job_of_ci_ends_in_time_on_a_named_runner() -> None:
    for job in jobs(read(ROOT / ".github/workflows/ci.yaml")):
        assert job["runs-on"] == "ubuntu-24.04"
        assert 0 < job["timeout-minutes"] <= 120


def test_ci_ends_an_older_run_of_the_same_pull_request() -> None:
    concurrency = read(ROOT / ".github/workflows/ci.yaml")["concurrency"]
    assert "github.ref" in concurrency["group"]
    assert "pull_request" in str(concurrency["cancel-in-progress"])


def test_ci_runs_branches_code_only_with_a_token_that_reads() -> None:
    # PyYAML reads the key `on` as true. pull_request_target would hand main's rights to a branch.
    assert set(read(ROOT / ".github/workflows/ci.yaml")[True]) == {"pull_request", "push"}


def test_ci_runs_what_the_projects_own_ci_runs() -> None:
    scripts = "\n".join(parts_named("run", jobs(read(ROOT / ".github/workflows/ci.yaml"))))
    for target in ("lint types imports", "test", "e2e", "images", "e2e-kubernetes"):
        assert re.search(rf"\bmake {target}$", scripts, re.MULTILINE), target


def prepare(cache: Path, path_file: Path) -> subprocess.CompletedProcess[str]:
    """Run the script that begins every job, on a runner with this tool cache."""
    runner = {"RUNNER_TOOL_CACHE": str(cache), "GITHUB_PATH": str(path_file)}
    script = ROOT / ".github/prepare.sh"
    environment = {**os.environ, **runner}
    return subprocess.run(
        [script],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_newest_python_3_11_and_go_1_26_of_the_runner_come_first(tmp_path: Path) -> None:
    for tool in ("Python/3.11.9", "Python/3.11.15", "Python/3.12.1", "go/1.25.8", "go/1.26.4"):
        (tmp_path / tool / "x64/bin").mkdir(parents=True)
    assert prepare(tmp_path, tmp_path / "path").returncode == 0
    first = [f"{tmp_path}/Python/3.11.15/x64/bin", f"{tmp_path}/go/1.26.4/x64/bin"]
    assert (tmp_path / "path").read_text().splitlines() == first


def test_a_runner_without_them_fails_and_says_what_it_has(tmp_path: Path) -> None:
    for tool in ("Python/3.11.9", "go/1.24.13", "go/1.25.8"):
        (tmp_path / tool / "x64/bin").mkdir(parents=True)
    ended = prepare(tmp_path, tmp_path / "path")
    assert ended.returncode == 1
    assert "go/1.26 is not in" in ended.stderr
    assert "1.24.13 1.25.8" in ended.stderr


@pytest.mark.parametrize("name", ["fault", "wish"])
def test_an_issue_form_asks_each_question_once(name: str) -> None:
    form = read(ROOT / f".github/ISSUE_TEMPLATE/{name}.yml")
    questions = [part for part in form["body"] if part["type"] == "textarea"]
    assert form["name"]
    assert form["description"]
    assert len({question["id"] for question in questions}) == len(questions) > 1
    assert all(question["attributes"]["label"] for question in questions)
