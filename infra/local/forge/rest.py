"""GitHub's REST API under `/api/v3`: the table of operations, tokens, and GitHub's error shape."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from infra.local.forge import git_operations as git
from infra.local.forge import pull_operations as pull
from infra.local.forge.answers import Answers
from infra.local.forge.call import Answer, Call
from infra.local.forge.pulls import Pulls
from infra.local.forge.refusals import Refusal, not_found

Operation = Callable[[Call], Answer]
_DOCUMENTATION = "https://docs.github.com/rest"
_RATE = {"limit": 5000, "used": 0, "remaining": 5000, "reset": 4102444800}


def _repository(call: Call) -> Answer:
    return Answer(200, call.answers.repository())


def _user(call: Call) -> Answer:
    return Answer(200, call.answers.signed_in_user(call.login))


def _rate_limit(_: Call) -> Answer:
    return Answer(200, {"resources": {"core": _RATE, "search": _RATE}, "rate": _RATE})


_OF_REPOSITORY: tuple[tuple[str, str, Operation], ...] = (
    ("GET", "", _repository),
    ("POST", "/git/blobs", git.create_blob),
    ("GET", "/git/blobs/{sha}", git.get_blob),
    ("POST", "/git/trees", git.create_tree),
    ("GET", "/git/trees/{sha}", git.get_tree),
    ("POST", "/git/commits", git.create_commit),
    ("GET", "/git/commits/{sha}", git.get_git_commit),
    ("GET", "/git/ref/{ref:path}", git.get_ref),
    ("GET", "/git/matching-refs/{ref:path}", git.matching_refs),
    ("POST", "/git/refs", git.create_ref),
    ("PATCH", "/git/refs/{ref:path}", git.update_ref),
    ("DELETE", "/git/refs/{ref:path}", git.delete_ref),
    ("GET", "/contents", git.get_content),
    ("GET", "/contents/{path:path}", git.get_content),
    ("GET", "/commits", git.list_commits),
    ("GET", "/commits/{ref:path}/status", git.combined_status),
    ("GET", "/commits/{ref:path}/statuses", git.list_statuses),
    ("GET", "/commits/{ref:path}", git.get_commit),
    ("GET", "/compare/{basehead:path}", git.compare),
    ("GET", "/branches", git.list_branches),
    ("GET", "/branches/{branch:path}", git.get_branch),
    ("POST", "/statuses/{sha}", git.create_status),
    ("GET", "/statuses/{ref:path}", git.list_statuses),
    ("POST", "/pulls", pull.create_pull),
    ("GET", "/pulls", pull.list_pulls),
    ("GET", "/pulls/{number:int}", pull.get_pull),
    ("PATCH", "/pulls/{number:int}", pull.update_pull),
    ("GET", "/pulls/{number:int}/files", pull.list_files),
    ("GET", "/pulls/{number:int}/commits", pull.list_pull_commits),
    ("GET", "/pulls/{number:int}/merge", pull.is_merged),
    ("PUT", "/pulls/{number:int}/merge", pull.merge_pull),
    ("GET", "/pulls/{number:int}/requested_reviewers", pull.get_reviewers),
    ("POST", "/pulls/{number:int}/requested_reviewers", pull.request_reviewers),
    ("DELETE", "/pulls/{number:int}/requested_reviewers", pull.remove_reviewers),
    ("GET", "/issues/{number:int}", pull.get_issue),
    ("PATCH", "/issues/{number:int}", pull.update_issue),
    ("GET", "/issues/{number:int}/comments", pull.list_comments),
    ("POST", "/issues/{number:int}/comments", pull.create_comment),
    ("GET", "/issues/comments/{comment:int}", pull.get_comment),
    ("PATCH", "/issues/comments/{comment:int}", pull.update_comment),
    ("GET", "/labels", pull.list_labels),
    ("POST", "/labels", pull.create_label),
    ("GET", "/issues/{number:int}/labels", pull.list_issue_labels),
    ("POST", "/issues/{number:int}/labels", pull.add_issue_labels),
    ("DELETE", "/issues/{number:int}/labels/{name:path}", pull.remove_issue_label),
)
OPERATIONS: tuple[tuple[str, str, Operation], ...] = (
    ("GET", "/user", _user),
    ("GET", "/rate_limit", _rate_limit),
    *(
        (method, f"/repos/{{owner}}/{{repo}}{path}", operation)
        for method, path, operation in _OF_REPOSITORY
    ),
)


def routes(pulls: Pulls, logins: Mapping[str, str]) -> list[Route]:
    """The API over one repository.

    Args:
        pulls: Its pull requests, and through them all of it.
        logins: Who each token belongs to.
    """
    return [
        *(
            Route(f"/api/v3{path}", _endpoint(operation, pulls, logins), methods=[method])
            for method, path, operation in OPERATIONS
        ),
        Route(
            "/api/v3/{rest:path}",
            _endpoint(_unknown, pulls, logins),
            methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        ),
    ]


def _unknown(_: Call) -> Answer:
    raise not_found()


def _endpoint(
    operation: Operation, pulls: Pulls, logins: Mapping[str, str]
) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        body = await request.body()
        try:
            call = _call(request, body, pulls, logins)
            given = await run_in_threadpool(operation, call)
        except Refusal as refusal:
            return refused(refusal)
        if given.body is None:
            return Response(status_code=given.status, headers=given.headers)
        return JSONResponse(
            given.body, given.status, given.headers, media_type="application/json; charset=utf-8"
        )

    return answer


def _call(request: Request, body: bytes, pulls: Pulls, logins: Mapping[str, str]) -> Call:
    login = _login(request, logins)
    named = f"{request.path_params.get('owner')}/{request.path_params.get('repo')}"
    if "owner" in request.path_params and named.lower() != pulls.full_name.lower():
        raise not_found()
    answers = Answers(str(request.base_url).rstrip("/"), pulls.full_name)
    return Call(
        pulls,
        answers,
        login,
        str(request.url.replace(query="")),
        request.path_params,
        dict(request.query_params),
        _json(body),
    )


def _login(request: Request, logins: Mapping[str, str]) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if not token:
        raise Refusal(401, "Requires authentication")
    if scheme.lower() not in ("bearer", "token") or token not in logins:
        raise Refusal(401, "Bad credentials")
    return logins[token]


def _json(body: bytes) -> Any:
    if not body.strip():
        return {}
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        raise Refusal(400, "Problems parsing JSON") from None
    if not isinstance(parsed, dict | list):
        raise Refusal(400, "Body should be a JSON object")
    return parsed


def refused(refusal: Refusal) -> JSONResponse:
    """The answer that says no, as GitHub writes it."""
    errors = {} if refusal.errors is None else {"errors": refusal.errors}
    return JSONResponse(
        {
            "message": refusal.message,
            **errors,
            "documentation_url": _DOCUMENTATION,
            "status": str(refusal.status),
        },
        refusal.status,
    )
