"""The forge, wired: REST, git and pages over one folder."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Mapping
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Route

from infra.local.forge import pages, rest
from infra.local.forge.pulls import Pulls, person
from infra.local.forge.repository import ABSENT, Entry, Repository
from infra.local.forge.ruleset import UPDATE_HOOK, Ruleset
from infra.local.forge.smart_http import git_endpoint
from infra.local.forge.store import Store


def forge(
    folder: Path,
    full_name: str,
    logins: Mapping[str, str],
    *,
    reviewer: str = "reviewer",
    host: str = "127.0.0.1",
    ruleset: Ruleset | None = None,
) -> Starlette:
    """Return the application.

    Args:
        folder: The bare repository; made when nothing is there. It holds all other state too.
        full_name: `owner/name`.
        logins: Who each token belongs to.
        reviewer: The user of the pages. They have no sign-in: everyone who reaches `host` is it.
        host: The address of the forge.
        ruleset: What a merge into main requires; None requires nothing.
    """
    repository = Repository(folder)
    pulls = Pulls(repository, Store(folder / "forge.sqlite3"), full_name, ruleset)
    _protect_main(repository.folder / "hooks" / "update", ruleset)
    git = Route(
        f"/{full_name}.git/{{path:path}}", git_endpoint(repository, logins), methods=["GET", "POST"]
    )
    names = Middleware(TrustedHostMiddleware, allowed_hosts=[host, "localhost", "testserver"])
    application = Starlette(
        routes=[*rest.routes(pulls, logins), git, *pages.routes(pulls, reviewer)],
        middleware=[names],
    )
    application.state.store = pulls.store
    return application


def _protect_main(hook: Path, ruleset: Ruleset | None) -> None:
    if ruleset is None:
        hook.unlink(missing_ok=True)
        return
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(UPDATE_HOOK, encoding="utf-8")
    hook.chmod(0o755)


def seed(
    folder: Path, files: Mapping[str, bytes], *, message: str = "Start", login: str = "reviewer"
) -> str:
    """Make main of an empty repository with one commit of the files, by path. Return main's commit.

    Raises:
        FileNotFoundError: There are no files.
    """
    if not files:
        raise FileNotFoundError(
            errno.ENOENT, "nothing to seed: no file is there, or git ignores all of them"
        )
    repository = Repository(folder)
    main = repository.resolve("refs/heads/main")
    if main is not None:
        return main
    entries = [
        Entry("100644", "blob", repository.write_blob(content), path)
        for path, content in sorted(files.items())
    ]
    author = person(login)
    commit = repository.write_commit(
        repository.write_tree(None, entries), [], message, author, author
    )
    repository.set_ref("refs/heads/main", commit, ABSENT)
    return commit


def files_below(root: Path, *folders: str) -> dict[str, bytes]:
    """Return the files of a working tree by path, without files that git ignores.

    Args:
        root: The working tree. Outside of git no file is ignored.
        folders: Only files below these folders; without folders all files.
    """
    listed = subprocess.run(
        [
            "git",
            "-C",
            str(root),
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
            "--",
            *folders,
        ],
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0:
        names = sorted(set(listed.stdout.decode().split("\0")[:-1]))
    else:
        found = (path for folder in folders or (".",) for path in (root / folder).rglob("*"))
        names = sorted(str(path.relative_to(root)) for path in found)
    return {
        name: (root / name).read_bytes()
        for name in names
        if (root / name).is_file() and ".git" not in Path(name).parts
    }
