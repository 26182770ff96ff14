"""The mirror against real repositories in folders, which libgit2 fetches from without a server."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pygit2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promote.errors import CommitNotFound, ForgeRefused, ForgeUnavailable
from promote.forge.mirror import Mirror

RELEASE = "gitops/models/m/production/release.yaml"
Files = dict[str, bytes]


class Origin:
    """The forge's repository, and what people do to it."""

    def __init__(self, folder: Path) -> None:
        self.repository = pygit2.init_repository(str(folder), bare=True)

    def commit(
        self, files: Files, *, branch: str = "main", parents: list[str] | None = None
    ) -> str:
        """Commit exactly these files on a branch, after its last commit unless told otherwise."""
        reference = self.repository.references.get(f"refs/heads/{branch}")
        if parents is None:
            parents = [str(reference.target)] if reference else []
        index = pygit2.Index()
        for path, content in files.items():
            blob = self.repository.create_blob(content)
            index.add(pygit2.IndexEntry(path, blob, pygit2.enums.FileMode.BLOB))
        tree = index.write_tree(self.repository)
        person = pygit2.Signature("Ada", "ada@acme.test", 1_700_000_000, 0)
        commit = self.repository.create_commit(None, person, person, "x", tree, parents)
        self.repository.references.create(f"refs/heads/{branch}", commit, force=True)
        return str(commit)


def mirror_of(folder: Path) -> Mirror:
    return Mirror(
        folder / "mirror" / "a.git",
        str(folder / "origin.git"),
        "a token",
        branch="main",
        timeout_seconds=5,
    )


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    return Origin(tmp_path / "origin.git")


_MANY = {f"many/{number:03}/x": b"1" for number in range(80)}
"""A folder whose tree is long enough to be compared by its bytes."""
_PATHS = ["a", "b/a", "b/c/d", "b", "e/f", "bb", *_MANY, "many/0400/x"]


def fits_in_a_tree(files: dict[str, bytes | None]) -> bool:
    """Return whether no path is both a file and a folder."""
    return not (files.get("b") and (files.get("b/a") or files.get("b/c/d")))


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(_PATHS), st.sampled_from([b"1", b"2", b"3", None]), min_size=1
        ).filter(fits_in_a_tree),
        min_size=1,
        max_size=8,
    ),
    st.integers(0, 7),
)
@settings(max_examples=30)
def test_history_has_every_change_of_a_file_also_when_read_in_parts(
    changes: list[dict[str, bytes | None]], first_part: int
) -> None:
    commits = [
        {path: content for path, content in (_MANY | change).items() if content is not None}
        for change in changes
    ]
    with tempfile.TemporaryDirectory() as folder:
        origin, mirror = Origin(Path(folder, "origin.git")), mirror_of(Path(folder))
        names = []
        for number, files in enumerate(commits):
            names.append(origin.commit(files))
            if number == first_part:
                mirror.fetch()
        mirror.fetch()
        contents = [files.get for files in commits]
        for path in _PATHS:
            before: bytes | None = None
            expected = []
            for name, content in zip(names, contents, strict=True):
                if content(path) != before:
                    expected.append((name, content(path)))
                before = content(path)
            history = mirror.history(path, names[-1])
            assert [(one.commit, one.content) for one in history] == expected[::-1], path


def test_a_renamed_folder_among_many_moves_no_other(origin: Origin, tmp_path: Path) -> None:
    """Both trees have the same length, and their entries begin at different bytes."""
    start = origin.commit(_MANY | {"many/0400-and-twenty-four-letters/x": b"1", "many/060/x": b"2"})
    before = origin.commit(_MANY | {"many/0400-and-twenty-four-letters/x": b"1"})
    after = origin.commit(_MANY | {"many/zzzz-and-twenty-four-letters/x": b"1"})
    mirror = mirror_of(tmp_path)
    contents = {
        path: [(one.commit, one.content) for one in mirror.history(path, after)]
        for path in (
            *_MANY,
            "many/0400-and-twenty-four-letters/x",
            "many/zzzz-and-twenty-four-letters/x",
        )
    }
    assert contents.pop("many/0400-and-twenty-four-letters/x") == [(after, None), (start, b"1")]
    assert contents.pop("many/zzzz-and-twenty-four-letters/x") == [(after, b"1")]
    assert contents.pop("many/060/x") == [(before, b"1"), (start, b"2")]
    assert set(map(tuple, contents.values())) == {((start, b"1"),)}


def test_a_merge_counts_on_the_first_parents_line_only(origin: Origin, tmp_path: Path) -> None:
    start = origin.commit({RELEASE: b"1"})
    side = origin.commit({RELEASE: b"2"}, branch="ratchet/m/v2", parents=[start])
    merge = origin.commit({RELEASE: b"2"}, parents=[start, side])
    mirror = mirror_of(tmp_path)
    assert [one.commit for one in mirror.history(RELEASE, merge)] == [merge, start]
    assert [one.commit for one in mirror.history(RELEASE, start)] == [start]
    assert mirror.branch_commit("ratchet/m/v2") == side


def test_main_that_was_moved_elsewhere_is_read_anew(origin: Origin, tmp_path: Path) -> None:
    origin.commit({RELEASE: b"1"})
    mirror = mirror_of(tmp_path)
    mirror.fetch()
    other = origin.commit({RELEASE: b"other"}, parents=[])
    mirror.fetch()
    assert mirror.head() == other
    assert [one.content for one in mirror.history(RELEASE, other)] == [b"other"]


def test_a_branch_that_is_deleted_is_gone(origin: Origin, tmp_path: Path) -> None:
    start = origin.commit({"a": b"1"})
    origin.commit({"a": b"2"}, branch="ratchet/m/v2", parents=[start])
    mirror = mirror_of(tmp_path)
    assert mirror.branch_commit("ratchet/m/v2")
    origin.repository.references.delete("refs/heads/ratchet/m/v2")
    mirror.fetch()
    assert mirror.branch_commit("ratchet/m/v2") is None


def test_a_difference_is_from_the_common_commit_to_the_head(origin: Origin, tmp_path: Path) -> None:
    start = origin.commit({"a": b"1", "b": b"1"})
    head = origin.commit({"a": b"2"}, branch="ratchet/x", parents=[start])
    base = origin.commit({"a": b"1", "b": b"1", "c": b"meanwhile"})
    difference = mirror_of(tmp_path).difference(base, head)
    assert difference.merge_base == start
    assert set(difference.files) == {"a", "b"}
    assert difference.files["b"] is None


@pytest.mark.parametrize("damage", ["objects", "HEAD", "refs"])
def test_a_damaged_mirror_is_thrown_away_and_fetched_again(
    origin: Origin, tmp_path: Path, damage: str
) -> None:
    commit = origin.commit({"a": b"1"})
    mirror_of(tmp_path).fetch()
    folder = tmp_path / "mirror" / "a.git"
    for path in [one for one in sorted((folder / damage).rglob("*")) if one.is_file()]:
        path.chmod(0o600)
        path.write_bytes(b"damaged")
    if damage == "HEAD":
        (folder / damage).unlink()
    mirror = mirror_of(tmp_path)
    mirror.fetch()
    assert mirror.read_file("a", commit) == b"1"


def test_a_fetch_that_fails_is_an_outage_and_keeps_the_mirror(
    origin: Origin, tmp_path: Path
) -> None:
    commit = origin.commit({"a": b"1"})
    mirror = mirror_of(tmp_path)
    mirror.fetch()
    (tmp_path / "origin.git").rename(tmp_path / "elsewhere.git")
    with pytest.raises(ForgeUnavailable):
        mirror.fetch()
    assert (tmp_path / "mirror" / "a.git" / "HEAD").exists()
    (tmp_path / "elsewhere.git").rename(tmp_path / "origin.git")
    mirror.fetch()
    assert mirror.read_file("a", commit) == b"1"


def test_a_repository_without_main_is_an_outage(origin: Origin, tmp_path: Path) -> None:
    origin.commit({"a": b"1"}, branch="ratchet/x")
    with pytest.raises(ForgeUnavailable, match="no branch main"):
        mirror_of(tmp_path).head()


def test_names_that_are_no_commits_are_refused(origin: Origin, tmp_path: Path) -> None:
    origin.commit({"a": b"1"})
    mirror = mirror_of(tmp_path)
    with pytest.raises(ForgeRefused):
        mirror.read_file("a", "main")
    with pytest.raises(CommitNotFound):
        mirror.read_file("a", "0" * 40)
