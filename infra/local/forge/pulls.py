"""The life of a pull request: opened from a branch, following it, merged (three ways) or closed."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from datetime import UTC, datetime

from infra.local.forge.changes import FileChange, changes_between
from infra.local.forge.refusals import Refusal, invalid, not_found
from infra.local.forge.repository import Commit, GitFailed, Person, Repository
from infra.local.forge.ruleset import PROTECTED, Ruleset
from infra.local.forge.store import Comment, Label, LabelUse, Pull, Review, Status, Store

MERGE_METHODS = ("merge", "squash", "rebase")
MAX_BODY_CHARACTERS = 65536
_LOG = logging.getLogger(__name__)
_FORGE = "GitHub", "noreply@github.com"


def now() -> str:
    """This moment as GitHub writes it."""
    return moment(int(time.time()))


def moment(at: int) -> str:
    """Return seconds since 1970 as GitHub writes a moment.

    >>> moment(0)
    '1970-01-01T00:00:00Z'
    """
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def person(login: str, at: int | None = None) -> Person:
    """Who git says a user is."""
    return Person(
        login, f"{login}@users.noreply.github.com", int(time.time()) if at is None else at
    )


class Pulls:
    """The pull requests of one repository named `full_name` (`acme/ratchet`)."""

    def __init__(
        self, repository: Repository, store: Store, full_name: str, ruleset: Ruleset | None = None
    ) -> None:
        self.ruleset = ruleset
        self.repository = repository
        self.store = store
        self.full_name = full_name
        self.owner = full_name.split("/", maxsplit=1)[0]
        self._seen: dict[str, str] | None = None

    def open(self, *, title: str, body: str | None, head: str, base: str, author: str) -> Pull:
        """Open one; `head` may carry the owner, as `acme:branch`.

        Raises:
            Refusal: A branch is missing, has nothing new, or has a pull request already.
        """
        head = head.removeprefix(f"{self.owner}:")
        with self.store.transaction():
            self.catch_up()
            branches = self.repository.refs(f"refs/heads/{head}", f"refs/heads/{base}")
            for field, name in (("head", head), ("base", base)):
                if f"refs/heads/{name}" not in branches:
                    raise invalid("PullRequest", field)
            head_sha, base_sha = branches[f"refs/heads/{head}"], branches[f"refs/heads/{base}"]
            if self.store.rows(Pull, head_ref=head, base_ref=base, closed_at=None):
                raise invalid(
                    "PullRequest",
                    code="custom",
                    message=f"A pull request already exists for {self.owner}:{head}.",
                )
            if self.repository.is_ancestor(head_sha, base_sha):
                raise invalid(
                    "PullRequest", code="custom", message=f"No commits between {base} and {head}"
                )
            at = now()
            words = {
                "head_ref": head,
                "base_ref": base,
                "head_sha": head_sha,
                "base_sha": base_sha,
                "created_at": at,
                "updated_at": at,
            }
            pull = self.store.add(Pull, title=title, body=body, author=author, **words)
            self.repository.set_ref(f"refs/pull/{pull.id}/head", head_sha)
            return pull

    def catch_up(self) -> None:
        """Update open pull requests after pushes: a new head, a deleted branch, a merge.

        The merge may come from a push, or from a merge here that was cut short.
        """
        with self.store.transaction():
            refs = self.repository.refs("refs/heads")
            if refs != self._seen:
                for pull in self.store.rows(Pull, closed_at=None):
                    self._follow(pull, refs)
                self._seen = refs

    def _follow(self, pull: Pull, refs: dict[str, str]) -> None:
        head, base = (
            refs.get(f"refs/heads/{pull.head_ref}"),
            refs.get(f"refs/heads/{pull.base_ref}"),
        )
        if head is not None and head != pull.head_sha:
            self.repository.set_ref(f"refs/pull/{pull.id}/head", head)
            pull = self.store.change(pull, head_sha=head, updated_at=now())
        landed = None if base is None else self._landing(pull, base)
        if landed is not None:
            _LOG.info(
                "a push merged #%d from %s into %s: %s",
                pull.id,
                pull.head_ref,
                pull.base_ref,
                landed,
            )
            self.store.change(
                pull,
                closed_at=now(),
                closed_by=None,
                merged_at=now(),
                updated_at=now(),
                merge_commit_sha=landed,
            )
        elif head is None or base is None:
            self.store.change(pull, closed_at=now(), updated_at=now(), merge_commit_sha=None)

    def _landing(self, pull: Pull, base: str) -> str | None:
        if pull.merge_commit_sha is not None and self.repository.is_ancestor(
            pull.merge_commit_sha, base
        ):
            return pull.merge_commit_sha
        if not self.repository.is_ancestor(pull.head_sha, base):
            return None
        first_parents = [
            commit.sha
            for commit in self.repository.log(f"{pull.base_sha}..{base}", first_parent=True)
        ]
        return (
            pull.head_sha
            if pull.head_sha in first_parents
            else next(
                (
                    sha
                    for sha in reversed(first_parents)
                    if self.repository.is_ancestor(pull.head_sha, sha)
                ),
                base,
            )
        )

    def get(self, number: int) -> Pull:
        """One pull request as it is now.

        Raises:
            Refusal: There is none of that number.
        """
        self.catch_up()
        found = self.store.rows(Pull, id=number)
        if not found:
            raise not_found()
        return found[0]

    def commits(self, pull: Pull) -> list[Commit]:
        """Its commits, oldest first."""
        return self.repository.log(f"{self._fork_point(pull)}..{pull.head_sha}")[::-1]

    def files(self, pull: Pull) -> list[FileChange]:
        """What it changes since it left the base branch."""
        return changes_between(self.repository, self._fork_point(pull), pull.head_sha)

    def _fork_point(self, pull: Pull) -> str:
        base = (
            pull.base_sha
            if pull.state == "closed"
            else self.repository.resolve(pull.base_ref) or pull.base_sha
        )
        return self.repository.merge_base(base, pull.head_sha) or base

    def can_merge(self, pull: Pull) -> bool:
        """True when it is open and merges without a conflict."""
        return (
            pull.state == "open"
            and self.repository.merge_tree(f"refs/heads/{pull.base_ref}", pull.head_sha) is not None
        )

    def merge(
        self,
        number: int,
        *,
        by: str,
        method: str = "merge",
        title: str | None = None,
        message: str | None = None,
        sha: str | None = None,
    ) -> Pull:
        """Merge it, and move the base branch if nobody did meanwhile.

        Args:
            number: Which one.
            by: The user who merges.
            method: One of MERGE_METHODS.
            title: First line of the merge's message; None for GitHub's.
            message: The rest of it; None for GitHub's.
            sha: What the head must be; None for whatever it is.

        Raises:
            Refusal: 405 when it conflicts or the ruleset forbids it, 409 when its head is
                another than `sha`.
        """
        with self.store.transaction():
            pull = self.get(number)
            if sha is not None and sha != pull.head_sha:
                raise Refusal(409, "Head branch was modified. Review and try the merge again.")
            base = self.repository.resolve(pull.base_ref)
            if pull.state == "closed" or base is None:
                raise Refusal(405, "Pull Request is not mergeable")
            missing = self.missing(pull)
            if missing:
                raise Refusal(405, "\n\n".join(["Repository rule violations found", *missing]))
            landed = (
                self._rebased(pull, base)
                if method == "rebase"
                else self._merged(pull, base, method=method, by=by, title=title, message=message)
            )
            pull = self.store.change(pull, merge_commit_sha=landed)
        with self.store.transaction():
            try:
                self.repository.set_ref(f"refs/heads/{pull.base_ref}", landed, base)
            except GitFailed:
                raise Refusal(
                    405, "Base branch was modified. Review and try the merge again."
                ) from None
            at = now()
            _LOG.info(
                "%s merged #%d from %s into %s by %s: %s",
                by,
                pull.id,
                pull.head_ref,
                pull.base_ref,
                method,
                landed,
            )
            return self.store.change(pull, merged_at=at, closed_at=at, updated_at=at, closed_by=by)

    def _merged(
        self, pull: Pull, base: str, *, method: str, by: str, title: str | None, message: str | None
    ) -> str:
        tree = self._merge_tree(base, pull.head_sha)
        commits = self.commits(pull)
        first, rest = f"Merge pull request #{pull.id} from {self.owner}/{pull.head_ref}", pull.title
        if method == "squash":
            subject, _, text = commits[0].message.partition("\n")
            first = f"{subject if len(commits) == 1 else pull.title} (#{pull.id})"
            rest = (
                text.strip()
                if len(commits) == 1
                else "\n\n".join(f"* {commit.message}" for commit in commits)
            )
        text = "\n\n".join(
            part
            for part in (first if title is None else title, rest if message is None else message)
            if part
        )
        author = person(pull.author if method == "squash" else by)
        parents = [base] if method == "squash" else [base, pull.head_sha]
        return self.repository.write_commit(tree, parents, text, author, Person(*_FORGE, author.at))

    def _rebased(self, pull: Pull, base: str) -> str:
        tip = base
        for commit in self.commits(pull):
            if len(commit.parents) != 1:
                raise Refusal(405, "This branch can't be rebased")
            # git 2.39's merge-tree takes no base. A commit with the tip's tree on the original's
            # parent gives merge-tree the base.
            stand_in = self.repository.write_commit(
                f"{tip}^{{tree}}", commit.parents, "", commit.author, commit.author
            )
            tip = self.repository.write_commit(
                self._merge_tree(stand_in, commit.sha),
                [tip],
                commit.message,
                commit.author,
                replace(commit.committer, at=int(time.time())),
            )
        return tip

    def _merge_tree(self, ours: str, theirs: str) -> str:
        tree = self.repository.merge_tree(ours, theirs)
        if tree is None:
            raise Refusal(405, "Pull Request is not mergeable")
        return tree

    def missing(self, pull: Pull) -> list[str]:
        """Return what the ruleset still requires before a merge."""
        if self.ruleset is None or f"refs/heads/{pull.base_ref}" != PROTECTED:
            return []
        statuses = self.store.rows(Status, sha=pull.head_sha)
        return self.ruleset.missing(pull, self.store.rows(Review, pull=pull.id), statuses)

    def approve(self, number: int, *, by: str, sha: str) -> None:
        """Approve commit `sha`, which must be the newest one. A later push needs a new approval.

        Raises:
            Refusal: 409 when a newer commit came, 422 when `by` is the author.
        """
        with self.store.transaction():
            pull = self.get(number)
            if sha != pull.head_sha:
                raise Refusal(409, "Head branch was modified. Review the newest commit.")
            if by == pull.author:
                raise Refusal(422, "Can not approve your own pull request")
            self.store.add(Review, pull=pull.id, author=by, sha=sha, created_at=now())
            self.store.change(pull, updated_at=now())
            _LOG.info("%s approved #%d at %s", by, pull.id, sha)

    def close(self, number: int, *, by: str) -> Pull:
        """Close it unmerged; one that is closed stays as it is."""
        pull = self.get(number)
        if pull.state != "open":
            return pull
        _LOG.info("%s closed #%d from %s", by, pull.id, pull.head_ref)
        return self.store.change(pull, closed_at=now(), updated_at=now(), closed_by=by)

    def reopen(self, number: int) -> Pull:
        """Open a closed one again, if it was not merged and its branch is still there."""
        with self.store.transaction():
            pull = self.get(number)
            if pull.state == "closed" and (
                pull.merged_at is not None
                or self.repository.resolve(f"refs/heads/{pull.head_ref}") is None
            ):
                raise invalid("PullRequest", "state", message="state cannot be changed.")
            self._seen = None
            return self.store.change(pull, closed_at=None, closed_by=None, updated_at=now())

    def comment(self, pull: Pull, *, author: str, body: str) -> Comment:
        """Add a comment."""
        at = now()
        with self.store.transaction():
            self.store.change(pull, updated_at=at)
            return self.store.add(
                Comment, pull=pull.id, author=author, body=body, created_at=at, updated_at=at
            )

    def labels(self, pull: Pull) -> list[Label]:
        """Its labels, by name."""
        names = {label.id: label for label in self.store.rows(Label)}
        return sorted(
            (names[use.label] for use in self.store.rows(LabelUse, pull=pull.id)),
            key=lambda label: label.name,
        )

    def label(self, name: str) -> Label | None:
        """The repository's label of that name, in any case of letters."""
        return next(
            (label for label in self.store.rows(Label) if label.name.lower() == name.lower()), None
        )

    def add_labels(self, pull: Pull, names: list[str]) -> None:
        """Put labels on it; those that the repository lacks are made."""
        with self.store.transaction():
            present = {label.id for label in self.labels(pull)}
            for name in names:
                label = self.label(name) or self.store.add(
                    Label, name=name, color="ededed", description=""
                )
                if label.id not in present:
                    self.store.add(LabelUse, pull=pull.id, label=label.id)
                    present.add(label.id)
            self.store.change(pull, updated_at=now())
