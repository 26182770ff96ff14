"""The REST operations on pull requests and on the issues that they also are."""

from __future__ import annotations

from infra.local.forge.call import Answer, Call, within
from infra.local.forge.git_answers import Json
from infra.local.forge.pulls import MAX_BODY_CHARACTERS, MERGE_METHODS, now
from infra.local.forge.refusals import Refusal, invalid, not_found
from infra.local.forge.store import Comment, Label, LabelUse, Pull, ReviewRequest


def _pull(call: Call) -> Pull:
    return call.pulls.get(call.path["number"])


def _listed(call: Call, pull: Pull) -> Json:
    return call.answers.pull(
        pull, call.pulls.labels(pull), call.store.rows(ReviewRequest, pull=pull.id)
    )


def _full(call: Call, pull: Pull) -> Json:
    words = {
        "commits": len(call.pulls.commits(pull)),
        "comments": len(call.store.rows(Comment, pull=pull.id)),
    }
    return call.answers.full_pull(
        _listed(call, pull),
        pull,
        files=call.pulls.files(pull),
        can_merge=call.pulls.can_merge(pull),
        **words,
    )


def _body(call: Call, resource: str) -> str | None:
    return within(resource, "body", call.text("body"), MAX_BODY_CHARACTERS)


def create_pull(call: Call) -> Answer:
    """Open a pull request."""
    for name in ("title", "head", "base"):
        if not call.text(name):
            raise invalid("PullRequest", name, "missing_field")
    title = within("PullRequest", "title", call.required("title"), 256) or ""
    pull = call.pulls.open(
        title=title,
        body=_body(call, "PullRequest"),
        head=call.required("head"),
        base=call.required("base"),
        author=call.login,
    )
    return Answer(201, _full(call, pull), {"Location": f"{call.answers.api}/pulls/{pull.id}"})


def list_pulls(call: Call) -> Answer:
    """List pull requests by state, head and base."""
    state, head, base = (call.query.get(name) for name in ("state", "head", "base"))
    if state not in (None, "open", "closed", "all"):
        raise invalid("PullRequest", "state")
    call.pulls.catch_up()
    found = [
        pull for pull in call.store.rows(Pull) if state == "all" or pull.state == (state or "open")
    ]
    found = [
        pull
        for pull in found
        if base in (None, pull.base_ref) and head in (None, f"{call.pulls.owner}:{pull.head_ref}")
    ]
    by_created = call.query.get("sort", "created") == "created"
    newest_first = call.query.get("direction", "desc" if by_created else "asc") == "desc"
    found.sort(
        key=lambda pull: (pull.created_at if by_created else pull.updated_at, pull.id),
        reverse=newest_first,
    )
    return call.page_of_list(found, lambda pull: _listed(call, pull))


def get_pull(call: Call) -> Answer:
    """Read a pull request."""
    return Answer(200, _full(call, _pull(call)))


def _change(call: Call) -> Pull:
    pull, state = _pull(call), call.text("state")
    if state not in (None, "open", "closed"):
        raise invalid("PullRequest", "state")
    title, body = (
        within("PullRequest", "title", call.text("title"), 256),
        _body(call, "PullRequest"),
    )
    texts = {name: value for name, value in (("title", title), ("body", body)) if value is not None}
    with call.store.transaction():
        if texts:
            call.store.change(pull, updated_at=now(), **texts)
        if state == "closed":
            call.pulls.close(pull.id, by=call.login)
        if state == "open" and pull.state == "closed":
            call.pulls.reopen(pull.id)
    return _pull(call)


def update_pull(call: Call) -> Answer:
    """Change its title or body; close or open it again."""
    return Answer(200, _full(call, _change(call)))


def list_files(call: Call) -> Answer:
    """List what it changes."""
    pull = _pull(call)
    return call.page_of_list(
        call.pulls.files(pull), lambda file: call.answers.file(file, pull.head_sha)
    )


def list_pull_commits(call: Call) -> Answer:
    """List its commits, oldest first."""
    return call.page_of_list(call.pulls.commits(_pull(call)), call.answers.commit)


def is_merged(call: Call) -> Answer:
    """204 when it is merged."""
    if _pull(call).merged_at is None:
        raise not_found()
    return Answer(204)


def merge_pull(call: Call) -> Answer:
    """Merge it."""
    method = call.text("merge_method") or "merge"
    if method not in MERGE_METHODS:
        raise Refusal(
            422,
            f"Invalid request.\n\nFor 'properties/merge_method', {method!r} is not one of"
            f" {', '.join(MERGE_METHODS)}.",
        )
    words = {
        "title": call.text("commit_title"),
        "message": call.text("commit_message"),
        "sha": call.text("sha"),
    }
    merged = call.pulls.merge(call.path["number"], by=call.login, method=method, **words)
    return Answer(
        200,
        {
            "sha": merged.merge_commit_sha,
            "merged": True,
            "message": "Pull Request successfully merged",
        },
    )


def get_reviewers(call: Call) -> Answer:
    """Who was asked to review."""
    return Answer(
        200,
        {
            name.removeprefix("requested_").replace("reviewers", "users"): who
            for name, who in call.answers.reviewers(_asked(call, _pull(call))).items()
        },
    )


def _asked(call: Call, pull: Pull) -> list[ReviewRequest]:
    return call.store.rows(ReviewRequest, pull=pull.id)


def request_reviewers(call: Call) -> Answer:
    """Ask people and teams to review."""
    pull, logins = _pull(call), call.texts("reviewers")
    if pull.author in logins:
        raise Refusal(422, "Review cannot be requested from pull request author.")
    present = {(request.name, request.is_team) for request in _asked(call, pull)}
    for name, is_team in [
        *((login, 0) for login in logins),
        *((team, 1) for team in call.texts("team_reviewers")),
    ]:
        if (name, is_team) not in present:
            call.store.add(ReviewRequest, pull=pull.id, name=name, is_team=is_team)
    return Answer(201, _listed(call, pull))


def remove_reviewers(call: Call) -> Answer:
    """Ask them no more."""
    pull = _pull(call)
    for request in _asked(call, pull):
        if request.name in call.texts("team_reviewers" if request.is_team else "reviewers"):
            call.store.remove(request)
    return Answer(200, _listed(call, pull))


def _issue(call: Call, pull: Pull) -> Answer:
    return Answer(
        200,
        call.answers.issue(
            pull, call.pulls.labels(pull), len(call.store.rows(Comment, pull=pull.id))
        ),
    )


def get_issue(call: Call) -> Answer:
    """Read a pull request as an issue."""
    return _issue(call, _pull(call))


def update_issue(call: Call) -> Answer:
    """Change a pull request as an issue."""
    return _issue(call, _change(call))


def list_comments(call: Call) -> Answer:
    """List its comments, oldest first."""
    return call.page_of_list(call.store.rows(Comment, pull=_pull(call).id), call.answers.comment)


def _comment_body(call: Call) -> str:
    body = _body(call, "IssueComment")
    if not body or not body.strip():
        raise invalid("IssueComment", "body", "missing_field")
    return body


def create_comment(call: Call) -> Answer:
    """Comment on it."""
    comment = call.pulls.comment(_pull(call), author=call.login, body=_comment_body(call))
    return Answer(
        201,
        call.answers.comment(comment),
        {"Location": f"{call.answers.api}/issues/comments/{comment.id}"},
    )


def _comment(call: Call) -> Comment:
    found = call.store.rows(Comment, id=call.path["comment"])
    if not found:
        raise not_found()
    return found[0]


def get_comment(call: Call) -> Answer:
    """Read a comment."""
    return Answer(200, call.answers.comment(_comment(call)))


def update_comment(call: Call) -> Answer:
    """Say something else."""
    return Answer(
        200,
        call.answers.comment(
            call.store.change(_comment(call), body=_comment_body(call), updated_at=now())
        ),
    )


def list_labels(call: Call) -> Answer:
    """List the repository's labels."""
    return call.page_of_list(call.store.rows(Label), call.answers.label)


def create_label(call: Call) -> Answer:
    """Make a label."""
    name = within("Label", "name", call.required("name"), 50) or ""
    if call.pulls.label(name) is not None:
        raise invalid("Label", "name", "already_exists")
    label = call.store.add(
        Label,
        name=name,
        color=call.text("color") or "ededed",
        description=call.text("description") or "",
    )
    return Answer(
        201, call.answers.label(label), {"Location": f"{call.answers.api}/labels/{label.name}"}
    )


def _labels(call: Call, pull: Pull) -> Answer:
    return call.page_of_list(call.pulls.labels(pull), call.answers.label)


def list_issue_labels(call: Call) -> Answer:
    """List its labels."""
    return _labels(call, _pull(call))


def add_issue_labels(call: Call) -> Answer:
    """Put labels on it."""
    pull = _pull(call)
    for name in call.texts("labels"):
        within("Label", "name", name, 50)
    call.pulls.add_labels(pull, call.texts("labels"))
    return _labels(call, pull)


def remove_issue_label(call: Call) -> Answer:
    """Take a label off it."""
    pull, label = _pull(call), call.pulls.label(call.path["name"])
    uses = call.store.rows(LabelUse, pull=pull.id, label=label.id) if label else []
    if not uses:
        raise Refusal(404, "Label does not exist")
    call.store.remove(uses[0])
    return _labels(call, pull)
