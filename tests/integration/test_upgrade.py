"""docs/upgrade.md, step by step, on a repository that commit 7496720 made.

It has a released model, and lines that its owner changed. The gate's own program says of each pull
request that the model keeps its image.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from retrain.commands.init import template
from retrain.spec.files import check_models
from tests.grounds.apiserver import program
from tests.grounds.manifests import ROOT, kustomize

OLD = "7496720"
RELEASED = ROOT / "tests/grounds/releases/7496720/main"
MODEL = "late-parcel"
SETTINGS = "gitops/platform/production/kustomization.yaml"
OWNERS_LINES = {
    SETTINGS: {
        "PROMOTE_REPOSITORY=acme/ratchet": "PROMOTE_REPOSITORY=bags/models",
        f'ratchet/client_api, digest: "sha256:{"0" * 64}': (
            f'ratchet/client_api, digest: "sha256:{"a" * 64}'
        ),
    },
    "gitops/clusters/production/repository.yaml": {"acme/ratchet": "bags/models"},
}
NEW_GATEWAY = f"sed -i s/{'a' * 64}/{'b' * 64}/ {SETTINGS}"
"""Writes the digest of another image of the gateway."""
SAME = "every model keeps its image, nothing new runs"


class Owner:
    """A person in her repository."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "models"
        self.folder.mkdir()
        (home / "bin").mkdir()
        kustomize_program = os.environ.get("RATCHET_KUSTOMIZE") or program("kustomize")
        (home / "bin/kustomize").symlink_to(kustomize_program)
        (home / "bin/retrain").symlink_to(Path(sys.executable).parent / "retrain")
        git = {
            f"GIT_{role}_{name}": value
            for role in ("AUTHOR", "COMMITTER")
            for name, value in {"NAME": "An Owner", "EMAIL": "owner@example.org"}.items()
        }
        self.env = {**os.environ, **git, "PATH": f"{home / 'bin'}:{os.environ['PATH']}"}

    def type(self, script: str) -> str:
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", script],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def commit(self, message: str) -> str:
        self.type(f"git add --all . && git commit --quiet --message '{message}'")
        return self.type("git rev-parse HEAD")

    def files(self) -> dict[str, bytes]:
        listed = self.type("git ls-files").splitlines()
        return {name: (self.folder / name).read_bytes() for name in listed}

    def status_of(self, head: str) -> str:
        """What the workflow of the gate says of a commit against the commit before it."""
        gate = f"{sys.executable} -I {ROOT}/.github/gate.py"
        return self.type(f"{gate} --base {head}^ --head {head} --branch=upgrade")


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Owner:
    """Step 1 of the page is done: the branch `upgrade` is checked out."""
    if subprocess.run(["git", "-C", ROOT, "cat-file", "-e", OLD], check=False).returncode:
        pytest.skip(f"this clone's history does not reach {OLD}: git fetch --unshallow")
    owner = Owner(tmp_path_factory.mktemp("owner"))
    owner.type("git init --quiet --initial-branch main")
    owner.type(f"git -C {ROOT} archive {OLD} .github gitops dags/models | tar -x")
    owner.commit("Start")
    for path, lines in OWNERS_LINES.items():
        text = (owner.folder / path).read_text()
        for old, new in lines.items():
            assert old in text
            text = text.replace(old, new)
        (owner.folder / path).write_text(text)
    owner.commit("Our values")
    owner.type(f"cp -r {RELEASED}/. .")
    owner.commit(f"{MODEL} v1")
    owner.type(merge_of_the_page())
    owner.type(NEW_GATEWAY)
    owner.commit("Digests")
    return owner


def page() -> str:
    return (ROOT / "docs/upgrade.md").read_text()


def merge_of_the_page() -> str:
    return re.findall(r"^```sh\n(.*?)^```", page(), re.DOTALL | re.MULTILINE)[0]


def pull_requests() -> list[tuple[str, list[str]]]:
    """What each pull request of the page's table upgrades, and its paths."""
    rows = re.findall(r"^\| \d \| ([^|]+) \| ([^|]+) \|", page(), re.MULTILINE)
    return [(what, re.findall(r"`([^`]+)`", paths)) for what, paths in rows]


def test_the_merge_brings_every_new_file_and_keeps_the_owners_lines_and_releases(
    owner: Owner,
) -> None:
    owner.type("git switch --quiet upgrade")
    merged = owner.files()
    for path, lines in OWNERS_LINES.items():
        kept = (new.replace("a" * 64, "b" * 64) for new in lines.values())
        assert all(line in merged[path].decode() for line in kept)
    for path, content in template().items():
        if path not in OWNERS_LINES:
            assert merged[path] == content, path
    released = {
        str(path.relative_to(RELEASED)): path.read_bytes()
        for path in RELEASED.rglob("*")
        if path.is_file()
    }
    assert {path: merged[path] for path in released} == released


def test_four_pull_requests_in_the_pages_order_bring_all_of_it_and_no_model_changes_its_image(
    owner: Owner,
) -> None:
    owner.type("git switch --quiet main")
    said, server = {}, running(owner)
    for what, paths in pull_requests():
        owner.type(f"git checkout upgrade -- {' '.join(paths)}")
        if what == "gateway":
            owner.type(NEW_GATEWAY)
        head = owner.commit(f"Upgrade {what}")
        said[what] = owner.status_of(head)
        for folder in ("gitops/platform", "gitops/platform/production"):
            assert kustomize(owner.folder / folder)
        assert running(owner) == server
    assert owner.type("git diff upgrade") == ""
    assert list(said) == [
        "gateway",
        "promote",
        "retrain, Airflow, MLflow",
        "the rest, with the base of model images",
    ]
    assert said["gateway"] == said["promote"] == SAME
    assert said["the rest, with the base of model images"] == ""  # Flux would start MLflow


def running(owner: Owner) -> dict[str, object]:
    """What decides whether the released model's pods are replaced."""
    objects = kustomize(owner.folder / f"gitops/models/{MODEL}/production")
    [deployment] = [found for found in objects if found["kind"] == "Deployment"]
    template: dict[str, object] = deployment["spec"]["template"]
    return template


def test_the_page_says_how_an_old_model_file_is_renamed(owner: Owner) -> None:
    owner.type("git switch --quiet upgrade")
    models = owner.folder / "dags/models"
    mistakes = [str(mistake) for mistake in check_models(models, None).mistakes]
    assert len(mistakes) == 1
    assert "flight-delay.yaml" in mistakes[0]
    [rename] = re.findall(r"`(git mv [^`]+)`", page())
    owner.type(" ".join(rename.split()))
    assert check_models(models, None).mistakes == ()
    owner.type("git reset --quiet --hard")
