"""The pages on which a person reads, merges and closes pull requests."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from infra.local.forge.changes import EMPTY_TREE, changes_between, diff_lines
from infra.local.forge.git_operations import newest_statuses
from infra.local.forge.pulls import Pulls, moment
from infra.local.forge.refusals import Refusal
from infra.local.forge.store import Comment, Pull, Review, ReviewRequest, Status

_HEADERS = {
    # nothing from elsewhere but pictures of programs on this machine, no script at all
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "img-src 'self' http://127.0.0.1:*; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
_MARKDOWN = (
    MarkdownIt("commonmark", {"html": False, "breaks": True})
    .enable("table")
    .enable("strikethrough")
)
_FOLDER = Path(__file__).parent / "templates"
_TEMPLATES = Environment(
    loader=FileSystemLoader(_FOLDER),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">'
    '<g fill="none" stroke="#1f6feb" stroke-width="2">'
    '<circle cx="4" cy="3" r="2"/><circle cx="4" cy="13" r="2"/><circle cx="12" cy="6" r="2"/>'
    '<path d="M4 5v6M12 8c0 3-8 1-8 3"/></g></svg>'
)
_CSS = Markup((_FOLDER / "forge.css").read_text())  # noqa: S704 - our own file


def rendered(text: str | None) -> Markup:
    r"""Return Markdown as HTML; HTML in it stays text, but for comments, which nobody sees.

    >>> rendered("**8** <!-- hidden --><b>")
    Markup('<p><strong>8</strong> &lt;b&gt;</p>\n')
    """
    return Markup(_MARKDOWN.render(re.sub(r"<!--.*?-->", "", text or "", flags=re.DOTALL)))  # noqa: S704 - markdown-it with html off escapes what it does not make


class Pages:
    """The pages of one repository; `reviewer` is who acts through them."""

    def __init__(self, pulls: Pulls, reviewer: str) -> None:
        self.pulls = pulls
        self.reviewer = reviewer
        self.page = f"/{pulls.full_name}"

    def _html(self, template: str, title: str, **values: object) -> Response:
        of_all = {
            "page": self.page,
            "full_name": self.pulls.full_name,
            "rendered": rendered,
            "diff_lines": diff_lines,
            "css": _CSS,
        }
        text = _TEMPLATES.get_template(template).render(title=title, **of_all, **values)
        return HTMLResponse(text, headers=_HEADERS)

    def list(self, request: Request) -> Response:
        """The pull requests, open ones first."""
        self.pulls.catch_up()
        found = self.pulls.store.rows(Pull)[::-1]
        found.sort(key=lambda pull: pull.state != "open")
        labels = {pull.id: self.pulls.labels(pull) for pull in found}
        return self._html(
            "pulls.html",
            "Pull requests",
            pulls=found,
            labels=labels,
            clone=f"{str(request.base_url).rstrip('/')}{self.page}.git",
        )

    def pull(self, request: Request) -> Response:
        """One pull request."""
        pull = self.pulls.get(request.path_params["number"])
        store = self.pulls.store
        about = {
            "comments": store.rows(Comment, pull=pull.id),
            "asked": store.rows(ReviewRequest, pull=pull.id),
            "labels": self.pulls.labels(pull),
            "reviews": store.rows(Review, pull=pull.id),
        }
        git = {
            "files": self.pulls.files(pull),
            "commits": self.pulls.commits(pull),
            "can_merge": self.pulls.can_merge(pull),
            "missing": self.pulls.missing(pull),
        }
        statuses = newest_statuses(store.rows(Status, sha=pull.head_sha))
        rollout = (
            newest_statuses(store.rows(Status, sha=pull.merge_commit_sha)) if pull.merged_at else []
        )
        return self._html(
            "pull.html",
            f"{pull.title} · #{pull.id}",
            pull=pull,
            statuses=statuses,
            rollout=rollout,
            reviewer=self.reviewer,
            **about,
            **git,
        )

    def commit(self, request: Request) -> Response:
        """One commit."""
        sha = self._resolved(request.path_params["sha"])
        commit = self.pulls.repository.commit(sha)
        files = changes_between(
            self.pulls.repository, commit.parents[0] if commit.parents else EMPTY_TREE, sha
        )
        statuses = newest_statuses(self.pulls.store.rows(Status, sha=sha))
        return self._html(
            "commit.html",
            commit.message.split("\n")[0],
            commit=commit,
            at=moment(commit.committer.at),
            files=files,
            statuses=statuses,
        )

    def blob(self, request: Request) -> Response:
        """One file's bytes, as text."""
        found = self.pulls.repository.read(
            f"{self._resolved(request.path_params['ref'])}:{request.path_params['path']}"
        )
        if found is None or found[0] != "blob":
            raise Refusal(404, "There is no such file.")
        return PlainTextResponse(found[1], headers=_HEADERS)

    def _resolved(self, name: str) -> str:
        sha = self.pulls.repository.resolve(name)
        if sha is None:
            raise Refusal(404, "There is no such commit.")
        return sha

    def act(self, number: int, form: dict[str, str]) -> Response:
        """Do what a button says."""
        act, said = form.get("act", ""), form.get("body", "").replace("\r\n", "\n").strip()
        if act in ("merge", "squash", "rebase"):
            self.pulls.merge(number, by=self.reviewer, method=act, sha=form.get("sha"))
        elif act == "approve":
            self.pulls.approve(number, by=self.reviewer, sha=form.get("sha", ""))
        elif act in ("comment", "close", "reopen"):
            if said:
                self.pulls.comment(self.pulls.get(number), author=self.reviewer, body=said)
            if act == "close":
                self.pulls.close(number, by=self.reviewer)
            if act == "reopen":
                self.pulls.reopen(number)
        else:
            raise Refusal(400, "There is no such button.")
        return RedirectResponse(f"{self.page}/pull/{number}", 303)


def routes(pulls: Pulls, reviewer: str) -> list[Route]:
    """The pages over one repository."""
    pages = Pages(pulls, reviewer)

    async def act(request: Request) -> Response:
        origin = urlsplit(request.headers.get("origin", ""))
        if (origin.scheme, origin.netloc) != (request.url.scheme, request.headers.get("host")):
            return PlainTextResponse(
                "Another site sent this form. Open the page of the pull request and press the"
                " button there.",
                403,
            )
        form = {
            name: values[0]
            for name, values in parse_qs((await request.body()).decode(errors="replace")).items()
        }
        return await _shown(lambda: pages.act(request.path_params["number"], form))

    def shown(page: Callable[[Request], Response]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            return await _shown(lambda: page(request))

        return answer

    async def icon(_: Request) -> Response:
        return Response(
            _ICON,
            media_type="image/svg+xml",
            headers={**_HEADERS, "Cache-Control": "max-age=86400"},
        )

    async def home(_: Request) -> Response:
        return RedirectResponse(f"{pages.page}/pulls")

    return [
        Route("/", home),
        Route("/favicon.ico", icon),
        Route(pages.page, home),
        Route(f"{pages.page}/pulls", shown(pages.list)),
        Route(f"{pages.page}/pull/{{number:int}}", shown(pages.pull)),
        Route(f"{pages.page}/pull/{{number:int}}", act, methods=["POST"]),
        Route(f"{pages.page}/commit/{{sha}}", shown(pages.commit)),
        Route(f"{pages.page}/blob/{{ref}}/{{path:path}}", shown(pages.blob)),
    ]


async def _shown(answer: Callable[[], Response]) -> Response:
    try:
        return await run_in_threadpool(answer)
    except Refusal as refusal:
        wrong = refusal.errors[0].get("message", "") if refusal.errors else ""
        return PlainTextResponse(f"{refusal.message} {wrong}".strip() + "\n", refusal.status)
