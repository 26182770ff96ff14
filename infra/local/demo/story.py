"""The story: a first week, more weeks, a quiet week, a bad day.

The gate decides every verdict. Nothing here chooses one.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.error import URLError
from urllib.parse import quote

from infra.local.airflow import DONE, Airflow
from infra.local.demo import second_model
from infra.local.demo.clients import Answer, Clients
from infra.local.demo.rows import example_rows
from infra.local.demo.summary import Summary, Week
from infra.local.flights import load_flights
from infra.local.stack.addresses import say_addresses
from infra.local.stack.laptop import MODEL, Laptop
from infra.local.stack.terminal import say
from infra.local.stack.web import Refused, fetch, press_button, wait_for

DAG = f"retrain-{MODEL}"


class StoryBroken(RuntimeError):
    """Something that the loop promises did not happen."""


@dataclass
class Story:
    """The demo's steps, told on one laptop."""

    laptop: Laptop
    summary: Summary
    first_week: date
    weeks: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    known: list[tuple[datetime, int]] = field(default_factory=list)
    """Instants at which a version was seen to answer."""

    def tell(self) -> None:
        """Run every step."""
        self._prepare()
        with self.summary.step(
            f"The first week, rows before {self.first_week}: against the constant as a constant"
        ):
            self._one_week(self.first_week)
            self._expect(
                self.summary.weeks[-1].verdict == "promote",
                "the first week's model beats the constant; choose another --first-week",
            )
        end = self.first_week
        for _ in range(self.weeks - 1):
            end += timedelta(days=7)
            with self.summary.step(f"A week later: rows before {end} have arrived"):
                self._load_until(end)
                self._one_week(end)
        second = second_model.begin(self._airflow, self.first_week)
        self._same_week_again(end)
        self._quiet_week(end + timedelta(days=7))
        with self.summary.step("A second model, a regression: how many minutes late?"):
            second_model.finish(self.laptop, self._airflow, second, self.rows[0])
        self._roll_back()
        self._ask_who_served()

    def _prepare(self) -> None:
        with self.summary.step(
            f"Load the flights that departed before {self.first_week} into DuckDB"
        ):
            self._load_until(self.first_week)
            self.rows = example_rows(self.laptop.warehouse, before=self.first_week)
        with self.summary.step(
            "Start MLflow, the forge, the cluster, the promotion service, the gateway and Airflow"
        ):
            self.laptop.start()
            self._airflow.unpause(DAG)
            self.say_addresses()

    @property
    def _airflow(self) -> Airflow:
        if self.laptop.airflow is None:
            raise StoryBroken("Airflow was not started")
        return self.laptop.airflow

    def say_addresses(self) -> None:
        """Print the addresses, a request to copy, and how to use the commands."""
        laptop = self.laptop
        say_addresses(laptop)
        body = json.dumps({"instances": self.rows[:1]})
        headers = f"-H 'Authorization: Bearer {laptop.key}' -H 'Content-Type: application/json'"
        say(f"   curl -s {self._predict_url} {headers} -d '{body}'")
        env = laptop.write_env()
        say(f'   `source {env}`, then every command of README\'s "Ask Ratchet" asks this demo.')

    def _load_until(self, end: date) -> None:
        load_flights(
            self.laptop.warehouse,
            until=datetime(end.year, end.month, end.day, tzinfo=UTC),
            say=lambda line: say(f"   {line}"),
        )

    def _one_week(self, end: date) -> None:
        """Retrain through Airflow; review what it led to; merge what the gate supports."""
        states = self._retrain(end, reason="the demo's weekly run")
        self._expect(
            states.get("promote") == "success", f"the promote task ends well, found {states}"
        )
        promotion = self._promotion()
        week = self._week_of(end, promotion)
        self.summary.weeks.append(week)
        if week.improvement is not None:
            span = f"{week.improvement:+.4f} [{week.lower:+.4f}, {week.upper:+.4f}]"
            say(
                f"   version {week.version}: {week.verdict} ({week.kind}): {week.metric} improves"
                f" by {span}"
            )
        if week.verdict == "promote":
            self._review_and_merge(week)

    def _retrain(self, end: date, *, reason: str) -> dict[str, str]:
        airflow = self._airflow
        run = airflow.trigger(DAG, window_end=end.isoformat(), reason=reason)
        state = wait_for(
            f"the Airflow run {run}",
            lambda: s if (s := airflow.run_state(DAG, run)) in DONE else None,
            timeout_seconds=400,
            every_seconds=0.5,
        )
        states = airflow.task_states(DAG, run)
        if state != "success":
            logs = "\n".join(airflow.log(DAG, run, task)[-3000:] for task in ("retrain", "promote"))
            raise StoryBroken(f"the Airflow run for {end} ended as {state}: {states}\n{logs}")
        return states

    def _promotion(self) -> dict[str, Any]:
        return dict(fetch("GET", f"{self.laptop.promote_url}/promotions/{MODEL}"))

    def _week_of(self, end: date, promotion: dict[str, Any]) -> Week:
        verdict = self._verdict(promotion["version"])
        week = Week(
            end.isoformat(), verdict["outcome"], verdict["kind"], version=promotion["version"]
        )
        if verdict["comparisons"]:
            first = verdict["comparisons"][0]
            week.metric = first["metric"]
            week.improvement, week.lower, week.upper = (
                first["improvement"][bound] for bound in ("estimate", "lower", "upper")
            )
        return week

    def _verdict(self, version: int) -> dict[str, Any]:
        return dict(
            json.loads(self.laptop.command("promote", "explain", MODEL, str(version), "--json"))
        )

    def _review_and_merge(self, week: Week) -> None:
        number = wait_for(
            "a pull request", lambda: self._promotion()["pull_request"], timeout_seconds=60
        )
        week.pull_request = number
        pull = self.laptop.forge_api("GET", f"/pulls/{number}")
        self._note_seconds_to_pull_request(week, pull)
        say(f"   pull request {number}: {pull['title']}\n   {pull['html_url']}")
        if not self.known:
            self._try_without_review(pull)
        self._roll_out(pull, "squash" if number % 2 else "merge", week.version or 0)
        week.image_digest = self._ask()[1]

    def _try_without_review(self, pull: dict[str, Any]) -> None:
        """Show that the forge enforces production's ruleset."""
        self.laptop.wait_for_gate(pull)
        try:
            press_button(pull["html_url"], act="merge", sha=pull["head"]["sha"])
        except Refused as refused:
            self._expect(refused.status == 405, f"the ruleset refuses the merge, found {refused}")
            say("   The forge refuses to merge without a review, as production's ruleset does.")
            return
        raise StoryBroken("promised: nobody merges without a review")

    def _roll_out(self, pull: dict[str, Any], method: str, version: int) -> None:
        """Merge, and count what clients get meanwhile. There are none before the first release."""
        if not self.known:
            self._merge_and_watch(pull, method, version)
            return
        clients = Clients(self._predict_url, self.laptop.key, self.rows)
        clients.start()
        self._merge_and_watch(pull, method, version)
        ended_at = time.monotonic()
        time.sleep(2)  # after the rollout's end no old version may answer
        self._count(clients.stop(), new=version, ended_at=ended_at)

    def _note_seconds_to_pull_request(self, week: Week, pull: dict[str, Any]) -> None:
        found = fetch(
            "GET",
            f"{self.laptop.mlflow_url}/api/2.0/mlflow/model-versions/get?name={MODEL}&version={week.version}",
        )
        registered_at = int(found["model_version"]["creation_timestamp"]) / 1000
        opened_at = datetime.fromisoformat(pull["created_at"]).timestamp()
        self.summary.seconds["challenger_to_pull_request"].append(
            round(max(0.0, opened_at - registered_at), 1)
        )

    def _merge_and_watch(self, pull: dict[str, Any], method: str, version: int) -> None:
        """Review and merge. Wait for the first answer of `version`, then for the alias."""
        self.laptop.merge(pull, method)
        merged_at = time.monotonic()
        say(f"   approved and merged ({method}); waiting for version {version} to answer")
        patience = self.laptop.patience_seconds
        wait_for(
            f"an answer of version {version}",
            lambda: True if self._ask()[0] == version else None,
            timeout_seconds=patience,
            every_seconds=0.05,
        )
        seconds = round(time.monotonic() - merged_at, 1)
        self.summary.seconds["merge_to_first_answer"].append(seconds)
        say(f"   version {version} answers through the gateway {seconds} s after the merge")
        wait_for(
            f"alias champion on version {version}",
            lambda: True if self._champion() == version else None,
            timeout_seconds=patience,
        )
        self.laptop.wait_for_end_of_rollout()
        self.known.append((datetime.now(UTC), version))

    @property
    def _predict_url(self) -> str:
        return f"{self.laptop.gateway_url}/v1/models/{MODEL}:predict"

    def _ask(self) -> tuple[int | None, str | None]:
        """Return version and image digest that answer now; nothing before the first rollout."""
        try:
            answer = fetch(
                "POST",
                self._predict_url,
                {"instances": self.rows[:1]},
                {"Authorization": f"Bearer {self.laptop.key}"},
            )
        except Refused as refused:
            if refused.status in (404, 503):
                return None, None
            raise
        except URLError:
            if self.known:
                raise
            return None, None  # a gateway on Kubernetes has no address before it is ready
        metadata = self._served_image()
        return int(answer["model_version"]), metadata

    def _served_image(self) -> str | None:
        image: str = self.laptop.deployment()["spec"]["template"]["spec"]["containers"][0]["image"]
        return image.rpartition("@")[2]

    def _champion(self) -> int | None:
        try:
            found = fetch(
                "GET",
                f"{self.laptop.mlflow_url}/api/2.0/mlflow/registered-models/alias?name={quote(MODEL)}&alias=champion",
            )
        except Refused as refused:
            if refused.status in (400, 404):
                return None
            raise
        return int(found["model_version"]["version"])

    def _count(self, answers: list[Answer], *, new: int, ended_at: float) -> None:
        requests = self.summary.requests
        versions = Counter(str(answer.version) for answer in answers if answer.version is not None)
        failed = [answer for answer in answers if answer.version is None]
        late = [
            answer
            for answer in answers
            if answer.asked_at > ended_at and answer.version not in (None, new)
        ]
        requests["sent"] += len(answers)
        requests["failed"] += len(failed)
        requests["by_version"] = dict(Counter(requests["by_version"]) + versions)
        say(
            f"   {len(answers)} requests during the rollout: {len(failed)} failed, by version"
            f" {dict(versions)}, {len(late)} of the old after its end"
        )
        self._expect(
            not failed,
            "no request fails during a rollout; statuses"
            f" {Counter(answer.status for answer in failed)}",
        )
        self._expect(
            len(versions) == 2, f"old and new both answer during the rollout, seen {dict(versions)}"
        )
        self._expect(not late, "none of the old answers after the rollout's end")

    def _same_week_again(self, end: date) -> None:
        with self.summary.step(
            f"The same week again ({end}): the run is found, nothing is trained twice"
        ):
            before = self._versions()
            self._retrain(end, reason="the demo asks for the same week again")
            self._expect(self._versions() == before, "the same week registers no second version")
            say(f"   still {before} versions")

    def _quiet_week(self, end: date) -> None:
        with self.summary.step(f"A quiet week: no row arrived before {end}"):
            states = self._retrain(end, reason="a week in which no rows arrive")
            self._expect(
                states == {"retrain": "skipped", "promote": "success"},
                f"an unchanged window is skipped, found {states}",
            )
            self.summary.weeks.append(Week(window_end=end.isoformat(), verdict="unchanged"))
            say("   unchanged: nothing trained, nothing registered")

    def _versions(self) -> int:
        found = fetch(
            "GET",
            f"{self.laptop.mlflow_url}/api/2.0/mlflow/model-versions/search?filter={quote(f'name={MODEL!r}')}",
        )
        return len(found.get("model_versions", []))

    def _roll_back(self) -> None:
        with self.summary.step(
            "A bad day: promote rollback, reviewed and merged like everything else"
        ):
            if len({version for _, version in self.known}) < 2:
                say("   only one release served: there is nothing to go back to")
                return
            now = self._ask()[0]
            reason = ("--reason", "complaints about yesterday")
            say(f"   {self.laptop.command('promote', 'rollback', MODEL, *reason).strip()}")
            open_pulls = self.laptop.forge_api("GET", "/pulls?state=open")
            pull = next(pull for pull in open_pulls if "/rollback-" in pull["head"]["ref"])
            before = [version for _, version in self.known if version != now][-1]
            self._roll_out(pull, "merge", before)
            say(f"   version {now} is out, version {before} answers, and alias champion follows it")

    def _ask_who_served(self) -> None:
        with self.summary.step("Who served when, and why: promote served-at"):
            moments = [self.known[0], self.known[len(self.known) // 2], self.known[-1]]
            for at, version in moments:
                found = json.loads(
                    self.laptop.command("promote", "served-at", MODEL, at.isoformat(), "--json")
                )
                say(
                    f"   {at:%H:%M:%S}: version {found['version']}, pull request"
                    f" {found['pull_request']}, {found['image_digest']}"
                )
                self._expect(
                    found["version"] == version, f"version {version} was seen to answer at {at}"
                )
                self.summary.served_at.append(
                    {key: found[key] for key in ("at", "version", "image_digest", "pull_request")}
                )

    @staticmethod
    def _expect(is_true: bool, claim: str) -> None:
        if not is_true:
            raise StoryBroken(f"promised: {claim}")
