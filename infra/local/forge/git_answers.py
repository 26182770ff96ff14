"""GitHub's JSON shapes of people, the repository and git. Pure.

`tests/grounds/github-rest.json` describes the shapes.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from infra.local.forge.changes import FileChange
from infra.local.forge.pulls import moment
from infra.local.forge.repository import Commit, Entry, Person
from infra.local.forge.store import Status

Json = dict[str, Any]

_REPOSITORY_LINKS = (
    "archive assignees blobs branches collaborators comments commits compare contents"
    " contributors deployments downloads events",
    "forks git_commits git_refs git_tags hooks issue_comment issue_events issues keys labels"
    " languages merges milestones notifications",
    "pulls releases stargazers statuses subscribers subscription tags teams trees",
)
_REPOSITORY_COUNTS = (
    "forks forks_count open_issues open_issues_count size stargazers_count watchers"
    " watchers_count network_count subscribers_count"
)
_REPOSITORY_NOTHING = "homepage language mirror_url license"
_REPOSITORY_NO = (
    "private fork has_projects has_downloads has_wiki has_pages has_discussions archived"
    " disabled delete_branch_on_merge"
)
_REPOSITORY_YES = "has_issues allow_merge_commit allow_squash_merge allow_rebase_merge"
_USER_LINKS = (
    "events followers following gists organizations received_events repos starred subscriptions"
)
_USER_NOTHING = "name company blog location email hireable bio"
_USER_COUNTS = (
    "public_repos public_gists followers following collaborators disk_usage"
    " owned_private_repos private_gists total_private_repos"
)
_PERMISSIONS = {"admin": False, "maintain": False, "push": True, "triage": True, "pull": True}
_BORN = "2013-01-01T00:00:00Z"
_UNSIGNED = {
    "verified": False,
    "reason": "unsigned",
    "signature": None,
    "payload": None,
    "verified_at": None,
}


def number_of(text: str) -> int:
    """Return the one positive number by which GitHub would know a name."""
    return zlib.crc32(text.encode()) & 0x7FFFFFFF


def node_id(kind: str, name: object) -> str:
    """Return the opaque id that GitHub's other API would use."""
    return base64.b64encode(f"{kind}:{name}".encode()).decode()


@dataclass(frozen=True)
class GitAnswers:
    """The shapes of repository `full_name`, with links below `root` (`http://127.0.0.1:4000`)."""

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
        names = {
            "login": login,
            "id": number_of(login),
            "node_id": node_id("User", login),
            "gravatar_id": "",
            "type": "User",
            "site_admin": False,
        }
        links = {
            "avatar_url": f"{self.root}/avatars/{login}",
            "url": url,
            "html_url": f"{self.root}/{login}",
        }
        return {
            **names,
            **links,
            **{f"{link}_url": f"{url}/{link}" for link in _USER_LINKS.split()},
        }

    def signed_in_user(self, login: str) -> Json:
        """The user whose token it is."""
        since = {"two_factor_authentication": True, "created_at": _BORN, "updated_at": _BORN}
        return {
            **self.user(login),
            **dict.fromkeys(_USER_NOTHING.split()),
            **dict.fromkeys(_USER_COUNTS.split(), 0),
            **since,
        }

    def repository(self) -> Json:
        """The repository, in full."""
        owner, name = self.full_name.split("/")
        constants: Json = {}
        for names, value in (
            (_REPOSITORY_COUNTS, 0),
            (_REPOSITORY_NOTHING, None),
            (_REPOSITORY_NO, False),
            (_REPOSITORY_YES, True),
        ):
            constants.update(dict.fromkeys(names.split(), value))
        links = {
            f"{link}_url": f"{self.api}/{link}"
            for line in _REPOSITORY_LINKS
            for link in line.split()
        }
        clones = dict.fromkeys(("git_url", "ssh_url", "clone_url", "svn_url"), f"{self.page}.git")
        ids = {
            "id": number_of(self.full_name),
            "node_id": node_id("Repository", self.full_name),
            "url": self.api,
            "html_url": self.page,
        }
        called = {
            "name": name,
            "full_name": self.full_name,
            "owner": self.user(owner),
            "description": "What production should run",
        }
        rights = {
            "visibility": "public",
            "default_branch": "main",
            "topics": [],
            "permissions": _PERMISSIONS,
        }
        return {
            **constants,
            **links,
            **clones,
            **ids,
            **called,
            **rights,
            "created_at": _BORN,
            "updated_at": _BORN,
            "pushed_at": _BORN,
        }

    def ref(self, name: str, sha: str, kind: str = "commit") -> Json:
        """A ref by its full name."""
        pointed = {"sha": sha, "type": kind, "url": f"{self.api}/git/{kind}s/{sha}"}
        return {
            "ref": name,
            "node_id": node_id("Ref", name),
            "url": f"{self.api}/git/{name}",
            "object": pointed,
        }

    def short_blob(self, sha: str) -> Json:
        """What writing a blob answers."""
        return {"sha": sha, "url": f"{self.api}/git/blobs/{sha}"}

    def blob(self, sha: str, content: bytes) -> Json:
        """A blob with its bytes."""
        encoded = {"content": base64.encodebytes(content).decode(), "encoding": "base64"}
        return {
            **self.short_blob(sha),
            "node_id": node_id("Blob", sha),
            "size": len(content),
            **encoded,
        }

    def tree(self, sha: str, entries: Sequence[Entry]) -> Json:
        """A tree's entries."""
        return {
            **self._tree(sha),
            "tree": [self._entry(entry) for entry in entries],
            "truncated": False,
        }

    def _entry(self, entry: Entry) -> Json:
        size = {} if entry.size is None else {"size": entry.size}
        return {
            "path": entry.path,
            "mode": entry.mode,
            "type": entry.kind,
            "sha": entry.sha,
            "url": f"{self.api}/git/{entry.kind}s/{entry.sha}",
            **size,
        }

    def _tree(self, sha: str) -> Json:
        return {"sha": sha, "url": f"{self.api}/git/trees/{sha}"}

    def content(
        self, entry: Entry, ref: str, content: bytes | None, *, inline: bool = True
    ) -> Json:
        """Return a file: in a folder's list, or by itself with its bytes when `inline`."""
        kind = "dir" if entry.kind == "tree" else "symlink" if entry.mode == "120000" else "file"
        url, page = (
            f"{self.api}/contents/{entry.path}?ref={ref}",
            f"{self.page}/blob/{ref}/{entry.path}",
        )
        git_url = f"{self.api}/git/{entry.kind}s/{entry.sha}"
        names = {
            "type": kind,
            "name": entry.path.rsplit("/", 1)[-1],
            "path": entry.path,
            "sha": entry.sha,
            "size": entry.size or 0,
        }
        links = {
            "url": url,
            "html_url": page,
            "git_url": git_url,
            "download_url": None if kind == "dir" else page,
        }
        shape = {**names, **links, "_links": {"self": url, "git": git_url, "html": page}}
        if content is None:
            return shape
        if kind == "symlink":
            return {**shape, "target": content.decode(errors="replace")}
        if not inline:
            return {**shape, "encoding": "none", "content": ""}
        return {**shape, "encoding": "base64", "content": base64.encodebytes(content).decode()}

    def comparison(
        self,
        ends: tuple[Commit, Commit, Commit],
        behind: int,
        listed: Sequence[Commit],
        total: int,
        files: Sequence[FileChange],
    ) -> Json:
        """Two commits compared: `ends` are base, head and their merge base."""
        base, head, fork = ends
        basehead = f"{base.sha}...{head.sha}"
        page = f"{self.page}/compare/{basehead}"
        words = {"diff_url": f"{page}.diff", "patch_url": f"{page}.patch", "permalink_url": page}
        links = {"url": f"{self.api}/compare/{basehead}", "html_url": page, **words}
        states = {(False, False): "identical", (True, False): "ahead", (False, True): "behind"}
        counts = {"ahead_by": total, "behind_by": behind, "total_commits": total}
        return {
            **links,
            **counts,
            "status": states.get((total > 0, behind > 0), "diverged"),
            "base_commit": self.commit(base),
            "merge_base_commit": self.commit(fork),
            "commits": [self.commit(commit) for commit in listed],
            "files": [self.file(file, head.sha) for file in files],
        }

    def git_commit(self, commit: Commit) -> Json:
        """A commit as git data."""
        url = f"{self.api}/git/commits"
        ids = {
            "sha": commit.sha,
            "node_id": node_id("Commit", commit.sha),
            "html_url": f"{self.page}/commit/{commit.sha}",
        }
        return {
            **ids,
            **self._said(commit),
            "url": f"{url}/{commit.sha}",
            "parents": self._parents(commit, url),
        }

    def commit(self, commit: Commit, files: Sequence[FileChange] | None = None) -> Json:
        """A commit of the repository, with its files when they are given."""
        url = f"{self.api}/commits"
        ids = {
            "sha": commit.sha,
            "node_id": node_id("Commit", commit.sha),
            "url": f"{url}/{commit.sha}",
            "html_url": f"{self.page}/commit/{commit.sha}",
        }
        inner = {
            **self._said(commit),
            "url": f"{self.api}/git/commits/{commit.sha}",
            "comment_count": 0,
        }
        links = {
            "comments_url": f"{url}/{commit.sha}/comments",
            "parents": self._parents(commit, url),
        }
        shape = {**ids, **links, "commit": inner, "author": None, "committer": None}
        if files is None:
            return shape
        additions, deletions = (
            sum(file.additions for file in files),
            sum(file.deletions for file in files),
        )
        stats = {"additions": additions, "deletions": deletions, "total": additions + deletions}
        return {**shape, "stats": stats, "files": [self.file(file, commit.sha) for file in files]}

    def _said(self, commit: Commit) -> Json:
        who = {"author": _signature(commit.author), "committer": _signature(commit.committer)}
        return {
            **who,
            "message": commit.message,
            "tree": self._tree(commit.tree),
            "verification": _UNSIGNED,
        }

    def _parents(self, commit: Commit, url: str) -> list[Json]:
        return [
            {"sha": parent, "url": f"{url}/{parent}", "html_url": f"{self.page}/commit/{parent}"}
            for parent in commit.parents
        ]

    def file(self, change: FileChange, ref: str) -> Json:
        """One file's difference."""
        page = f"{self.page}/blob/{ref}/{change.filename}"
        links = {
            "blob_url": page,
            "raw_url": page,
            "contents_url": f"{self.api}/contents/{change.filename}?ref={ref}",
        }
        counts = {
            "additions": change.additions,
            "deletions": change.deletions,
            "changes": change.additions + change.deletions,
        }
        optional = {"patch": change.patch, "previous_filename": change.previous}
        shape = {
            "sha": change.sha,
            "filename": change.filename,
            "status": change.status,
            **counts,
            **links,
        }
        return {**shape, **{name: value for name, value in optional.items() if value is not None}}

    def branch(self, name: str, commit: Commit | str) -> Json:
        """A branch; in short when only its commit's hash is given."""
        if isinstance(commit, str):
            return {
                "name": name,
                "commit": {"sha": commit, "url": f"{self.api}/commits/{commit}"},
                "protected": False,
            }
        url = f"{self.api}/branches/{name}"
        open_to_all = {
            "protected": False,
            "protection": {"enabled": False},
            "protection_url": f"{url}/protection",
        }
        return {
            "name": name,
            "commit": self.commit(commit),
            **open_to_all,
            "_links": {"self": url, "html": f"{self.page}/tree/{name}"},
        }

    def status(self, status: Status) -> Json:
        """One status of a commit."""
        return {**self._simple_status(status), "creator": self.user(status.author)}

    def _simple_status(self, status: Status) -> Json:
        at = {
            "created_at": status.created_at,
            "updated_at": status.created_at,
            "avatar_url": self.user(status.author)["avatar_url"],
        }
        words = {
            "state": status.state,
            "context": status.context,
            "description": status.description,
            "target_url": status.target_url,
        }
        return {
            "id": status.id,
            "node_id": node_id("Status", status.id),
            "url": f"{self.api}/statuses/{status.sha}",
            **words,
            **at,
        }

    def combined_status(self, sha: str, newest: Sequence[Status], listed: Sequence[Status]) -> Json:
        """What the newest status of each context make together, with those of one page."""
        states = {status.state for status in newest}
        state = (
            "failure"
            if states & {"failure", "error"}
            else "success"
            if states == {"success"}
            else "pending"
        )
        url = f"{self.api}/commits/{sha}"
        counted = {
            "state": state,
            "sha": sha,
            "total_count": len(newest),
            "statuses": [self._simple_status(status) for status in listed],
        }
        return {
            **counted,
            "repository": self.repository(),
            "commit_url": url,
            "url": f"{url}/status",
        }


def _signature(who: Person) -> Json:
    return {"name": who.name, "email": who.email, "date": moment(who.at)}
