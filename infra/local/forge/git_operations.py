"""The REST operations on git: objects, refs, contents, commits, branches and statuses."""

from __future__ import annotations

import base64
import binascii
import logging
import time
from datetime import datetime
from typing import Any

from infra.local.forge.call import Answer, Call, within
from infra.local.forge.changes import EMPTY_TREE, changes_between
from infra.local.forge.pulls import now, person
from infra.local.forge.refusals import Refusal, invalid, not_found
from infra.local.forge.repository import ABSENT, Entry, GitFailed, Person
from infra.local.forge.ruleset import ONLY_BY_PULL_REQUEST, PROTECTED
from infra.local.forge.store import Status

INLINE_BYTES = 1_000_000
"""A larger file comes without its bytes: they are asked for by its blob."""
MOST_BYTES = 100_000_000
"""A larger file's bytes are not given out."""
MOST_FILES_COMPARED = 300
_LOG = logging.getLogger(__name__)
_STATES = ("error", "failure", "pending", "success")


def create_blob(call: Call) -> Answer:
    """Store bytes."""
    content = call.text("content")
    if content is None:
        raise Refusal(422, 'Invalid request.\n\n"content" wasn\'t supplied.')
    try:
        raw = (
            base64.b64decode(content) if call.body.get("encoding") == "base64" else content.encode()
        )
    except binascii.Error:
        raise invalid("Blob", "content") from None
    return Answer(201, call.answers.short_blob(call.repository.write_blob(raw)))


def _object(call: Call, sha: str, kind: str) -> bytes:
    found = call.repository.read(sha)
    if found is None or found[0] != kind:
        raise not_found()
    return found[1]


def get_blob(call: Call) -> Answer:
    """Read bytes."""
    return Answer(200, call.answers.blob(call.path["sha"], _file(call, call.path["sha"])))


def _file(call: Call, sha: str) -> bytes:
    content = _object(call, sha, "blob")
    if len(content) > MOST_BYTES:
        error: dict[str, object] = {"resource": "Blob", "field": "data", "code": "too_large"}
        raise Refusal(403, "The requested blob is too large to fetch via the API.", [error])
    return content


def create_tree(call: Call) -> Answer:
    """Store a tree, from another one or from nothing."""
    entries = call.body.get("tree")
    if not isinstance(entries, list) or not entries:
        raise Refusal(422, "Invalid tree info")
    try:
        sha = call.repository.write_tree(
            call.text("base_tree"), [_entry(call, entry) for entry in entries]
        )
    except GitFailed:
        raise Refusal(422, "GitRPC::BadObjectState") from None
    return Answer(201, call.answers.tree(sha, call.repository.tree(sha)))


def _entry(call: Call, entry: Any) -> Entry:
    path, mode = (
        (entry.get("path"), entry.get("mode", "100644"))
        if isinstance(entry, dict)
        else (None, None)
    )
    if (
        not isinstance(path, str)
        or not path
        or "\0" in path
        or {"", ".", "..", ".git"} & set(path.split("/"))
        or ("sha" in entry) == ("content" in entry)
    ):
        raise Refusal(
            422,
            "tree.path contains a malformed path component"
            if isinstance(path, str)
            else "Must supply a valid tree.path",
        )
    if mode not in ("100644", "100755", "040000", "120000", "160000"):
        raise Refusal(422, "Must supply a valid tree.mode")
    kind = {"040000": "tree", "160000": "commit"}.get(mode, "blob")
    return Entry(
        mode,
        kind,
        call.repository.write_blob(str(entry["content"]).encode())
        if "content" in entry
        else entry["sha"],
        path,
    )


def get_tree(call: Call) -> Answer:
    """List a tree."""
    sha = call.path["sha"]
    root = call.repository.resolve(sha)
    if root is None:
        _object(call, sha, "tree")
    return Answer(
        200,
        call.answers.tree(
            sha, call.repository.tree(root or sha, recursive="recursive" in call.query)
        ),
    )


def create_commit(call: Call) -> Answer:
    """Store a commit, a function of what was sent when the dates were."""
    message, tree = call.required("message"), call.required("tree")
    parents = call.texts("parents")
    author = _person(call, "author", person(call.login))
    for sha, kind in ((tree, "tree"), *((parent, "commit") for parent in parents)):
        if (call.repository.read(sha) or (None,))[0] != kind:
            raise Refusal(
                422,
                f"{kind.capitalize()} SHA does not exist"
                if kind == "tree"
                else "Parent SHA does not exist or is not a commit object",
            )
    sha = call.repository.write_commit(
        tree, parents, message, author, _person(call, "committer", author)
    )
    return Answer(201, call.answers.git_commit(call.repository.commit(sha)))


def _person(call: Call, role: str, default: Person) -> Person:
    given = call.body.get(role)
    if given is None:
        return default
    try:
        at = datetime.fromisoformat(given["date"]).timestamp() if "date" in given else time.time()
        return Person(str(given["name"]), str(given["email"]), int(at))
    except (TypeError, KeyError, ValueError):
        raise Refusal(
            422,
            f"Invalid request.\n\n'{role}' needs 'name', 'email' and, if at all, an ISO 8601"
            " 'date'.",
        ) from None


def get_git_commit(call: Call) -> Answer:
    """Read a commit."""
    _object(call, call.path["sha"], "commit")
    return Answer(200, call.answers.git_commit(call.repository.commit(call.path["sha"])))


def _ref(call: Call, name: str, sha: str) -> Any:
    return call.answers.ref(name, sha, (call.repository.read(sha) or ("commit",))[0])


def get_ref(call: Call) -> Answer:
    """Read one ref."""
    name = f"refs/{call.path['ref']}"
    sha = call.repository.refs(name).get(name)
    if sha is None:
        raise not_found()
    return Answer(200, _ref(call, name, sha))


def matching_refs(call: Call) -> Answer:
    """List the refs whose names begin so."""
    start = f"refs/{call.path.get('ref', '')}"
    found = [(name, sha) for name, sha in call.repository.refs().items() if name.startswith(start)]
    return call.page_of_list(found, lambda named: _ref(call, *named))


def create_ref(call: Call) -> Answer:
    """Create a ref that is not there."""
    name, sha = call.required("ref"), call.required("sha")
    if not name.startswith("refs/") or name.count("/") < 2 or not call.repository.is_ref_name(name):
        raise Refusal(
            422,
            "Reference name is not valid: it must start with 'refs' and have at least two slashes.",
        )
    if call.repository.read(sha) is None:
        raise Refusal(422, "Object does not exist")
    try:
        call.repository.set_ref(name, sha, ABSENT)
    except GitFailed as failure:
        raise Refusal(
            422,
            "Reference already exists"
            if name in call.repository.refs(name)
            else f"Reference cannot be created: {failure}",
        ) from None
    _LOG.info("%s created %s at %s", call.login, name, sha)
    return Answer(201, _ref(call, name, sha), {"Location": f"{call.answers.api}/git/{name}"})


def update_ref(call: Call) -> Answer:
    """Move a ref: forward, or anywhere by force."""
    name, new = f"refs/{call.path['ref']}", call.required("sha")
    _refuse_protected(call, name)
    old = call.repository.refs(name).get(name)
    if old is None:
        raise Refusal(422, "Reference does not exist")
    if call.repository.read(new) is None:
        raise Refusal(422, "Object does not exist")
    if call.body.get("force") is not True and not call.repository.is_ancestor(old, new):
        raise Refusal(422, "Update is not a fast forward")
    try:
        call.repository.set_ref(name, new, old)
    except GitFailed:
        raise Refusal(409, "Reference was modified. Review and try again.") from None
    _LOG.info("%s moved %s: %s to %s", call.login, name, old, new)
    return Answer(200, _ref(call, name, new))


def _refuse_protected(call: Call, name: str) -> None:
    if call.pulls.ruleset is not None and name == PROTECTED:
        raise Refusal(422, ONLY_BY_PULL_REQUEST)


def delete_ref(call: Call) -> Answer:
    """Delete a ref."""
    name = f"refs/{call.path['ref']}"
    _refuse_protected(call, name)
    if name not in call.repository.refs(name):
        raise Refusal(422, "Reference does not exist")
    call.repository.set_ref(name, ABSENT)
    _LOG.info("%s deleted %s", call.login, name)
    return Answer(204)


def get_content(call: Call) -> Answer:
    """Read a file or list a folder at a commit."""
    ref, path = call.query.get("ref", "main"), call.path.get("path", "").strip("/")
    sha = call.repository.resolve(ref)
    if sha is None:
        raise Refusal(404, f"No commit found for the ref {ref}")
    found = call.repository.tree(sha, path=path) if path else []
    if path and not found:
        raise not_found()
    if path and found[0].kind == "blob":
        content = _file(call, str(found[0].sha))
        inline = len(content) <= INLINE_BYTES
        return Answer(200, call.answers.content(found[0], ref, content, inline=inline))
    entries = call.repository.tree(sha, path=f"{path}/" if path else "")
    return Answer(200, [call.answers.content(entry, ref, None) for entry in entries])


def list_commits(call: Call) -> Answer:
    """List the commits that are reachable from one, or those that changed a path."""
    start, path = call.repository.resolve(call.query.get("sha", "main")), call.query.get("path", "")
    if start is None:
        if not call.repository.refs("refs/heads"):
            raise Refusal(409, "Git Repository is empty.")
        raise not_found()
    dates = [f"--{name}={call.query[name]}" for name in ("since", "until") if name in call.query]
    total = call.repository.count(*dates, start, path=path)
    return call.page_of(
        total,
        lambda skip, size: [
            call.answers.commit(found)
            for found in call.repository.log(*dates, start, path=path, skip=skip, limit=size)
        ],
    )


def get_commit(call: Call) -> Answer:
    """Read a commit with its files."""
    commit = call.repository.commit(call.commit_sha(call.path["ref"]))
    files = changes_between(
        call.repository, commit.parents[0] if commit.parents else EMPTY_TREE, commit.sha
    )
    return Answer(200, call.answers.commit(commit, files))


def compare(call: Call) -> Answer:
    """What a head has that a base lacks: its commits, and its files since their merge base."""
    names = call.path["basehead"].split("...")
    if len(names) != 2:
        raise not_found()
    base, head = (call.repository.resolve(name) for name in names)
    fork = call.repository.merge_base(base, head) if base and head else None
    if base is None or head is None or fork is None:
        raise not_found()
    span = f"{base}..{head}"
    total = call.repository.count(span)
    # GitHub gives the oldest commit first, and files on the first page only
    page = call.page_of_list(call.repository.log(span)[::-1], lambda commit: commit)
    files = (
        changes_between(call.repository, fork, head) if call.query.get("page", "1") == "1" else []
    )
    commit = call.repository.commit
    ends = (commit(base), commit(head), commit(fork))
    behind = call.repository.count(f"{head}..{base}")
    shown = files[:MOST_FILES_COMPARED]
    return Answer(200, call.answers.comparison(ends, behind, page.body, total, shown), page.headers)


def list_branches(call: Call) -> Answer:
    """List the branches."""
    heads = [
        (name.removeprefix("refs/heads/"), sha)
        for name, sha in call.repository.refs("refs/heads").items()
    ]
    return call.page_of_list(heads, lambda named: call.answers.branch(*named))


def get_branch(call: Call) -> Answer:
    """Read a branch."""
    name = f"refs/heads/{call.path['branch']}"
    sha = call.repository.refs(name).get(name)
    if sha is None:
        raise Refusal(404, "Branch not found")
    return Answer(200, call.answers.branch(call.path["branch"], call.repository.commit(sha)))


def create_status(call: Call) -> Answer:
    """Put a status on a commit."""
    sha, state = call.path["sha"], call.required("state")
    if (call.repository.read(sha) or (None,))[0] != "commit":
        raise Refusal(422, f"No commit found for SHA: {sha}")
    if state not in _STATES:
        raise invalid("Status", "state", "custom", f"state must be one of {', '.join(_STATES)}")
    description = within("Status", "description", call.text("description"), 140)
    words = {
        "state": state,
        "context": call.text("context") or "default",
        "description": description,
        "target_url": call.text("target_url") or None,
    }
    status = call.store.add(Status, sha=sha, author=call.login, created_at=now(), **words)
    return Answer(201, call.answers.status(status))


def list_statuses(call: Call) -> Answer:
    """List every status of a commit, newest first."""
    return call.page_of_list(
        call.store.rows(Status, sha=call.commit_sha(call.path["ref"]))[::-1], call.answers.status
    )


def combined_status(call: Call) -> Answer:
    """The newest status of each context."""
    sha = call.commit_sha(call.path["ref"])
    newest = newest_statuses(call.store.rows(Status, sha=sha))
    page = call.page_of_list(newest, lambda status: status)
    return Answer(200, call.answers.combined_status(sha, newest, page.body), page.headers)


def newest_statuses(statuses: list[Status]) -> list[Status]:
    """The last of each context, in order of context."""
    last = {status.context: status for status in statuses}
    return [last[context] for context in sorted(last)]
