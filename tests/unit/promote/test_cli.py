"""The commands over a world of fakes: what they print and how they end."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from typer.testing import CliRunner

from promote import wiring
from promote.cli import app
from promote.judging import EvidenceJudge
from tests.fakes.promotion_world import MODEL, World

SETTINGS = {
    "PROMOTE_TRACKING_URL": "http://mlflow.test",
    "PROMOTE_FORGE_TOKEN": "secret",
    "PROMOTE_REPOSITORY": "acme/ratchet",
    "PROMOTE_IMAGES": "oci-layout:/images",
    "PROMOTE_CLUSTER_URL": "http://cluster.test",
}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(wiring, "open_reconciler", lambda _: (world.parts(), world.reconciler()))
    monkeypatch.setattr(wiring, "open_forge", lambda _: world.parts().forge)
    monkeypatch.setattr(EvidenceJudge, "__call__", lambda _, *arguments, **named: world.judge(*arguments, **named))
    return world


def promote(*arguments: str) -> Any:
    return CliRunner().invoke(app, arguments)


def test_help_loads_no_library_that_takes_seconds() -> None:
    heavy = {"mlflow", "github", "scipy", "pyarrow", "matplotlib", "onnxruntime", "fastapi", "numpy", "yaml"}
    code = f"import sys; from promote.cli import app; app(['reconcile', '--help'], standalone_mode=False); print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")


def test_who_served_when_loads_neither_mlflow_nor_what_judges() -> None:
    code = "import sys; from promote.wiring import open_forge; import promote.history_reader, promote.history, promote.release, promote.github_forge"
    code += "; print(sorted({'mlflow', 'onnxruntime', 'pyarrow', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_one_pass_over_all_models_of_main(world: World) -> None:
    world.register()
    done = promote("reconcile", "--once")
    assert (done.exit_code, done.output) == (0, "flight-delay v1 in production: proposed, pull request 1; waits for a reviewer of #1\n")


def test_a_dry_run_says_the_next_act_and_does_nothing(world: World) -> None:
    world.register()
    done = promote("reconcile", "--dry-run", "--json")
    assert json.loads(done.output)["act"] == "judge"
    assert not world.registry.acts


def test_an_outage_ends_with_75(world: World) -> None:
    world.registry.is_down = True
    assert promote("reconcile", "--once").exit_code == 75
    assert promote("explain", MODEL, "1").exit_code == 75


def test_status_as_json(world: World) -> None:
    world.register()
    (promotion,) = json.loads(promote("status", "--json").output)
    assert (promotion["state"], promotion["version"], promotion["waiting_for"]) == ("unjudged", 1, "promote")


def test_explain_tells_the_verdict_in_words_and_as_json(world: World) -> None:
    world.register("keep")
    promote("reconcile", "--once")
    assert "flight-delay v1" in promote("explain", MODEL, "1").output
    assert json.loads(promote("explain", MODEL, "1", "--json").output)["outcome"] == "keep"


def test_explain_of_an_unjudged_version_says_what_to_do(world: World) -> None:
    world.register()
    done = promote("explain", MODEL, "1")
    assert done.exit_code == 1
    assert "promote judge flight-delay" in done.output


@pytest.mark.parametrize(("outcome", "code"), [("promote", 0), ("keep", 3), ("inconclusive", 4)])
def test_judge_keeps_nothing_and_tells_verdicts_apart_only_when_strict(world: World, outcome: Any, code: int) -> None:
    world.register(outcome)
    assert promote("judge", MODEL).exit_code == 0
    assert promote("judge", MODEL, "--strict").exit_code == code
    assert not world.registry.acts


def test_rollback_names_the_pull_request_and_twice_is_once(world: World) -> None:
    world.ship()
    world.ship()
    first, second = (json.loads(promote("rollback", MODEL, "--reason", "complaints", "--json").output) for _ in range(2))
    assert first == second
    assert first["branch"].startswith("ratchet/flight-delay/production/rollback-to-v1-over-")


def test_rollback_to_a_version_that_never_served_is_refused(world: World) -> None:
    world.ship()
    done = promote("rollback", MODEL, "--reason", "complaints", "--to", "7")
    assert done.exit_code == 1
    assert "go back to version 7" in done.output


def test_served_at_tells_three_moments_apart(world: World) -> None:
    before = world.at
    world.ship()
    between = world.at
    world.ship()

    def at(moment: Any) -> Any:
        return json.loads(promote("served-at", MODEL, moment.isoformat(), "--json").output)

    assert at(before)["version"] is None
    assert (at(between)["version"], at(between)["pull_request"]) == (1, 1)
    assert (at(world.at)["version"], at(world.at)["pull_request"]) == (2, 2)
    assert at(world.at)["image_digest"].startswith("sha256:")
    assert "version 2" in promote("served-at", MODEL, world.at.isoformat()).output


@pytest.mark.parametrize("instant", ["yesterday", "2026-05-04T12:00:00", ""])
def test_an_instant_without_a_time_zone_is_a_mistake_in_use(world: World, instant: str) -> None:
    assert promote("served-at", MODEL, instant).exit_code == 2


def test_all_missing_settings_are_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    done = promote("status")
    assert done.exit_code == 2
    assert all(name in done.output for name in SETTINGS)
    assert "secret" not in done.output


def test_a_name_that_is_none_is_a_mistake_in_use(world: World) -> None:
    assert promote("rollback", "../etc", "--reason", "x").exit_code == 2


def test_explaining_a_version_that_is_not_there_says_which_there_are(world: World) -> None:
    world.register()
    done = promote("explain", "flight-delay", "99")
    assert done.exit_code == 1
    assert done.output == "flight-delay has no version 99. Its newest versions are 1.\n"
