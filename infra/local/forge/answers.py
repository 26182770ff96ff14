"""GitHub's JSON shapes, from our values. Pure; `tests/conformance/github-rest.json` describes them."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from infra.local.forge.changes import FileChange
from infra.local.forge.pulls import moment
from infra.local.forge.repository import Commit, Entry, Person
from infra.local.forge.store import Comment, Label, Pull, ReviewRequest, Status

Json = dict[str, Any]

_REPOSITORY_LINKS = [
    "archive",
    "assignees",
    "blobs",
    "branches",
    "collaborators",
    "comments",
    "commits",
    "compare",
    "contents",
    "contributors",
    "deployments",
    "downloads",
    "events",
    "forks",
    "git_commits",
    "git_refs",
    "git_tags",
    "hooks",
    "issue_comment",
    "issue_events",
    "issues",
    "keys",
    "labels",
    "languages",
    "merges",
    "milestones",
    "notifications",
    "pulls",
    "releases",
    "stargazers",
    "statuses",
    "subscribers",
    "subscription",
    "tags",
    "teams",
    "trees",
]
_USER_LINKS = ("events", "followers", "following", "gists", "organizations", "received_events", "repos", "starred", "subscriptions")
_COUNTS = (
    "forks",
    "forks_count",
    "open_issues",
    "open_issues_count",
    "size",
    "stargazers_count",
    "watchers",
    "watchers_count",
    "network_count",
    "subscribers_count",
)
_PERMISSIONS = {"admin": False, "maintain": False, "push": True, "triage": True, "pull": True}
_BORN = "2013-01-01T00:00:00Z"


def _number(text: str) -> int:
    return zlib.crc32(text.encode()) & 0x7FFFFFFF


def node_id(kind: str, name: object) -> str:
    """Return the opaque id that GitHub's other API would use."""
    return base64.b64encode(f"{kind}:{name}".encode()).decode()


@dataclass(frozen=True)
class Answers:
    """The shapes, with links below `root` (`http://127.0.0.1:4000`) for the repository `full_name`."""

    root: str
    full_name: str

    @property
    def api(self) -> str:
        """The repository's address for programs."""
        return f"{self.root}/api/v3/repos/{self.full_name}"

    @property
    def page(self) -> str:
        """The repository's address for people."""
        return f"{self.root}/{self.full_name}"

    def user(self, login: str) -> Json:
        """A simple user."""
        url = f"{self.root}/api/v3/users/{login}"
        names = {"login": login, "id": _number(login), "node_id": node_id("User", login), "gravatar_id": "", "type": "User", "site_admin": False}
        return {**names, "avatar_url": f"{self.root}/avatars/{login}", "url": url, "html_url": f"{self.root}/{login}"} | {
            f"{link}_url": f"{url}/{link}" for link in _USER_LINKS
        }

    def signed_in_user(self, login: str) -> Json:
        """The user whose token it is."""
        unknown = dict.fromkeys(("name", "company", "blog", "location", "email", "hireable", "bio"))
        zero = dict.fromkeys(
            [
                "public_repos",
                "public_gists",
                "followers",
                "following",
                "collaborators",
                "disk_usage",
                "owned_private_repos",
                "private_gists",
                "total_private_repos",
            ],
            0,
        )
        return {**self.user(login), **unknown, **zero, "two_factor_authentication": True, "created_at": _BORN, "updated_at": _BORN}

    def repository(self) -> Json:
        """The repository, in full."""
        owner, name = self.full_name.split("/")
        links = {f"{link}_url": f"{self.api}/{link}" for link in _REPOSITORY_LINKS}
        clone = f"{self.page}.git"
        return {
            **links, **dict.fromkeys(_COUNTS, 0), "id": _number(self.full_name), "node_id": node_id("Repository", self.full_name), "name": name, "full_name": self.full_name,
            "owner": self.user(owner), "private": False, "html_url": self.page, "description": "Production, as git says it should be", "fork": False, "url": self.api,
            "git_url": clone, "ssh_url": clone, "clone_url": clone, "svn_url": clone, "homepage": None, "language": None, "mirror_url": None, "license": None,
            "has_issues": True, "has_projects": False, "has_downloads": False, "has_wiki": False, "has_pages": False, "has_discussions": False, "archived": False, "disabled": False,
            "visibility": "public", "default_branch": "main", "topics": [], "permissions": _PERMISSIONS, "created_at": _BORN, "updated_at": _BORN, "pushed_at": _BORN,
            "allow_merge_commit": True, "allow_squash_merge": True, "allow_rebase_merge": True, "delete_branch_on_merge": False,
        }  # fmt: skip

    def ref(self, name: str, sha: str, kind: str = "commit") -> Json:
        """A ref by its full name."""
        pointed = {"sha": sha, "type": kind, "url": f"{self.api}/git/{kind}s/{sha}"}
        return {"ref": name, "node_id": node_id("Ref", name), "url": f"{self.api}/git/{name}", "object": pointed}

    def short_blob(self, sha: str) -> Json:
        """What writing a blob answers."""
        return {"sha": sha, "url": f"{self.api}/git/blobs/{sha}"}

    def blob(self, sha: str, content: bytes) -> Json:
        """A blob with its bytes."""
        return {
            **self.short_blob(sha),
            "node_id": node_id("Blob", sha),
            "size": len(content),
            "content": base64.encodebytes(content).decode(),
            "encoding": "base64",
        }

    def tree(self, sha: str, entries: Sequence[Entry]) -> Json:
        """A tree's entries."""
        listed = []
        for entry in entries:
            size = {} if entry.size is None else {"size": entry.size}
            listed.append(
                {"path": entry.path, "mode": entry.mode, "type": entry.kind, "sha": entry.sha, "url": f"{self.api}/git/{entry.kind}s/{entry.sha}", **size}
            )
        return {"sha": sha, "url": f"{self.api}/git/trees/{sha}", "tree": listed, "truncated": False}

    def content(self, entry: Entry, ref: str, content: bytes | None) -> Json:
        """A file of a folder's list, or with its bytes by itself."""
        url, page = f"{self.api}/contents/{entry.path}?ref={ref}", f"{self.page}/blob/{ref}/{entry.path}"
        kind, git = ("dir", "trees") if entry.kind == "tree" else ("symlink" if entry.mode == "120000" else "file", "blobs")
        git_url = f"{self.api}/git/{git}/{entry.sha}"
        links = {"self": url, "git": git_url, "html": page}
        shape = {
            "name": entry.path.rsplit("/", 1)[-1], "path": entry.path, "sha": entry.sha, "size": entry.size or 0, "url": url, "html_url": page, "git_url": git_url,
            "download_url": None if kind == "dir" else page, "type": kind, "_links": links,
        }  # fmt: skip
        if content is None:
            return shape
        if kind == "symlink":
            return shape | {"target": content.decode(errors="replace")}
        return shape | {"encoding": "base64", "content": base64.encodebytes(content).decode()}

    def git_commit(self, commit: Commit) -> Json:
        """A commit as git data."""
        return {
            "sha": commit.sha, "node_id": node_id("Commit", commit.sha), "url": f"{self.api}/git/commits/{commit.sha}", "html_url": f"{self.page}/commit/{commit.sha}",
            "author": _signature(commit.author), "committer": _signature(commit.committer), "message": commit.message, "tree": self._tree(commit.tree),
            "parents": [{"sha": parent, "url": f"{self.api}/git/commits/{parent}", "html_url": f"{self.page}/commit/{parent}"} for parent in commit.parents],
            "verification": _UNSIGNED,
        }  # fmt: skip

    def commit(self, commit: Commit, files: Sequence[FileChange] | None = None) -> Json:
        """A commit of the repository, with its files when they are given."""
        url = f"{self.api}/commits/{commit.sha}"
        inner = {
            "author": _signature(commit.author), "committer": _signature(commit.committer), "message": commit.message, "tree": self._tree(commit.tree),
            "url": f"{self.api}/git/commits/{commit.sha}", "comment_count": 0, "verification": _UNSIGNED,
        }  # fmt: skip
        shape = {
            "sha": commit.sha, "node_id": node_id("Commit", commit.sha), "url": url, "html_url": f"{self.page}/commit/{commit.sha}", "comments_url": f"{url}/comments",
            "commit": inner, "author": None, "committer": None,
            "parents": [{"sha": parent, "url": f"{self.api}/commits/{parent}", "html_url": f"{self.page}/commit/{parent}"} for parent in commit.parents],
        }  # fmt: skip
        if files is None:
            return shape
        additions, deletions = sum(file.additions for file in files), sum(file.deletions for file in files)
        stats = {"additions": additions, "deletions": deletions, "total": additions + deletions}
        return shape | {"stats": stats, "files": [self.file(file, commit.sha) for file in files]}

    def _tree(self, sha: str) -> Json:
        return {"sha": sha, "url": f"{self.api}/git/trees/{sha}"}

    def file(self, change: FileChange, ref: str) -> Json:
        """One file's difference."""
        page = f"{self.page}/blob/{ref}/{change.filename}"
        shape: Json = {
            "sha": change.sha, "filename": change.filename, "status": change.status, "additions": change.additions, "deletions": change.deletions,
            "changes": change.additions + change.deletions, "blob_url": page, "raw_url": page, "contents_url": f"{self.api}/contents/{change.filename}?ref={ref}",
        }  # fmt: skip
        optional = {"patch": change.patch, "previous_filename": change.previous}
        return shape | {name: value for name, value in optional.items() if value is not None}

    def branch(self, name: str, commit: Commit | str) -> Json:
        """A branch; in short when only its commit's hash is given."""
        if isinstance(commit, str):
            return {"name": name, "commit": {"sha": commit, "url": f"{self.api}/commits/{commit}"}, "protected": False}
        url = f"{self.api}/branches/{name}"
        shape: Json = {"name": name, "commit": self.commit(commit), "protected": False, "protection": {"enabled": False}, "protection_url": f"{url}/protection"}
        return shape | {"_links": {"self": url, "html": f"{self.page}/tree/{name}"}}

    def status(self, status: Status) -> Json:
        """One status of a commit."""
        at = {"created_at": status.created_at, "updated_at": status.created_at}
        words = {"state": status.state, "context": status.context, "description": status.description, "target_url": status.target_url}
        ids = {
            "id": status.id,
            "node_id": node_id("Status", status.id),
            "url": f"{self.api}/statuses/{status.sha}",
            "avatar_url": self.user(status.author)["avatar_url"],
        }
        return {**ids, **words, **at, "creator": self.user(status.author)}

    def combined_status(self, sha: str, newest: Sequence[Status]) -> Json:
        """The newest status of each context, and what they make together."""
        states = {status.state for status in newest}
        state = "failure" if states & {"failure", "error"} else "success" if states == {"success"} else "pending"
        listed = [{name: value for name, value in self.status(status).items() if name != "creator"} for status in newest]
        commit_url = f"{self.api}/commits/{sha}"
        return {
            "state": state,
            "sha": sha,
            "total_count": len(newest),
            "statuses": listed,
            "repository": self.repository(),
            "commit_url": commit_url,
            "url": f"{commit_url}/status",
        }

    def label(self, label: Label) -> Json:
        """A label."""
        url = f"{self.api}/labels/{label.name}"
        return {
            "id": label.id,
            "node_id": node_id("Label", label.id),
            "url": url,
            "name": label.name,
            "color": label.color,
            "default": False,
            "description": label.description,
        }

    def comment(self, comment: Comment) -> Json:
        """A comment on a pull request."""
        at = {"created_at": comment.created_at, "updated_at": comment.updated_at}
        links = {"url": f"{self.api}/issues/comments/{comment.id}", "html_url": f"{self.page}/pull/{comment.pull}#issuecomment-{comment.id}"}
        ids = {"id": comment.id, "node_id": node_id("Comment", comment.id), "issue_url": f"{self.api}/issues/{comment.pull}"}
        return {**ids, **links, **at, "body": comment.body, "user": self.user(comment.author), "author_association": "MEMBER"}

    def team(self, slug: str) -> Json:
        """A team asked to review."""
        url = f"{self.root}/api/v3/teams/{slug}"
        links = {"url": url, "html_url": f"{self.root}/teams/{slug}", "members_url": f"{url}/members", "repositories_url": f"{url}/repos"}
        return {
            **links,
            "id": _number(slug),
            "node_id": node_id("Team", slug),
            "name": slug,
            "slug": slug,
            "description": None,
            "permission": "push",
            "parent": None,
            "type": "organization",
        }

    def issue(self, pull: Pull, labels: Sequence[Label], comments: int) -> Json:
        """A pull request as the issue that it also is."""
        url = f"{self.api}/issues/{pull.id}"
        return {
            **self._numbered(pull, labels), "url": url, "html_url": f"{self.page}/pull/{pull.id}", "repository_url": self.api, "labels_url": f"{url}/labels", "events_url": f"{url}/events",
            "comments_url": f"{url}/comments", "comments": comments, "closed_by": None if pull.closed_by is None else self.user(pull.closed_by),
            "pull_request": {part: f"{self.page}/pull/{pull.id}{tail}" for part, tail in (("html_url", ""), ("diff_url", ".diff"), ("patch_url", ".patch"))} | {"url": f"{self.api}/pulls/{pull.id}"},
        }  # fmt: skip

    def _numbered(self, pull: Pull, labels: Sequence[Label]) -> Json:
        at = {"created_at": pull.created_at, "updated_at": pull.updated_at, "closed_at": pull.closed_at}
        ids = {"id": pull.id, "node_id": node_id("PullRequest", pull.id), "number": pull.id, "author_association": "MEMBER"}
        nobody: Json = {"assignee": None, "assignees": [], "milestone": None, "active_lock_reason": None, "locked": False}
        return {
            **ids,
            **at,
            **nobody,
            "state": pull.state,
            "title": pull.title,
            "body": pull.body,
            "user": self.user(pull.author),
            "labels": [self.label(label) for label in labels],
        }

    def pull(self, pull: Pull, labels: Sequence[Label], asked: Sequence[ReviewRequest]) -> Json:
        """A pull request as it stands in a list."""
        url, page, issue = f"{self.api}/pulls/{pull.id}", f"{self.page}/pull/{pull.id}", f"{self.api}/issues/{pull.id}"
        urls = {
            "comments": f"{issue}/comments",
            "commits": f"{url}/commits",
            "statuses": f"{self.api}/statuses/{pull.head_sha}",
            "review_comments": f"{url}/comments",
        }
        urls["review_comment"] = f"{self.api}/pulls/comments{{/number}}"
        return {
            **self._numbered(pull, labels), **{f"{name}_url": link for name, link in urls.items()}, "url": url, "html_url": page, "diff_url": f"{page}.diff", "patch_url": f"{page}.patch",
            "issue_url": issue, "_links": {name: {"href": link} for name, link in (urls | {"self": url, "html": page, "issue": issue}).items()},
            "merged_at": pull.merged_at, "merge_commit_sha": pull.merge_commit_sha, "draft": False, "auto_merge": None, **self.reviewers(asked),
            "head": self._end(pull.head_ref, pull.head_sha), "base": self._end(pull.base_ref, pull.base_sha),
        }  # fmt: skip

    def full_pull(self, listed: Json, pull: Pull, *, files: Sequence[FileChange], commits: int, comments: int, can_merge: bool) -> Json:
        """A pull request by itself: what is listed, and what takes git to know."""
        counts = {"commits": commits, "comments": comments, "changed_files": len(files), "review_comments": 0}
        lines = {"additions": sum(file.additions for file in files), "deletions": sum(file.deletions for file in files)}
        mergeable = {
            "mergeable": can_merge if pull.state == "open" else None,
            "mergeable_state": "clean" if can_merge else "dirty" if pull.state == "open" else "unknown",
        }
        merged = {"merged": pull.merged_at is not None, "merged_by": self.user(pull.closed_by) if pull.merged_at and pull.closed_by else None}
        return {**listed, **counts, **lines, **mergeable, **merged, "rebaseable": can_merge, "maintainer_can_modify": False}

    def reviewers(self, asked: Sequence[ReviewRequest]) -> Json:
        """Who was asked to review."""
        users = [self.user(request.name) for request in asked if not request.is_team]
        return {"requested_reviewers": users, "requested_teams": [self.team(request.name) for request in asked if request.is_team]}

    def _end(self, ref: str, sha: str) -> Json:
        owner = self.full_name.split("/", maxsplit=1)[0]
        return {"label": f"{owner}:{ref}", "ref": ref, "sha": sha, "user": self.user(owner), "repo": self.repository()}


_UNSIGNED = {"verified": False, "reason": "unsigned", "signature": None, "payload": None, "verified_at": None}


def _signature(who: Person) -> Json:
    return {"name": who.name, "email": who.email, "date": moment(who.at)}
