"""Every answer of the local forge fits GitHub's own description of its API."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import jsonschema
import pytest

from infra.local.forge.rest import OPERATIONS
from tests.grounds import github_description
from tests.grounds.forge_server import REPOSITORY, REVIEWER_TOKEN, start_forge

_REPO = f"/repos/{REPOSITORY}"


@dataclass(frozen=True)
class Exchange:
    """A request and what came back."""

    method: str
    path: str
    body: Any
    status: int
    answer: Any
    headers: dict[str, str]


@dataclass
class Teller:
    """Asks the forge over HTTP, and keeps what was said."""

    port: int
    token: str
    told: list[Exchange] = field(default_factory=list)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        status: int,
        raw: bytes | None = None,
        token: str | None = None,
    ) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        authorization = f"Bearer {self.token}" if token is None else token
        content = (
            raw if raw is not None else json.dumps(body).encode() if body is not None else None
        )
        connection.request(
            method,
            f"/api/v3{path}",
            content,
            {"Authorization": authorization, "Content-Type": "application/json"},
        )
        response = connection.getresponse()
        text = response.read()
        connection.close()
        answer = json.loads(text) if text else None
        assert response.status == status, (
            f"{method} {path}: {response.status} {text.decode()[:500]}"
        )
        self.told.append(
            Exchange(
                method,
                path.partition("?")[0],
                body,
                status,
                answer,
                {name.lower(): value for name, value in response.getheaders()},
            )
        )
        return answer

    def get(self, path: str, *, status: int = 200) -> Any:
        return self.ask("GET", f"{_REPO}{path}", status=status)

    def post(self, path: str, body: Any, *, status: int = 201) -> Any:
        return self.ask("POST", f"{_REPO}{path}", body, status=status)

    def branch(self, name: str, files: dict[str, str | None]) -> str:
        main = self.get("/git/ref/heads/main")["object"]["sha"]
        entries = [
            {
                "path": path,
                "mode": "100644",
                "type": "blob",
                **({"sha": None} if text is None else {"content": text}),
            }
            for path, text in files.items()
        ]
        tree = self.post(
            "/git/trees",
            {"base_tree": self.get(f"/git/commits/{main}")["tree"]["sha"], "tree": entries},
        )["sha"]
        commit = str(
            self.post(
                "/git/commits", {"message": f"Change {name}", "tree": tree, "parents": [main]}
            )["sha"]
        )
        self.post("/git/refs", {"ref": f"refs/heads/{name}", "sha": commit})
        return commit


def _tell_of_git(forge: Teller) -> None:
    main = forge.get("/git/ref/heads/main")["object"]["sha"]
    forge.get("/git/ref/heads/none", status=404)
    blob = forge.post(
        "/git/blobs", {"content": base64.b64encode(b"\x00\xff").decode(), "encoding": "base64"}
    )["sha"]
    assert base64.b64decode(forge.get(f"/git/blobs/{blob}")["content"]) == b"\x00\xff"
    forge.get(f"/git/blobs/{'0' * 40}", status=404)
    forge.post("/git/blobs", {"content": "a", "encoding": "base64"}, status=422)
    tree = forge.post(
        "/git/trees", {"tree": [{"path": "a/b.bin", "mode": "100644", "type": "blob", "sha": blob}]}
    )["sha"]
    forge.post(
        "/git/trees",
        {"tree": [{"path": "a", "mode": "100644", "type": "blob", "sha": "1" * 40}]},
        status=422,
    )
    forge.post(
        "/git/trees",
        {"tree": [{"path": "../a", "mode": "100644", "type": "blob", "sha": blob}]},
        status=422,
    )
    assert [entry["path"] for entry in forge.get(f"/git/trees/{tree}?recursive=1")["tree"]] == [
        "a",
        "a/b.bin",
    ]
    forge.get(f"/git/trees/{'0' * 40}", status=404)
    forge.post("/git/commits", {"message": "no tree", "tree": "0" * 40}, status=422)
    forge.get(f"/git/commits/{'0' * 40}", status=404)
    forge.get("/git/matching-refs/heads/ma")
    forge.post("/git/refs", {"ref": "refs/heads/x", "sha": main})
    forge.post("/git/refs", {"ref": "refs/heads/x", "sha": main}, status=422)
    forge.post("/git/refs", {"ref": "refs/heads/x/y", "sha": main}, status=422)
    forge.post("/git/refs", {"ref": "main", "sha": main}, status=422)
    forge.post("/git/refs", {"ref": "refs/heads/y", "sha": "0" * 40}, status=422)
    forge.ask("PATCH", f"{_REPO}/git/refs/heads/x", {"sha": main, "force": True}, status=200)
    other = forge.branch("z", {"z.txt": "z\n"})
    forge.ask("PATCH", f"{_REPO}/git/refs/heads/x", {"sha": other}, status=200)
    forge.ask("PATCH", f"{_REPO}/git/refs/heads/x", {"sha": main}, status=422)
    forge.ask("DELETE", f"{_REPO}/git/refs/heads/x", status=204)
    forge.ask("DELETE", f"{_REPO}/git/refs/heads/x", status=422)


def _tell_of_commits(forge: Teller) -> None:
    for path in ("", "/README.md", "/gitops", "/link"):
        forge.get(f"/contents{path}?ref=main")
    forge.get("/contents/none", status=404)
    forge.get("/contents/README.md?ref=none", status=404)
    sha = forge.get("/commits?sha=main&path=README.md&per_page=1")[0]["sha"]
    forge.get("/commits?sha=none", status=404)
    forge.get(f"/commits/{sha}")
    forge.get("/commits/none", status=422)
    child = forge.branch("compared", {"compared.txt": "c\n", "README.md": None})
    compared = forge.get(f"/compare/{sha}...{child}")
    assert [file["status"] for file in compared["files"]] == ["removed", "added"]
    assert forge.get("/compare/main...compared?per_page=1&page=2")["files"] == []
    assert forge.get(f"/compare/{child}...{sha}")["status"] == "behind"
    forge.get(f"/compare/{sha}...none", status=404)
    forge.get(f"/compare/{sha}", status=404)
    forge.get("/branches")
    forge.get("/branches/main")
    forge.get("/branches/none", status=404)
    forge.get(f"/commits/{sha}/status")
    forge.post(
        f"/statuses/{sha}",
        {
            "state": "success",
            "context": "ratchet/gate",
            "description": "fine",
            "target_url": "http://127.0.0.1:1/runs",
        },
    )
    forge.post(f"/statuses/{sha}", {"state": "pending"})
    forge.get(f"/commits/{sha}/status")
    forge.get(f"/commits/{sha}/statuses?per_page=1")


def _tell_of_a_merge(forge: Teller, method: str) -> None:
    head = forge.branch(
        f"ratchet/{method}", {f"gitops/{method}.yaml": "version: 8\n", "README.md": f"{method}\n"}
    )
    number = forge.post(
        "/pulls",
        {
            "title": f"By {method}",
            "head": f"ratchet/{method}",
            "base": "main",
            **({} if method == "merge" else {"body": "Why"}),
        },
    )["number"]
    forge.post(
        "/pulls", {"title": "Again", "head": f"ratchet/{method}", "base": "main"}, status=422
    )
    forge.post(f"/statuses/{head}", {"state": "success", "context": "ratchet/gate"})
    for part in ("", "/files", "/commits"):
        forge.get(f"/pulls/{number}{part}")
    forge.get(f"/pulls/{number}/merge", status=404)
    forge.ask("PUT", f"{_REPO}/pulls/{number}/merge", {"sha": "0" * 40}, status=409)
    forge.ask(
        "PUT", f"{_REPO}/pulls/{number}/merge", {"merge_method": method, "sha": head}, status=200
    )
    forge.ask("PUT", f"{_REPO}/pulls/{number}/merge", {"merge_method": method}, status=405)
    forge.get(f"/pulls/{number}/merge", status=204)
    forge.get(f"/pulls/{number}")


def _tell_of_pulls(forge: Teller) -> None:
    forge.branch("ratchet/conflict", {"README.md": "ours\n"})
    for method in ("merge", "squash", "rebase"):
        _tell_of_a_merge(forge, method)
    number = forge.post(
        "/pulls", {"title": "Conflict", "head": "acme:ratchet/conflict", "base": "main"}
    )["number"]
    assert forge.get(f"/pulls/{number}")["mergeable"] is False
    forge.ask("PUT", f"{_REPO}/pulls/{number}/merge", {}, status=405)
    forge.post("/pulls", {"title": "No head", "head": "none", "base": "main"}, status=422)
    forge.post(
        "/git/refs",
        {"ref": "refs/heads/same", "sha": forge.get("/git/ref/heads/main")["object"]["sha"]},
    )
    forge.post("/pulls", {"title": "Nothing new", "head": "same", "base": "main"}, status=422)
    forge.post("/pulls", {"head": "same", "base": "main"}, status=422)
    for query in (
        "",
        "?state=all&head=acme:ratchet/squash&base=main",
        "?state=closed&sort=updated&direction=desc&per_page=1&page=2",
    ):
        forge.get(f"/pulls{query}")
    forge.get("/pulls?state=neither", status=422)
    forge.get("/pulls/99", status=404)
    forge.ask(
        "PATCH", f"{_REPO}/pulls/{number}", {"state": "closed", "title": "Closed"}, status=200
    )
    forge.ask("PATCH", f"{_REPO}/pulls/{number}", {"state": "half"}, status=422)
    forge.ask("PATCH", f"{_REPO}/pulls/1", {"state": "open"}, status=422)
    _tell_of_talk(forge, number)


def _tell_of_talk(forge: Teller, number: int) -> None:
    forge.get(f"/issues/{number}")
    forge.ask("PATCH", f"{_REPO}/issues/{number}", {"state": "open", "body": "again"}, status=200)
    forge.post(
        f"/pulls/{number}/requested_reviewers",
        {"reviewers": ["ada"], "team_reviewers": ["ml-platform"]},
    )
    forge.post(f"/pulls/{number}/requested_reviewers", {"reviewers": ["ratchet-bot"]}, status=422)
    forge.get(f"/pulls/{number}/requested_reviewers")
    forge.get(f"/pulls/{number}")
    forge.ask(
        "DELETE", f"{_REPO}/pulls/{number}/requested_reviewers", {"reviewers": ["ada"]}, status=200
    )
    comment = forge.post(f"/issues/{number}/comments", {"body": "Rolled out."})["id"]
    forge.post("/issues/99/comments", {"body": "Nowhere"}, status=404)
    forge.post(f"/issues/{number}/comments", {"body": "x" * 65537}, status=422)
    forge.get(f"/issues/{number}/comments")
    forge.get(f"/issues/comments/{comment}")
    forge.ask(
        "PATCH", f"{_REPO}/issues/comments/{comment}", {"body": "Rolled out, healthy."}, status=200
    )
    forge.get("/issues/comments/99", status=404)
    forge.post("/labels", {"name": "ratchet/rollback", "color": "b60205"})
    forge.post("/labels", {"name": "ratchet/rollback"}, status=422)
    forge.post(
        f"/issues/{number}/labels",
        {"labels": ["ratchet/rollback", "ratchet/superseded"]},
        status=200,
    )
    forge.get("/labels")
    forge.get(f"/issues/{number}/labels")
    forge.get("/pulls")
    forge.ask("DELETE", f"{_REPO}/issues/{number}/labels/ratchet/rollback", status=200)
    forge.ask("DELETE", f"{_REPO}/issues/{number}/labels/none", status=404)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Exchange]]:
    files = {"README.md": b"# Production\n", "gitops/a.yaml": b"a: 1\n", "link": b"README.md"}
    program, api, _, token = start_forge(
        tmp_path_factory.mktemp("forge") / "ratchet.git", files=files
    )
    try:
        forge = Teller(int(api.split(":")[2].split("/")[0]), token)
        forge.ask("GET", "/user", status=200)
        assert (
            forge.ask("GET", "/user", status=200, token=f"token {REVIEWER_TOKEN}")["login"]
            == "reviewer"
        )
        forge.ask("GET", "/user", status=401, token="token wrong")
        forge.ask("GET", "/rate_limit", status=200)
        forge.ask("GET", _REPO, status=200)
        forge.ask("GET", "/repos/acme/other", status=404)
        _tell_of_git(forge)
        _tell_of_commits(forge)
        _tell_of_pulls(forge)
        yield forge.told
    finally:
        program.stop()


@pytest.mark.parametrize("status_class", [2, 4])
def test_every_answer_is_one_that_github_describes(told: list[Exchange], status_class: int) -> None:
    exchanges = [exchange for exchange in told if exchange.status // 100 == status_class]
    wrong = []
    for exchange in exchanges:
        try:
            github_description.check_answer(
                github_description.operation_of(exchange.method, exchange.path),
                exchange.status,
                exchange.answer,
            )
        except (AssertionError, jsonschema.ValidationError) as error:
            wrong.append(
                f"{exchange.method} {exchange.path} → {exchange.status}: {str(error)[:600]}"
            )
    assert not wrong, "\n".join(wrong)
    assert len(exchanges) > 20


def test_the_requests_of_this_test_are_ones_that_github_reads(told: list[Exchange]) -> None:
    for exchange in told:
        if exchange.status < 400:
            github_description.check_body(
                github_description.operation_of(exchange.method, exchange.path), exchange.body
            )


def test_every_operation_of_the_forge_was_asked_and_answered(told: list[Exchange]) -> None:
    answered = {
        github_description.operation_of(exchange.method, exchange.path)
        for exchange in told
        if exchange.status < 300
    }
    assert len(answered) >= len(OPERATIONS) - 3, (
        "contents and statuses have two paths each here, one in the description"
    )


def test_a_described_answer_with_one_field_less_is_noticed(told: list[Exchange]) -> None:
    pull = next(
        exchange
        for exchange in told
        if exchange.path == f"{_REPO}/pulls" and exchange.status == 201
    )
    with pytest.raises(jsonschema.ValidationError, match="mergeable_state"):
        github_description.check_answer(
            ("POST", "/repos/{owner}/{repo}/pulls"),
            201,
            {name: value for name, value in pull.answer.items() if name != "mergeable_state"},
        )
