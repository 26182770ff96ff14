"""The local forge's rare cases: a merge cut short, replaced trees, pages of lists, seeds."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from infra.local.forge.answers import Answers
from infra.local.forge.app import files_below, seed
from infra.local.forge.call import Call
from infra.local.forge.changes import changes_between
from infra.local.forge.git_operations import create_tree, newest_statuses
from infra.local.forge.pull_operations import list_pulls
from infra.local.forge.pulls import Pulls, person
from infra.local.forge.refusals import Refusal
from infra.local.forge.repository import Commit, Entry, GitFailed, Repository
from infra.local.forge.store import Pull, Status, Store


@pytest.fixture
def pulls(tmp_path: Path) -> Pulls:
    seed(tmp_path / "r.git", {"a/b.txt": b"b\n", "README.md": b"one\ntwo\nthree\n"})
    return Pulls(
        Repository(tmp_path / "r.git"), Store(tmp_path / "r.git" / "forge.sqlite3"), "acme/ratchet"
    )


def commit_on(
    repository: Repository, branch: str, files: dict[str, bytes | None], *, start: str = "main"
) -> str:
    parent = repository.commit(repository.resolve(branch) or repository.resolve(start) or "")
    entries = [
        Entry("100644", "blob", None if content is None else repository.write_blob(content), path)
        for path, content in files.items()
    ]
    author = person("ada", parent.committer.at + 1)
    sha = repository.write_commit(
        repository.write_tree(parent.tree, entries),
        [parent.sha],
        f"Change {branch}\n",
        author,
        author,
    )
    repository.set_ref(f"refs/heads/{branch}", sha)
    return sha


def opened(
    pulls: Pulls, branch: str = "topic", files: dict[str, bytes | None] | None = None
) -> Pull:
    commit_on(pulls.repository, branch, files or {"c.txt": b"c\n"})
    return pulls.open(title="Topic", body=None, head=branch, base="main", author="ratchet-bot")


def call(pulls: Pulls, *, query: dict[str, str] | None = None, body: Any = None) -> Call:
    return Call(
        pulls,
        Answers("http://f", "acme/ratchet"),
        "ratchet-bot",
        "http://f/list",
        {},
        query or {},
        body or {},
    )


def test_a_merge_killed_before_the_database_heard_of_it_is_recognised(
    pulls: Pulls, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull = opened(pulls)
    moved = pulls.repository.set_ref

    def die_after(name: str, new: str, old: str | None = None) -> None:
        moved(name, new, old)
        raise KeyboardInterrupt

    monkeypatch.setattr(pulls.repository, "set_ref", die_after)
    with pytest.raises(KeyboardInterrupt):
        pulls.merge(pull.id, by="ada", method="squash")
    monkeypatch.undo()
    found = Pulls(pulls.repository, pulls.store, "acme/ratchet").get(pull.id)
    assert (found.state, found.merge_commit_sha) == ("closed", pulls.repository.resolve("main"))
    assert found.merged_at is not None


def test_a_merge_killed_before_the_branch_moved_leaves_it_open_and_can_be_repeated(
    pulls: Pulls, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull = opened(pulls)
    monkeypatch.setattr(
        pulls.repository, "set_ref", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        pulls.merge(pull.id, by="ada")
    monkeypatch.undo()
    assert pulls.get(pull.id).state == "open"
    assert pulls.merge(pull.id, by="ada").merge_commit_sha == pulls.repository.resolve("main")


def test_a_base_branch_that_moved_meanwhile_is_not_overwritten(
    pulls: Pulls, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull = opened(pulls)
    merge_tree = pulls.repository.merge_tree

    def somebody_pushes(ours: str, theirs: str) -> str | None:
        commit_on(pulls.repository, "main", {"d.txt": b"d\n"})
        return merge_tree(ours, theirs)

    monkeypatch.setattr(pulls.repository, "merge_tree", somebody_pushes)
    with pytest.raises(Refusal, match="Base branch was modified") as refused:
        pulls.merge(pull.id, by="ada")
    assert refused.value.status == 405
    assert pulls.get(pull.id).state == "open"


def test_a_rebase_replays_every_commit_and_keeps_its_author(pulls: Pulls) -> None:
    repository = pulls.repository
    commit_on(repository, "topic", {"c.txt": b"c\n"})
    pull = opened(pulls, files={"c.txt": b"c\nd\n"})
    commit_on(repository, "main", {"README.md": b"zero\none\ntwo\nthree\n"})
    landed = pulls.merge(pull.id, by="somebody", method="rebase").merge_commit_sha or ""
    replayed = repository.log(landed, limit=3, first_parent=True)
    assert [(commit.author.name, len(commit.parents)) for commit in replayed] == [
        ("ada", 1)
    ] * 2 + [("ada", 1)]
    assert [commit.message for commit in replayed] == [
        "Change topic",
        "Change topic",
        "Change main",
    ]
    assert [entry.path for entry in repository.tree(landed)] == ["README.md", "a", "c.txt"]


def test_a_conflict_is_refused_by_every_method_and_changes_nothing(pulls: Pulls) -> None:
    pull = opened(pulls, files={"README.md": b"mine\n"})
    main = commit_on(pulls.repository, "main", {"README.md": b"theirs\n"})
    assert not pulls.can_merge(pull)
    for method in ("merge", "squash", "rebase"):
        with pytest.raises(Refusal, match="not mergeable"):
            pulls.merge(pull.id, by="ada", method=method)
    assert pulls.repository.resolve("main") == main


def test_a_tree_replaces_deletes_and_turns_a_folder_into_a_file(pulls: Pulls) -> None:
    repository = pulls.repository
    base = repository.commit(repository.resolve("main") or "").tree
    blob = repository.write_blob(b"x\n")
    folder = repository.write_tree(None, [Entry("100644", "blob", blob, "x.txt")])
    tree = repository.write_tree(
        base, [Entry("040000", "tree", folder, "a"), Entry("100644", "blob", None, "README.md")]
    )
    assert [entry.path for entry in repository.tree(tree, recursive=True)] == ["a", "a/x.txt"]
    flat = repository.write_tree(base, [Entry("100644", "blob", blob, "a")])
    assert [(entry.path, entry.kind) for entry in repository.tree(flat)] == [
        ("README.md", "blob"),
        ("a", "blob"),
    ]
    with pytest.raises(GitFailed):
        repository.write_tree(None, [Entry("100644", "blob", "1" * 40, "gone.txt")])


@pytest.mark.parametrize("path", ["", "/a", "a//b", "../a", ".git/config", "a\0b", None])
def test_a_path_that_could_leave_the_tree_is_refused(pulls: Pulls, path: str | None) -> None:
    with pytest.raises(Refusal, match=r"tree\.path"):
        create_tree(
            call(
                pulls,
                body={"tree": [{"path": path, "mode": "100644", "type": "blob", "content": ""}]},
            )
        )


def test_pages_of_a_list_link_to_each_other(pulls: Pulls) -> None:
    for number in range(5):
        opened(pulls, f"topic-{number}", {f"{number}.txt": b"x\n"})
    page = list_pulls(call(pulls, query={"per_page": "2", "page": "2"}))
    assert [pull["number"] for pull in page.body] == [3, 2]
    links = dict(reversed(part.split("; rel=")) for part in page.headers["Link"].split(", "))
    assert links['"next"'] == "<http://f/list?per_page=2&page=3>"
    assert set(links) == {'"prev"', '"next"', '"last"', '"first"'}
    assert list_pulls(call(pulls)).headers == {}
    assert len(list_pulls(call(pulls, query={"per_page": "0", "page": "x"})).body) == 1


def test_the_log_says_who_merged_and_who_closed(
    pulls: Pulls, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="infra.local.forge")
    merged, closed = opened(pulls), opened(pulls, "other", {"d.txt": b"d\n"})
    landed = pulls.merge(merged.id, by="ada", method="squash").merge_commit_sha
    pulls.close(closed.id, by="bob")
    pulls.close(closed.id, by="bob")
    assert caplog.messages == [
        f"ada merged #1 from topic into main by squash: {landed}",
        "bob closed #2 from other",
    ]


def test_renames_removals_and_binaries_are_told_apart(pulls: Pulls) -> None:
    repository, old = pulls.repository, pulls.repository.resolve("main") or ""
    new = commit_on(
        repository,
        "topic",
        {"README.md": None, "READ.md": b"one\ntwo\nthree\n", "a/b.txt": None, "c.bin": b"\0\1"},
    )
    found = {change.filename: change for change in changes_between(repository, old, new)}
    assert {name: change.status for name, change in found.items()} == {
        "READ.md": "renamed",
        "a/b.txt": "removed",
        "c.bin": "added",
    }
    assert (found["READ.md"].previous, found["c.bin"].patch, found["a/b.txt"].deletions) == (
        "README.md",
        None,
        1,
    )


def test_a_line_that_looks_like_a_header_of_a_diff_stays_a_line(pulls: Pulls) -> None:
    text = b"diff --git a/x b/x\n@@ -1 +1 @@\n-- minus\n++ plus\n"
    new = commit_on(pulls.repository, "topic", {"x.diff": text, "y.txt": b"y\n"})
    found = changes_between(pulls.repository, pulls.repository.resolve("main") or "", new)
    assert [(change.filename, change.additions) for change in found] == [
        ("x.diff", 4),
        ("y.txt", 1),
    ]


def test_names_that_git_would_read_as_options_or_ranges_mean_no_commit(pulls: Pulls) -> None:
    for name in ("--all", "-1", "", "main..main", "main:README.md"):
        assert pulls.repository.resolve(name) is None


def test_a_message_and_foreign_letters_come_back_as_they_were_written(pulls: Pulls) -> None:
    repository, main = (
        pulls.repository,
        pulls.repository.commit(pulls.repository.resolve("main") or ""),
    )
    author = person("Zoë", 1)
    sha = repository.write_commit(
        main.tree, [main.sha], "Überschrift\n\n  Zeile\n\n", author, author
    )
    assert repository.commit(sha) == Commit(
        sha, main.tree, (main.sha,), author, author, "Überschrift\n\n  Zeile"
    )
    assert (
        repository.write_commit(main.tree, [main.sha], "Überschrift\n\n  Zeile\n\n", author, author)
        == sha
    )


def test_a_transaction_that_raises_leaves_nothing(pulls: Pulls) -> None:
    pull = opened(pulls)
    with pytest.raises(Refusal):
        _label_and_refuse(pulls, pull)
    assert pulls.labels(pull) == []


def _label_and_refuse(pulls: Pulls, pull: Pull) -> None:
    with pulls.store.transaction():
        pulls.add_labels(pull, ["one"])
        raise Refusal(422, "no")


def test_labels_are_one_whatever_the_case_of_their_letters(pulls: Pulls) -> None:
    pull = opened(pulls)
    pulls.add_labels(pull, ["Bug", "bug"])
    pulls.add_labels(pull, ["BUG"])
    assert [label.name for label in pulls.labels(pull)] == ["Bug"]


def test_the_last_status_of_a_context_counts() -> None:
    statuses = [
        Status(number, "s", state, context, None, None, "x", "")
        for number, (context, state) in enumerate(
            [("b", "pending"), ("a", "success"), ("b", "failure")]
        )
    ]
    assert [(status.context, status.state) for status in newest_statuses(statuses)] == [
        ("a", "success"),
        ("b", "failure"),
    ]


def test_a_seed_takes_what_git_would_and_never_twice(tmp_path: Path) -> None:
    (tmp_path / "tree" / "gitops").mkdir(parents=True)
    (tmp_path / "tree" / "gitops" / "a.yaml").write_text("a: 1\n")
    (tmp_path / "tree" / "other.txt").write_text("other\n")
    Repository(tmp_path / "tree" / ".git").git("config", "core.bare", "false")
    (tmp_path / "tree" / ".gitignore").write_text("*.pyc\n")
    (tmp_path / "tree" / "gitops" / "b.pyc").write_text("x")
    found = files_below(tmp_path / "tree", "gitops")
    assert found == {"gitops/a.yaml": b"a: 1\n"}
    first = seed(tmp_path / "r.git", found)
    assert seed(tmp_path / "r.git", {"b": b""}) == first
    assert [entry.path for entry in Repository(tmp_path / "r.git").tree(first, recursive=True)] == [
        "gitops",
        "gitops/a.yaml",
    ]


def test_a_repository_is_never_seeded_with_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing to seed"):
        seed(tmp_path / "repository", {})
