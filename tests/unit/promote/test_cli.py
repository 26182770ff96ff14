"""The commands over a world of fakes: what they print and how they end."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import tomllib
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from promote import wiring
from promote.cli import app
from promote.errors import ForgeUnavailable
from promote.evidence.judging import EvidenceJudge
from tests.fakes.promotion_world import MODEL, PATH, World

ROOT = Path(__file__).parents[3]
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
    monkeypatch.setattr(wiring, "open_forge", lambda _: world.parts().forge)
    monkeypatch.setattr(wiring, "open_parts", lambda _: world.parts())
    monkeypatch.setattr(
        EvidenceJudge, "__call__", lambda _, *arguments, **named: world.judge(*arguments, **named)
    )
    return world


def promote(*arguments: str) -> Any:
    return CliRunner().invoke(app, arguments)


def test_help_loads_no_library_that_takes_seconds() -> None:
    heavy = {
        "mlflow",
        "github",
        "scipy",
        "pyarrow",
        "matplotlib",
        "onnxruntime",
        "fastapi",
        "numpy",
        "yaml",
    }
    code = "import sys; from promote.cli import app; "
    code += "app(['reconcile', '--help'], standalone_mode=False); "
    code += f"print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")


def test_commands_of_the_forge_load_neither_mlflow_nor_what_judges() -> None:
    loaded = "promote.commands.served_at, promote.commands.rollback, promote.forge.github"
    code = f"import sys, {loaded}"
    code += "; print(sorted({'mlflow', 'onnxruntime', 'pyarrow', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_version_is_that_of_the_wheel() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    done = promote("--version")
    assert (done.exit_code, done.output) == (0, f"ratchet {pyproject['project']['version']}\n")


def test_one_pass_over_all_models_of_main(world: World) -> None:
    world.register()
    done = promote("reconcile", "--once")
    assert (done.exit_code, done.output) == (
        0,
        "flight-delay v1 in production: proposed, pull request 1; waits for a reviewer. "
        "#1 waits for a review.\n",
    )


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
    assert (promotion["state"], promotion["version"], promotion["waits_for"]) == (
        "unjudged",
        1,
        "promote",
    )


def test_status_as_json_says_since_when_and_not_when_it_was_asked(world: World) -> None:
    world.register()
    promote("reconcile", "--once")
    opened = world.open_pull().pull.created_at
    world.at += timedelta(days=1)

    (promotion,) = json.loads(promote("status", "--json").output)

    assert (promotion["state"], datetime.fromisoformat(promotion["since"])) == ("proposed", opened)


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
def test_judge_keeps_nothing_and_tells_verdicts_apart_only_when_strict(
    world: World, outcome: Any, code: int
) -> None:
    world.register(outcome)
    assert promote("judge", MODEL).exit_code == 0
    assert promote("judge", MODEL, "--strict").exit_code == code
    assert not world.registry.acts


def test_rollback_names_the_pull_request_and_twice_is_once(world: World) -> None:
    world.ship()
    world.ship()
    first, second = (
        json.loads(promote("rollback", MODEL, "--reason", "complaints", "--json").output)
        for _ in range(2)
    )
    assert (first["is_new"], second["is_new"], first["pull_request"]) == (
        True,
        False,
        second["pull_request"],
    )
    assert first["branch"].startswith("ratchet/flight-delay/production/rollback-to-v1-over-")


def test_rollback_needs_the_forge_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.ship()
    world.ship()

    def away(_: object) -> None:
        raise AssertionError("MLflow, the images or the cluster were opened")

    monkeypatch.setattr(wiring, "open_parts", away)
    assert promote("rollback", MODEL, "--reason", "complaints").exit_code == 0


def test_a_second_reason_and_a_closed_rollback_are_said(world: World) -> None:
    for _ in range(3):
        world.ship()
    promote("rollback", MODEL, "--reason", "complaints")
    again = promote("rollback", MODEL, "--reason", "more complaints").output
    assert "is open already; the reason was added to it as a comment" in again
    other = promote("rollback", MODEL, "--reason", "further back", "--to", "1").output
    assert "Closed, since it went elsewhere: pull request 4." in other


def test_status_says_what_serves_what_is_open_and_what_is_waited_for(world: World) -> None:
    world.ship()
    world.register()
    promote("reconcile", "--once")
    world.register("inconclusive")
    promote("reconcile", "--once")

    lines = promote("status").output.splitlines()

    assert lines[0] == "flight-delay in production"
    assert lines[1].startswith("  serving   v1 since 2026-01-05 06:")
    assert lines[1].endswith("by pull request 1: https://forge.test/pull/1")
    assert lines[2].startswith("  open      pull request 2, v2, since 2026-01-05")
    assert lines[2].endswith("https://forge.test/pull/2")
    assert lines[3].startswith("  state     v3 inconclusive since 2026-01-05")
    assert lines[4] == "  waits for a reviewer"


def test_reconcile_without_once_outlives_an_outage(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    real = world.forge.head

    def head() -> str:
        asked.append(1)
        if len(asked) == 1:
            raise ForgeUnavailable("The forge does not answer.")
        return real()

    def rest(_: float) -> None:
        if len(asked) > 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(world.forge, "head", head)
    monkeypatch.setattr(time, "sleep", rest)
    world.register()
    done = promote("reconcile")
    assert "proposed" in done.output
    assert done.exit_code == 130


def test_what_waits_for_a_person_ends_with_1(world: World) -> None:
    world.ship()
    world.forge.push({PATH: b"by hand"})
    assert promote("reconcile", "--once").exit_code == 1


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
    output = promote("served-at", MODEL, world.at.isoformat()).output
    assert "last seen healthy: version 2" in output


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
    assert done.output == "flight-delay has no version 99. Its newest versions: 1.\n"


def test_judge_local_needs_mlflow_and_the_model_file_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in SETTINGS.keys() - {"PROMOTE_TRACKING_URL"}:
        monkeypatch.delenv(name)
    monkeypatch.setattr(wiring, "open_parts", lambda _: pytest.fail("asked for the other parts"))
    monkeypatch.setattr(wiring, "open_registry", lambda _: world.registry)
    models = str(ROOT / "dags" / "models")
    world.register()
    first = promote("judge", MODEL, "--local", "--models", models)
    assert first.exit_code == 0, first.output
    world.register("keep")
    again = promote("judge", MODEL, "--local", "--strict", "--against", "1", "--models", models)
    assert again.exit_code == 3
    assert world.judge.asked == [(1, None), (2, 1)]
    assert not world.registry.acts


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nobody-knows"], "no YAML in"),
        ([MODEL, "--against", "99"], "has no version 99"),
    ],
)
def test_judge_local_says_what_is_missing(
    world: World, monkeypatch: pytest.MonkeyPatch, words: list[str], sentence: str
) -> None:
    monkeypatch.setattr(wiring, "open_registry", lambda _: world.registry)
    world.register()
    models = str(ROOT / "dags" / "models")
    done = promote("judge", *words, "--local", "--models", models)
    assert done.exit_code != 0
    assert sentence in done.output
    assert "Traceback" not in done.output
