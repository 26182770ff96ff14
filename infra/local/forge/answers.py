"""GitHub's JSON shapes of pull requests, comments and labels. Pure.

`tests/grounds/github-rest.json` describes the shapes.
"""

from __future__ import annotations

from collections.abc import Sequence

from infra.local.forge.changes import FileChange
from infra.local.forge.git_answers import GitAnswers, Json, node_id, number_of
from infra.local.forge.store import Comment, Label, Pull, ReviewRequest


class Answers(GitAnswers):
    """All shapes."""

    def label(self, label: Label) -> Json:
        """A label."""
        ids = {
            "id": label.id,
            "node_id": node_id("Label", label.id),
            "url": f"{self.api}/labels/{label.name}",
        }
        return {
            **ids,
            "name": label.name,
            "color": label.color,
            "default": False,
            "description": label.description,
        }

    def comment(self, comment: Comment) -> Json:
        """A comment on a pull request."""
        links = {
            "url": f"{self.api}/issues/comments/{comment.id}",
            "html_url": f"{self.page}/pull/{comment.pull}#issuecomment-{comment.id}",
        }
        ids = {
            "id": comment.id,
            "node_id": node_id("Comment", comment.id),
            "issue_url": f"{self.api}/issues/{comment.pull}",
        }
        at = {"created_at": comment.created_at, "updated_at": comment.updated_at}
        return {
            **ids,
            **links,
            **at,
            "body": comment.body,
            "user": self.user(comment.author),
            "author_association": "MEMBER",
        }

    def team(self, slug: str) -> Json:
        """A team asked to review."""
        url = f"{self.root}/api/v3/teams/{slug}"
        links = {
            "url": url,
            "html_url": f"{self.root}/teams/{slug}",
            "members_url": f"{url}/members",
            "repositories_url": f"{url}/repos",
        }
        names = {
            "id": number_of(slug),
            "node_id": node_id("Team", slug),
            "name": slug,
            "slug": slug,
            "description": None,
        }
        return {**links, **names, "permission": "push", "parent": None, "type": "organization"}

    def reviewers(self, asked: Sequence[ReviewRequest]) -> Json:
        """Who was asked to review."""
        users = [self.user(request.name) for request in asked if not request.is_team]
        return {
            "users": users,
            "teams": [self.team(request.name) for request in asked if request.is_team],
        }

    def _numbered(self, pull: Pull, labels: Sequence[Label]) -> Json:
        ids = {
            "id": pull.id,
            "node_id": node_id("PullRequest", pull.id),
            "number": pull.id,
            "author_association": "MEMBER",
        }
        at = {
            "created_at": pull.created_at,
            "updated_at": pull.updated_at,
            "closed_at": pull.closed_at,
        }
        nobody: Json = {
            "assignee": None,
            "assignees": [],
            "milestone": None,
            "active_lock_reason": None,
            "locked": False,
        }
        words = {
            "state": pull.state,
            "title": pull.title,
            "body": pull.body,
            "user": self.user(pull.author),
        }
        return {**ids, **at, **nobody, **words, "labels": [self.label(label) for label in labels]}

    def issue(self, pull: Pull, labels: Sequence[Label], comments: int) -> Json:
        """A pull request as the issue that it also is."""
        url, page = f"{self.api}/issues/{pull.id}", f"{self.page}/pull/{pull.id}"
        links = {
            "url": url,
            "html_url": page,
            "repository_url": self.api,
            **{f"{part}_url": f"{url}/{part}" for part in ("labels", "events", "comments")},
        }
        of_pull = {
            "url": f"{self.api}/pulls/{pull.id}",
            "html_url": page,
            "diff_url": f"{page}.diff",
            "patch_url": f"{page}.patch",
        }
        closed_by = None if pull.closed_by is None else self.user(pull.closed_by)
        return {
            **self._numbered(pull, labels),
            **links,
            "comments": comments,
            "closed_by": closed_by,
            "pull_request": of_pull,
        }

    def pull(self, pull: Pull, labels: Sequence[Label], asked: Sequence[ReviewRequest]) -> Json:
        """A pull request as it stands in a list."""
        url, page, issue = (
            f"{self.api}/pulls/{pull.id}",
            f"{self.page}/pull/{pull.id}",
            f"{self.api}/issues/{pull.id}",
        )
        urls = {
            "comments": f"{issue}/comments",
            "commits": f"{url}/commits",
            "statuses": f"{self.api}/statuses/{pull.head_sha}",
        }
        urls |= {
            "review_comments": f"{url}/comments",
            "review_comment": f"{self.api}/pulls/comments{{/number}}",
            "issue": issue,
        }
        links = {
            "url": url,
            "html_url": page,
            "diff_url": f"{page}.diff",
            "patch_url": f"{page}.patch",
            **{f"{name}_url": link for name, link in urls.items()},
        }
        ends = {
            "head": self._end(pull.head_ref, pull.head_sha),
            "base": self._end(pull.base_ref, pull.base_sha),
        }
        merged = {
            "merged_at": pull.merged_at,
            "merge_commit_sha": pull.merge_commit_sha,
            "draft": False,
            "auto_merge": None,
        }
        who = self.reviewers(asked)
        asked_of = {"requested_reviewers": who["users"], "requested_teams": who["teams"]}
        html_links = {
            "_links": {
                name: {"href": link} for name, link in (urls | {"self": url, "html": page}).items()
            }
        }
        return {**self._numbered(pull, labels), **links, **html_links, **ends, **merged, **asked_of}

    def full_pull(
        self,
        listed: Json,
        pull: Pull,
        *,
        files: Sequence[FileChange],
        commits: int,
        comments: int,
        can_merge: bool,
    ) -> Json:
        """A pull request by itself: what is listed, and what takes git to know."""
        is_open, is_merged = pull.state == "open", pull.merged_at is not None
        counts = {
            "commits": commits,
            "comments": comments,
            "changed_files": len(files),
            "review_comments": 0,
        }
        lines = {
            "additions": sum(file.additions for file in files),
            "deletions": sum(file.deletions for file in files),
        }
        state = ("clean" if can_merge else "dirty") if is_open else "unknown"
        mergeable = {
            "mergeable": can_merge if is_open else None,
            "rebaseable": can_merge,
            "mergeable_state": state,
            "maintainer_can_modify": False,
        }
        merged = {
            "merged": is_merged,
            "merged_by": self.user(pull.closed_by) if is_merged and pull.closed_by else None,
        }
        return {**listed, **counts, **lines, **mergeable, **merged}

    def _end(self, ref: str, sha: str) -> Json:
        owner = self.full_name.split("/", maxsplit=1)[0]
        return {
            "label": f"{owner}:{ref}",
            "ref": ref,
            "sha": sha,
            "user": self.user(owner),
            "repo": self.repository(),
        }
