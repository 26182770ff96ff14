"""Which pull requests get the status `ratchet/gate` from .github/workflows/gate.yaml.

The workflow's step runs in a real bash, on a real repository, with kustomize.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from promote.contract import Slot
from promote.release.manifest import first_files, render
from promote.release.slot import release_path
from tests.grounds.apiserver import program
from tests.grounds.manifests import ROOT, release
from tests.grounds.tiers import cases

WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/gate.yaml").read_text())
CHECKOUT, STEP = WORKFLOW["jobs"]["status"]["steps"]
GATE = ROOT / ".github/gate.py"
SAME = "every model keeps its image, nothing new runs"
WAY_BACK = "a way back: main had every release it names before"
EVIL = "evil.test/server@sha256:" + "e" * 64
GH = """#!/bin/sh
case "$*" in *FAILS*) exit 1 ;; esac
for word in "$@"; do printf '%s\\n' "$word"; done > "$STATUSES.new"
[ -z "$FAILING" ] && mv "$STATUSES.new" "$STATUSES"
"""

Files = Mapping[str, str | None]
"""Paths to contents; None removes a file."""


def written(model: str, version: int) -> str:
    return render(release(version, model)).decode()


def model_files(model: str, version: int) -> dict[str, str]:
    files = {
        path: content.decode() for path, content in first_files(Slot(model, "production")).items()
    }
    return {**files, release_path(Slot(model, "production")): written(model, version)}


def text(path: str) -> str:
    return (ROOT / path).read_text()


A, B, GONE, NEW = (release_path(Slot(model, "production")) for model in ("a", "b", "gone", "new"))
OVERLAY = A.replace("release.yaml", "kustomization.yaml")
FLUX_A = "gitops/clusters/production/a.yaml"
DEPLOYMENT, COMPONENT = (
    "gitops/models/base/deployment.yaml",
    "gitops/models/release/kustomization.yaml",
)
BASE, PRODUCTION = (
    "gitops/models/base/kustomization.yaml",
    "gitops/platform/production/kustomization.yaml",
)
PLATFORM = "gitops/clusters/production/platform.yaml"
KUSTOMIZATION = first_files(Slot("a", "production"))[OVERLAY].decode()
MAIN: Sequence[Files] = (
    {
        path.relative_to(ROOT).as_posix(): path.read_text()
        for path in (ROOT / "gitops").rglob("*.yaml")
    }
    | {
        "README.md": "hello\n",
        ".github/gate.py": GATE.read_text(),
        ".github/workflows/gate.yaml": text(".github/workflows/gate.yaml"),
    },
    model_files("a", 1),
    {A: written("a", 2)},
    {A: None},
    {A: written("a", 3)},
    model_files("b", 7),
    model_files("gone", 4),
    dict.fromkeys(model_files("gone", 4)),
)
POD = f"""\
apiVersion: v1
kind: Pod
metadata: {{name: extra, namespace: models}}
spec: {{containers: [{{name: extra, image: "{EVIL}"}}]}}
"""
SIDECAR = f'        - {{name: extra, image: "{EVIL}"}}\n'


def renamed(image: str) -> str:
    """An overlay that lets kustomize replace an image."""
    return f"{KUSTOMIZATION}images: [{{name: {image}, newName: evil.test/a}}]\n"


def patch(target: str, image: str = EVIL) -> str:
    return (
        f"patches:\n  - target: {{kind: Deployment, {target}}}\n    patch: |\n"
        f'      - {{op: replace, path: /spec/template/spec/containers/0/image, value: "{image}"}}\n'
    )


class Repository:
    """GitHub's bare repository, the workflow's checkout of main, and branch `topic` of PR 7."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._work, self._checkout, self._origin = (
            folder / "work",
            folder / "checkout",
            folder / "origin.git",
        )

    def make(self) -> None:
        """Write the programs and the commits of main."""
        (self._folder / "bin").mkdir()
        (self._folder / "bin/gh").write_text(GH)
        (self._folder / "bin/gh").chmod(0o755)
        (self._folder / "bin/kustomize").symlink_to(
            os.environ.get("RATCHET_KUSTOMIZE") or program("kustomize")
        )
        (self._folder / "script").write_text(
            STEP["run"].replace("/usr/bin/python3", sys.executable)
        )
        self._work.mkdir()
        self._git("init", "--quiet", "--initial-branch=main")
        for files in MAIN:
            self._commit(files)
        self._git("checkout", "--quiet", "-b", "topic")

    def _git(self, *arguments: str, where: Path | None = None) -> str:
        who = {
            f"GIT_{role}_{what}": "a@b.c"
            for role in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        }
        env = {"PATH": "/usr/bin:/bin", "HOME": str(self._folder), **who}
        done = subprocess.run(
            ["git", *arguments],
            cwd=where or self._work,
            env=env,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def _commit(self, files: Files) -> None:
        for name, content in files.items():
            file = self._work / name
            if content is None:
                file.unlink()
            elif content.startswith("link to "):
                file.parent.mkdir(parents=True, exist_ok=True)
                file.unlink(missing_ok=True)
                file.symlink_to(content.removeprefix("link to "))
            else:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(content)
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message=a commit")

    def main_moves(self, files: Files) -> None:
        """A person merges something else meanwhile."""
        self._git("checkout", "--quiet", "main")
        self._commit(files)
        self._git("checkout", "--quiet", "topic")

    def catch_up(self) -> None:
        """The branch starts at main."""
        self._git("reset", "--quiet", "--hard", "main")

    def propose(
        self,
        *commits: Files,
        branch: str = "topic",
        head: str = "",
        failing: str = "",
        without: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Open the pull request and run the workflow like GitHub: `bash -e` in main's checkout."""
        for files in commits:
            self._commit(files)
        self._git(
            "clone", "--quiet", "--bare", str(self._work), str(self._origin), where=self._folder
        )
        self._git("update-ref", "refs/pull/7/head", self.head(), where=self._origin)
        self._git(
            "clone",
            "--quiet",
            "--branch=main",
            "--single-branch",
            str(self._origin),
            str(self._checkout),
            where=self._folder,
        )
        env = {
            "PATH": f"{self._folder}/bin:/usr/bin:/bin",
            "GITHUB_REPOSITORY": "acme/ratchet",
            "HOME": str(self._folder),
        }
        env |= {"STATUSES": str(self._folder / "statuses"), "FAILING": failing}
        env |= {"GH_TOKEN": "t", "NUMBER": "7", "HEAD": head or self.head(), "BRANCH": branch}
        env.pop(without, None)
        script = ["bash", "-e", str(self._folder / "script")]
        return subprocess.run(
            script, cwd=self._checkout, env=env, check=False, capture_output=True, text=True
        )

    def head(self) -> str:
        return self._git("rev-parse", "topic")

    def statuses(self) -> list[str]:
        """What the workflow asked GitHub to write."""
        asked = self._folder / "statuses"
        return asked.read_text().splitlines() if asked.exists() else []


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    Repository(folder).make()
    return folder


@pytest.fixture
def repository(made: Path, tmp_path: Path) -> Repository:
    return Repository(shutil.copytree(made, tmp_path / "repository", symlinks=True))


@pytest.mark.parametrize(
    ("files", "says"),
    [
        pytest.param(
            {"README.md": "bye\n", "dags/models/a.yaml": "gate: {}\n"},
            SAME,
            id="nothing that runs, a gate section among it",
            marks=pytest.mark.e2e,
        ),
        pytest.param(
            {DEPLOYMENT: text(DEPLOYMENT).replace("memory: 768Mi", "memory: 1Gi")},
            SAME,
            id="more memory for all models",
        ),
        pytest.param(
            {OVERLAY: KUSTOMIZATION.replace("count: 2", "count: 3")},
            SAME,
            id="more servers of a model",
            marks=pytest.mark.e2e,
        ),
        pytest.param(
            {PRODUCTION: re.sub("0{64}", "a" * 64, text(PRODUCTION))},
            SAME,
            id="new images of the platform",
            marks=pytest.mark.e2e,
        ),
        pytest.param(
            {PLATFORM: text(PLATFORM).replace("10m", "20m")},
            SAME,
            id="another interval",
            marks=pytest.mark.e2e,
        ),
        pytest.param(
            {f"docs/{A}": "a 9\n", "gitops/evil/pod.yaml": POD},
            SAME,
            id="files that nothing refers to",
            marks=pytest.mark.e2e,
        ),
        pytest.param({A: None}, WAY_BACK, id="a release removed", marks=pytest.mark.e2e),
        pytest.param(
            dict.fromkeys(model_files("b", 7)),
            WAY_BACK,
            id="a model removed",
            marks=pytest.mark.e2e,
        ),
        pytest.param(
            {A: written("a", 2)},
            WAY_BACK,
            id="the release before, past the commit that removed it",
            marks=pytest.mark.e2e,
        ),
        pytest.param({A: written("a", 1), "README.md": "bye\n"}, WAY_BACK, id="an older release"),
        pytest.param(model_files("gone", 4), WAY_BACK, id="a removed model restored"),
        pytest.param(
            {A: written("a", 1), **dict.fromkeys(model_files("b", 7))},
            WAY_BACK,
            id="two ways back",
            marks=pytest.mark.e2e,
        ),
    ],
)
def test_a_pull_request_that_changes_no_image_or_goes_back_gets_the_gates_status(
    repository: Repository, files: Files, says: str
) -> None:
    done = repository.propose(files)
    assert (done.returncode, done.stderr) == (0, "")
    assert repository.statuses() == [
        *("api", "--method", "POST", f"repos/acme/ratchet/statuses/{repository.head()}"),
        *("-f", "state=success", "-f", "context=ratchet/gate", "-f", f"description={says}"),
    ]
    assert len(says) <= 140


NO_MODELS = dict.fromkeys([*model_files("a", 3), *model_files("b", 7)])
NO_IMAGE_OF_A_RELEASE = KUSTOMIZATION.replace("  - release.yaml\n", "").replace(
    "components:\n  - ../../release\n", ""
)
OVERLAY_OF_GONE = KUSTOMIZATION.replace(": a\n", ": gone\n").replace("-a", "-gone")
PLATFORM_KUSTOMIZATION = "gitops/platform/kustomization.yaml"

ATTACKS: dict[str, Sequence[Files]] = {
    "a new release": [{A: written("a", 9)}],
    "a first release": [model_files("new", 1)],
    "what another model's file holds": [{A: written("b", 7)}],
    "a way back and a new release": [{A: written("a", 1), B: written("b", 8)}],
    "what only the branch had before": [
        {A: written("a", 9)},
        {A: written("a", 10)},
        {A: written("a", 9)},
    ],
    "a release renamed": [{B: None, NEW: written("b", 7)}],
    "an image by the overlay": [{OVERLAY: renamed("127.0.0.1:5000/ratchet/a")}],
    "an image by an overlay, later": [{OVERLAY: renamed("registry.example.com/a")}],
    "an image by a patch": [{OVERLAY: KUSTOMIZATION + patch("name: server")}],
    "an image by a patch of the next version": [
        {OVERLAY: KUSTOMIZATION + patch('labelSelector: "app.kubernetes.io/version=4"')}
    ],
    "an image by a patch in a file": [
        {OVERLAY: f"{KUSTOMIZATION}patches: [{{path: p.yaml, target: {{kind: Deployment}}}}]\n"}
        | {
            OVERLAY.replace(
                "kustomization", "p"
            ): f'- {{op: replace, path: /spec/template/spec/containers/0/image, value: "{EVIL}"}}\n'
        }
    ],
    "an image by the component": [
        {COMPONENT: text(COMPONENT).replace("data.image}", "data.verdict}", 1)}
    ],
    "a sidecar for the models to come": [
        NO_MODELS,
        {DEPLOYMENT: text(DEPLOYMENT).replace("      volumes:\n", f"{SIDECAR}      volumes:\n")},
    ],
    "a sidecar": [
        {DEPLOYMENT: text(DEPLOYMENT).replace("      volumes:\n", f"{SIDECAR}      volumes:\n")}
    ],
    "a container that runs first": [
        {
            DEPLOYMENT: text(DEPLOYMENT).replace(
                "      containers:\n", f"      initContainers:\n{SIDECAR}      containers:\n"
            )
        }
    ],
    "another command": [
        {
            DEPLOYMENT: text(DEPLOYMENT).replace(
                "image: unset\n", "image: unset\n          command: [sh]\n"
            )
        }
    ],
    "another pod in the base": [
        {
            BASE: text(BASE).replace("account.yaml", "account.yaml, pod.yaml"),
            "gitops/models/base/pod.yaml": POD,
        }
    ],
    "another pod on the platform": [
        {
            PLATFORM_KUSTOMIZATION: text(PLATFORM_KUSTOMIZATION).replace("deny", "pod.yaml, deny"),
            "gitops/platform/pod.yaml": POD,
        },
    ],
    "the gateway among the models": [{PRODUCTION: f"namespace: models\n{text(PRODUCTION)}"}],
    "a pod beside Flux's objects": [{"gitops/clusters/production/pod.yaml": POD}],
    "a pod in a folder below": [{"gitops/clusters/production/more/pod.yaml": POD}],
    "another cluster": [{"gitops/clusters/staging/pod.yaml": POD}],
    "a cluster with a kustomization of its own": [
        {"gitops/clusters/production/kustomization.yaml": "resources: [a.yaml]\n"}
    ],
    "Flux pointed at another folder": [
        {
            FLUX_A: first_files(Slot("a", "production"))[FLUX_A]
            .decode()
            .replace("models/a", "models/b")
        }
    ],
    "Flux pointed at another repository": [
        {
            "gitops/clusters/production/repository.yaml": text(
                "gitops/clusters/production/repository.yaml"
            ).replace("acme", "evil")
        }
    ],
    "Flux with an image of its own": [
        {
            FLUX_A: first_files(Slot("a", "production"))[FLUX_A].decode()
            + "  images: [{name: a, newName: b}]\n"
        }
    ],
    "Flux with patches of its own": [
        {
            FLUX_A: first_files(Slot("a", "production"))[FLUX_A].decode()
            + "  patches: [{patch: x}]\n"
        }
    ],
    "a Flux object in a model's folder": [
        {OVERLAY: KUSTOMIZATION.replace("release.yaml\n", "release.yaml\n  - flux.yaml\n")}
        | {
            OVERLAY.replace("kustomization", "flux"): text(PLATFORM).replace(
                "name: platform", "name: other"
            )
        }
    ],
    "a remote base": [
        {OVERLAY: KUSTOMIZATION.replace("../../base", "https://github.com/evil/base?ref=main")}
    ],
    "a remote base without a scheme": [
        {OVERLAY: KUSTOMIZATION.replace("../../base", "github.com/evil/base")}
    ],
    "a remote base by ssh": [
        {OVERLAY: KUSTOMIZATION.replace("../../base", "git@evil.test:base.git")}
    ],
    "a remote patch": [
        {OVERLAY: f"{KUSTOMIZATION}patches: [{{path: 'https://evil.test/p.yaml'}}]\n"}
    ],
    "a remote patch by another spelling": [
        {OVERLAY: f"{KUSTOMIZATION}patches: [{{Path: 'https://evil.test/p.yaml', patch: ''}}]\n"}
    ],
    "a base outside gitops": [
        {
            OVERLAY: KUSTOMIZATION.replace("../../base", "../../../../dags"),
            "dags/kustomization.yaml": "resources: []\n",
        }
    ],
    "a base by an absolute path": [{OVERLAY: KUSTOMIZATION.replace("../../base", "/tmp")}],
    "a model's base among the platform": [
        {OVERLAY: KUSTOMIZATION.replace("../../base", "../../../platform/gateway")}
    ],
    "a chart": [
        {OVERLAY: f"{KUSTOMIZATION}helmCharts: [{{name: evil, repo: 'https://evil.test'}}]\n"}
    ],
    "a generator": [{OVERLAY: f"{KUSTOMIZATION}generators: [g.yaml]\n"}],
    "a transformer": [{OVERLAY: f"{KUSTOMIZATION}transformers: [g.yaml]\n"}],
    "a field by another spelling": [{OVERLAY: f"{KUSTOMIZATION}Transformers: [g.yaml]\n"}],
    "a field that is there twice": [{OVERLAY: f"{KUSTOMIZATION}namespace: models\n"}],
    "an alias": [{OVERLAY: f"{KUSTOMIZATION}commonAnnotations: {{a: &a b, c: *a}}\n"}],
    "a link": [{OVERLAY: "link to ../../b/production/kustomization.yaml"}],
    "a link to the machine": [{A: "link to /etc/hostname"}],
    "a file that hides others from Flux": [{".sourceignore": "gitops/models/release\n"}],
    "what cannot be built": [{OVERLAY: KUSTOMIZATION.replace("../../base", "../../none")}],
    "a way back that brings another image": [
        {
            A: written("a", 2),
            OVERLAY: renamed("127.0.0.1:5000/ratchet/a"),
        }
    ],
    "a release removed, and an image in its place": [{A: None, OVERLAY: NO_IMAGE_OF_A_RELEASE}],
    "a removed model restored with another overlay": [
        model_files("gone", 4)
        | {GONE.replace("release", "kustomization"): OVERLAY_OF_GONE + patch("name: server")}
    ],
    "a way back and a program that gives every status": [
        {A: written("a", 9), ".github/gate.py": f"print({SAME!r})\n"}
    ],
}


TELLING_ATTACKS = (
    "a new release",
    "a first release",
    "a way back and a new release",
    "an image by the overlay",
    "an image by a patch in a file",
    "a sidecar",
    "a pod beside Flux's objects",
    "Flux pointed at another repository",
    "a remote base",
    "a link",
    "what cannot be built",
    "a way back and a program that gives every status",
)


@pytest.mark.parametrize("commits", cases(ATTACKS, in_make_test=TELLING_ATTACKS))
def test_anything_else_gets_no_status_and_the_log_says_why(
    repository: Repository, commits: Sequence[Files]
) -> None:
    done = repository.propose(*commits)
    assert (done.returncode, repository.statuses()) == (0, [])
    assert done.stderr.startswith("No status: ")


def test_a_pull_request_that_edits_the_workflow_is_judged_by_mains_copy(
    repository: Repository,
) -> None:
    edited = {
        ".github/workflows/gate.yaml": "on: push\n",
        ".github/gate.py": "raise SystemExit('the branch runs')\n",
        "README.md": "bye\n",
    }
    done = repository.propose(edited)
    assert (done.returncode, done.stderr) == (0, ""), "a code owner's review is what stops it"
    assert repository.statuses()[-1] == f"description={SAME}"


def test_what_main_got_meanwhile_is_no_part_of_the_change(repository: Repository) -> None:
    repository.main_moves({B: written("b", 8)})
    repository.propose({"gitops/README.md": "more\n"})
    assert repository.statuses()[-1] == f"description={SAME}"


def test_a_conflict_with_main_gets_no_status(repository: Repository) -> None:
    repository.main_moves({"README.md": "main's\n"})
    assert "conflicts" in repository.propose({"README.md": "ours\n"}).stderr
    assert repository.statuses() == []


def test_a_release_that_main_removed_may_be_restored_though_main_cannot_be_built(
    repository: Repository,
) -> None:
    repository.main_moves({A: None})
    repository.catch_up()
    repository.propose({A: written("a", 2)})
    assert repository.statuses()[-1] == f"description={WAY_BACK}"


def test_a_model_without_a_release_holds_up_nobody(repository: Repository) -> None:
    repository.main_moves({A: None})
    repository.propose({DEPLOYMENT: text(DEPLOYMENT).replace("memory: 768Mi", "memory: 1Gi")})
    assert repository.statuses()[-1] == f"description={SAME}"


@pytest.mark.parametrize(
    "files",
    [{A: written("a", 1)}, {B: None}, {A: written("a", 9)}],
    ids=["restores", "removes", "new"],
)
def test_a_release_on_a_branch_of_promote_is_left_to_promote(
    repository: Repository, files: Files
) -> None:
    done = repository.propose(files, branch="ratchet/a/production/rollback-to-v1-over-0123456789ab")
    assert (done.returncode, repository.statuses()) == (0, [])
    assert "promote's" in done.stderr


def test_githubs_revert_of_a_promotion_is_a_persons(repository: Repository) -> None:
    repository.propose(
        {A: written("a", 2)}, branch="revert-12-ratchet/a/production/v3-over-0123456789ab"
    )
    assert repository.statuses()[-1] == f"description={WAY_BACK}"


def test_a_branchs_name_is_no_option_and_no_command(repository: Repository) -> None:
    done = repository.propose({"README.md": "bye\n"}, branch="--help;$(touch hacked)`touch hacked`")
    assert (done.returncode, done.stderr) == (0, "")
    assert repository.statuses()[-1] == f"description={SAME}"


def test_a_commit_that_is_no_longer_the_head_is_left_to_the_next_run(
    repository: Repository,
) -> None:
    done = repository.propose({"README.md": "bye\n"}, head="0" * 40)
    assert (done.returncode, repository.statuses()) == (0, [])
    assert "moved on" in done.stdout


def test_a_status_that_github_refuses_fails_the_run(repository: Repository) -> None:
    assert repository.propose({"README.md": "bye\n"}, failing="yes").returncode != 0


@pytest.mark.parametrize("name", ["GITHUB_REPOSITORY", "NUMBER", "HEAD", "BRANCH", "GH_TOKEN"])
def test_a_missing_input_fails_the_run_and_gives_nothing(repository: Repository, name: str) -> None:
    assert repository.propose({"README.md": "bye\n"}, without=name).returncode != 0
    assert repository.statuses() == []


def test_the_step_sees_a_pull_requests_words_through_its_environment_only() -> None:
    assert "${{" not in STEP["run"]
    assert STEP["env"] == {
        "GH_TOKEN": "${{ github.token }}",
        "NUMBER": "${{ github.event.pull_request.number }}",
        "HEAD": "${{ github.event.pull_request.head.sha }}",
        "BRANCH": "${{ github.event.pull_request.head.ref }}",
    }


def test_the_workflow_is_mains_and_may_only_read_and_set_statuses() -> None:
    assert WORKFLOW["permissions"] == {
        "contents": "read",
        "pull-requests": "read",
        "statuses": "write",
    }
    assert all("permissions" not in job for job in WORKFLOW["jobs"].values())
    trigger: dict[str, Any] = WORKFLOW[True]  # YAML 1.1 reads `on` as true
    assert set(trigger) == {"pull_request_target"}
    assert trigger["pull_request_target"]["branches"] == ["main"]
    assert {"opened", "synchronize", "reopened", "edited"} == set(
        trigger["pull_request_target"]["types"]
    )
    assert CHECKOUT["with"] == {"fetch-depth": 0, "persist-credentials": False}, (
        "no ref: main is checked out, never the branch"
    )


def test_the_probe_is_a_model_as_promote_writes_it() -> None:
    source = {}
    exec(compile(GATE.read_text(), str(GATE), "exec"), source := {"__name__": "gate"})
    probe = source["_PROBE"]
    words = {"model": "a", "digest": "0" * 64, "version": 8}
    [overlay] = [yaml.safe_load(probe["kustomization.yaml"].format(**words))]
    ours = yaml.safe_load(KUSTOMIZATION)
    ours.pop("replicas")
    assert overlay == ours
    [made, real] = [
        yaml.safe_load(made) for made in (probe["release.yaml"].format(**words), written("a", 8))
    ]
    assert {**made, "data": set(made["data"])} == {**real, "data": set(real["data"])}
    assert json.dumps(made["data"]["version"]) == '"8"'


@pytest.mark.parametrize(
    "base",
    [
        "https://github.com/evil/base?ref=main",
        "github.com/evil/base",
        "git@evil.test:base.git",
        "evil.test/base.git",
        "/tmp",
        "../../../../dags",
        "../../../platform/gateway",
    ],
)
def test_a_remote_base_is_refused_before_kustomize_reads_it(base: str) -> None:
    """kustomize, cut off from the network, would fail too; nothing else stops it from asking."""
    exec(compile(GATE.read_text(), str(GATE), "exec"), source := {"__name__": "gate"})
    check = source["check_kustomizations"]
    check({OVERLAY: KUSTOMIZATION.encode()})
    with pytest.raises(source["NoStatus"], match="nothing remote"):
        check({OVERLAY: KUSTOMIZATION.replace("../../base", base).encode()})


def test_a_code_owner_reviews_every_file_that_promote_writes_and_what_it_judges_by() -> None:
    lines = [
        line.split()
        for line in text(".github/CODEOWNERS").splitlines()
        if line and not line.startswith("#")
    ]
    owned = tuple(pattern.removeprefix("/") for pattern, *owners in lines if owners)
    assert all(pattern.endswith("/") for pattern in owned), "a folder, and all below it"
    ours = [*first_files(Slot("a", "production")), release_path(Slot("a", "local")), PRODUCTION]
    judged_by = [
        "dags/models/flight-delay.yaml",
        ".github/workflows/gate.yaml",
        ".github/gate.py",
        ".github/CODEOWNERS",
    ]
    assert [path for path in (*ours, *judged_by) if not path.startswith(owned)] == []
