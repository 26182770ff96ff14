"""Decides whether a pull request may have the status `ratchet/gate` without promote.

The workflow `gate.yaml` runs main's copy of this file.

It compares what main runs with what main would run after the merge. Both are built by `kustomize`,
from the files in git, read as data. No program of the pull request runs. No remote file is read.
A status needs one of two things: every model keeps its image and nothing new runs, or the change is
a way back to releases that main had. What cannot be built, or is not understood, gets no status.

This protects against mistakes. Whoever may push can set a status by hand; a code owner's review is
what stops that (docs/production.md). It needs Python 3.11, PyYAML, git 2.38 and kustomize 5.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import posixpath
import re
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import yaml

SAME = "every model keeps its image, nothing new runs"
WAY_BACK = "a way back: main had every release it names before"
KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
MOST_FILES, MOST_BYTES = 5000, 20_000_000

# Only these fields of a kustomization are understood. No plugin, no chart, no generator of secrets.
FIELDS = frozenset(
    (
        *(
            "apiVersion",
            "kind",
            "metadata",
            "namespace",
            "namePrefix",
            "nameSuffix",
            "resources",
            "components",
        ),
        *(
            "labels",
            "commonLabels",
            "commonAnnotations",
            "replicas",
            "images",
            "patches",
            "replacements",
        ),
        *("configMapGenerator", "generatorOptions", "sortOptions"),
    )
)
FIELDS_OF = {
    "images": frozenset(["name", "newName", "newTag", "digest", "tagSuffix"]),
    "patches": frozenset(["path", "patch", "target", "options"]),
    "replacements": frozenset(["source", "targets"]),
    "configMapGenerator": frozenset(
        ["name", "namespace", "behavior", "literals", "files", "envs", "env", "options"]
    ),
}
_WORKLOADS = {
    "": "Pod ReplicationController",
    "apps": "Deployment StatefulSet DaemonSet ReplicaSet",
    "batch": "Job CronJob",
}
_INERT = {
    "": "ConfigMap Service ServiceAccount Secret Namespace ResourceQuota LimitRange",
    "policy": "PodDisruptionBudget",
    "autoscaling": "HorizontalPodAutoscaler",
    "networking.k8s.io": "NetworkPolicy Ingress",
    "rbac.authorization.k8s.io": "Role RoleBinding",
}
_TIMES = ("interval", "retryInterval", "timeout")
_PROBE = {
    # as promote/release/manifest.py writes a model's first files
    "kustomization.yaml": """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: models
nameSuffix: -{model}
resources: [../../base, release.yaml]
components: [../../release]
labels:
  - pairs: {{app.kubernetes.io/name: {model}}}
    includeSelectors: true
""",
    "release.yaml": """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: release
  annotations: {{config.kubernetes.io/local-config: "true"}}
data:
  image: "registry.invalid/{model}@sha256:{digest}"
  model_digest: "sha256:{digest}"
  verdict: "sha256:{digest}"
  version: "{version}"
""",
}

Facts = dict[str, dict[str, Any]]
"""What runs: a place, with its image, command and arguments. Or a whole unknown object."""


class NoStatus(Exception):
    """The pull request gets no status; the message says why, and what a person can do."""


class Unbuildable(Exception):
    """kustomize refused a folder, as Flux would."""


class _StrictLoader(yaml.BaseLoader):
    """YAML that all parsers read alike: no aliases, tags or repeated keys. Scalars are texts."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call] # PyYAML has no types there
        if isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None) is not None:
            raise yaml.YAMLError("an alias or a tag")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        found = super().construct_mapping(node, deep)
        if len(found) != len(node.value) or "<<" in found:
            raise yaml.YAMLError("a key that is there twice, or a merge")
        return found


def read_yaml(content: bytes, where: str) -> list[Any]:
    """Return the documents of a file.

    Raises:
        NoStatus: They are not plain YAML.
    """
    try:
        found = yaml.load_all(content.decode(), _StrictLoader)
        return [document for document in found if document not in (None, "")]
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise NoStatus(
            f"{where} is not plain YAML. Write it without aliases, tags and keys that are there"
            " twice."
        ) from error


def git(*arguments: str, stdin: bytes = b"", may_fail: bool = False) -> bytes:
    """Return what git writes; with `may_fail`, nothing when it says no."""
    done = subprocess.run(
        ["git", *arguments], input=stdin, stdout=subprocess.PIPE, check=not may_fail
    )
    return done.stdout if done.returncode == 0 else b""


class Tree:
    """The folder gitops/ of a commit, of a tree or of files in memory, in a folder of its own."""

    def __init__(self, files: dict[str, bytes], scratch: ExitStack) -> None:
        self.files = files
        self._scratch = scratch
        self._folder: Path | None = None
        self._facts: dict[str, Facts | Unbuildable] = {}

    @classmethod
    def of(cls, name: str, scratch: ExitStack) -> Tree:
        """Read it from git.

        Raises:
            NoStatus: It holds links or submodules, or too much.
        """
        entries = [
            entry.split(b"\t", 1)
            for entry in git("ls-tree", "-r", "-z", "--full-tree", name, "gitops/").split(b"\0")[
                :-1
            ]
        ]
        if len(entries) > MOST_FILES:
            raise NoStatus(f"gitops/ has {len(entries)} files; at most {MOST_FILES} are read.")
        blobs: dict[str, str] = {}
        for about, path in entries:
            mode, _, sha = about.decode().split()
            text = path.decode(errors="replace")
            if (
                mode not in ("100644", "100755")
                or not re.fullmatch(r"[\w.@+ -]+(/[\w.@+ -]+)*", text)
                or {".", "..", ".git"} & set(text.split("/"))
            ):
                raise NoStatus(
                    f"{text!r} is a link, a submodule, or has a name that is not understood. Use"
                    " plain files."
                )
            blobs[text] = sha
        return cls(dict(zip(blobs, _read(list(blobs.values())), strict=True)), scratch)

    def with_files(self, files: dict[str, bytes]) -> Tree:
        """Return it with other files added."""
        return Tree({**self.files, **files}, self._scratch)

    def has(self, folder: str) -> bool:
        """True when anything is in the folder."""
        return any(path.startswith(f"{folder}/") for path in self.files)

    def below(self, folder: str) -> dict[str, bytes]:
        """The files of a folder."""
        return {
            path: content for path, content in self.files.items() if path.startswith(f"{folder}/")
        }

    def folder_facts(self, folder: str) -> Facts | Unbuildable:
        """What runs by a folder's build."""
        if folder not in self._facts:
            try:
                self._facts[folder] = facts(self.build(folder))
            except Unbuildable as error:
                self._facts[folder] = error
        return self._facts[folder]

    def cluster(self, environment: str) -> list[Any]:
        """The objects of clusters/<environment>/, as Flux makes them from all files there.

        Raises:
            Unbuildable: kustomize refused them.
        """
        folder = f"gitops/clusters/{environment}"
        names = [
            path.removeprefix(f"{folder}/")
            for path in sorted(self.below(folder))
            if path.endswith((".yaml", ".yml"))
        ]
        if any(posixpath.basename(name) in KUSTOMIZATIONS for name in self.below(folder)):
            raise NoStatus(
                f"{folder} has a kustomization of its own, and this script does not read it."
            )
        made = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": names,
        }
        return (
            self.with_files({f"{folder}/kustomization.yaml": json.dumps(made).encode()}).build(
                folder
            )
            if names
            else []
        )

    def build(self, folder: str) -> list[Any]:
        """What kustomize makes of a folder.

        Raises:
            Unbuildable: It refused the folder.
            NoStatus: A kustomization of the tree is not understood.
        """
        if self._folder is None:
            check_kustomizations(self.files)
            self._folder = Path(
                self._scratch.enter_context(
                    tempfile.TemporaryDirectory(prefix=secrets.token_hex(8))
                )
            )
            for path, content in self.files.items():
                (self._folder / path).parent.mkdir(parents=True, exist_ok=True)
                (self._folder / path).write_bytes(content)
        # No git, no proxy that answers: a remote file that the check above missed cannot be read.
        nowhere = dict.fromkeys(
            ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9"
        )
        env = {"PATH": "/nonexistent", "HOME": str(self._folder), **nowhere}
        command = [kustomize(), "build", folder]
        done = subprocess.run(
            command, cwd=self._folder, env=env, capture_output=True, timeout=120, check=False
        )
        if done.returncode != 0:
            raise Unbuildable(done.stderr.decode(errors="replace").strip()[:300])
        return read_yaml(done.stdout, f"the build of {folder}")


@cache
def kustomize() -> str:
    """Return where kustomize is."""
    found = subprocess.run(
        ["sh", "-c", "command -v kustomize"], capture_output=True, text=True, check=True
    ).stdout.strip()
    version = subprocess.run(
        [found, "version"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not re.match(r"(\{.*)?v5\.", version):
        raise SystemExit(
            f"kustomize is {version}; this script needs version 5. Choose a runner image that has"
            " it."
        )
    return found


def _read(shas: list[str]) -> Iterator[bytes]:
    answer, total = (
        git("cat-file", "--batch", stdin="".join(f"{sha}\n" for sha in shas).encode()),
        0,
    )
    for _ in shas:
        head, _, answer = answer.partition(b"\n")
        size = int(head.split()[2])
        total += size
        if total > MOST_BYTES:
            raise NoStatus(f"gitops/ has more than {MOST_BYTES} bytes.")
        yield answer[:size]
        answer = answer[size + 1 :]


def check_kustomizations(files: dict[str, bytes]) -> None:
    """Check that every kustomization of a tree has only local files and fields that we can read.

    Raises:
        NoStatus: One is not.
    """
    for path, content in files.items():
        folder, name = posixpath.split(path)
        if name not in KUSTOMIZATIONS:
            continue
        documents = read_yaml(content, path)
        if len(documents) != 1 or not isinstance(documents[0], dict):
            raise NoStatus(f"{path} is not one kustomization.")
        _check_fields(documents[0], path)
        for reference in _references(documents[0]):
            whole = posixpath.normpath(posixpath.join(folder, reference))
            plain = re.fullmatch(r"[\w.-]+(/[\w.-]+)*/?", reference, re.ASCII)
            remote = re.search(r"github\.com|\.git\b|_git\b", reference, re.IGNORECASE)
            room = "gitops/models/" if path.startswith("gitops/models/") else "gitops/"
            if not plain or remote or not whole.startswith(room):
                raise NoStatus(
                    f"{path} refers to {reference!r}. Only files and folders of {room} are read"
                    " here, nothing remote."
                )


def _check_fields(found: dict[str, Any], path: str) -> None:
    unknown = set(found) - FIELDS
    for field, fields in FIELDS_OF.items():
        entries = found.get(field) or []
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise NoStatus(f"{path}: {field} is not a list of mappings.")
        unknown |= {f"{field}.{name}" for entry in entries for name in set(entry) - fields}
    if unknown:
        raise NoStatus(
            f"{path} uses {', '.join(sorted(unknown))}, which this script does not read: a"
            " plugin, a chart or a remote file may run there."
        )


def _references(found: dict[str, Any]) -> list[str]:
    entries = [*(found.get("resources") or []), *(found.get("components") or [])]
    entries += [entry["path"] for entry in found.get("patches") or [] if "path" in entry]
    for entry in found.get("configMapGenerator") or []:
        entries += [str(file).split("=", 1)[-1] for file in entry.get("files") or []]
        entries += [*(entry.get("envs") or []), *([entry["env"]] if "env" in entry else [])]
    return [str(entry) for entry in entries]


def conditions(content: bytes, path: str) -> set[str]:
    """Return the parts of a kustomization that may change the image of a later release."""
    [found] = read_yaml(content, path)
    chosen = [json.dumps(entry, sort_keys=True) for entry in found.get("images") or []]
    for field in ("patches", "replacements"):
        chosen += [
            text
            for entry in found.get(field) or []
            if re.search(
                "(label|annotation)selector",
                text := json.dumps(entry, sort_keys=True),
                re.IGNORECASE,
            )
        ]
    return set(chosen)


def facts(objects: list[Any]) -> Facts:
    """Return what runs by these objects."""
    found: Facts = {}
    for thing in objects:
        group = str(thing.get("apiVersion", "")).rpartition("/")[0]
        kind, about = str(thing.get("kind", "")), thing.get("metadata") or {}
        key = f"{group}/{kind} {about.get('namespace', '')}/{about.get('name', '')}"
        if kind in _INERT.get(group, "").split():
            continue
        if kind in _WORKLOADS.get(group, "").split():
            found[key] = {}
            found.update(_running(thing.get("spec"), key))
            continue
        if group.endswith("toolkit.fluxcd.io") and isinstance(spec := thing.get("spec"), dict):
            kept = {name: value for name, value in spec.items() if name not in _TIMES}
            found[key] = {**thing, "spec": kept}
            continue
        found[key] = thing
    return found


def _running(node: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, list):
        for number, item in enumerate(node):
            name = item.get("name", number) if isinstance(item, dict) else number
            yield from _running(item, f"{path}[{name}#{number}]")
    if isinstance(node, dict):
        runs = {name: node[name] for name in ("image", "command", "args") if name in node}
        if runs:
            yield path, runs
        for name, value in node.items():
            yield from _running(value, f"{path}.{name}")


class Judge:
    """Compares two trees; `history` names the first-parent commits of main that changed a file."""

    def __init__(
        self, base: str, branch: str, before: Tree, after: Tree, scratch: ExitStack
    ) -> None:
        self._base, self._branch, self._scratch = base, branch, scratch
        probe, digest = f"p{secrets.token_hex(8)}", secrets.token_hex(32)
        environments = sorted(
            {
                path.split("/")[2]
                for tree in (before, after)
                for path in tree.below("gitops/clusters")
                if path.count("/") > 2
            }
        )
        words = {"model": probe, "digest": digest, "version": 10**9 + secrets.randbelow(10**9)}
        probes = {
            f"gitops/models/{probe}/{one}/{name}": text.format(**words).encode()
            for one in environments or ["probe"]
            for name, text in _PROBE.items()
        }
        self._probe, self._environments = probe, environments
        self._before, self._after = before.with_files(probes), after.with_files(probes)

    def says(self) -> str:
        """Return the status's description.

        Raises:
            NoStatus: There is to be none.
        """
        self._check_conditions()
        for environment in self._environments:
            self._check_cluster(environment)
        for folder in sorted(self._applied(self._before) | self._applied(self._after)):
            if not folder.startswith("gitops/models/"):
                self._check_platform(folder)
        both = {*self._before.files, *self._after.files}
        folders = {
            "/".join(path.split("/")[:4])
            for path in both
            if path.startswith("gitops/models/") and path.count("/") > 3
        }
        return WAY_BACK if any([self._is_way_back(folder) for folder in sorted(folders)]) else SAME  # noqa: C419 - each is checked

    def _check_conditions(self) -> None:
        for path, content in self._after.below("gitops/models").items():
            if posixpath.basename(path) in KUSTOMIZATIONS and content != self._before.files.get(
                path
            ):
                known = (
                    conditions(self._before.files[path], path)
                    if path in self._before.files
                    else set()
                )
                if new := conditions(content, path) - known:
                    raise NoStatus(
                        f"{path}: {min(new)[:200]} may change what a later release runs. Patch by"
                        " name and kind, and leave images to release.yaml."
                    )

    def _flux(self, tree: Tree, environment: str) -> Facts:
        try:
            return facts(tree.cluster(environment))
        except Unbuildable as error:
            raise NoStatus(f"gitops/clusters/{environment} cannot be built: {error}") from error

    def _applied(self, tree: Tree) -> set[str]:
        folders = set()
        for environment in self._environments:
            for key, thing in self._flux(tree, environment).items():
                if not key.startswith("kustomize.toolkit.fluxcd.io/Kustomization "):
                    continue
                spec = thing.get("spec") or {}
                if "components" in spec or "substituteFrom" in (spec.get("postBuild") or {}):
                    raise NoStatus(
                        f"{key} uses components or substituteFrom, and this script does not read"
                        " them."
                    )
                folder = posixpath.normpath(str(spec.get("path", "")))
                if folder.startswith("gitops/") and not re.fullmatch(
                    "gitops/clusters/[^/]+", folder
                ):
                    folders.add(folder)
        return folders

    def _check_cluster(self, environment: str) -> None:
        before, after = (self._flux(tree, environment) for tree in (self._before, self._after))
        for key in sorted({*before, *after}):
            if before.get(key) == after.get(key) or self._leaves_or_returns(
                environment, key, before, after
            ):
                continue
            raise NoStatus(
                f"gitops/clusters/{environment} changes {key}. This script cannot say what runs"
                " by it."
            )

    def _leaves_or_returns(self, environment: str, key: str, before: Facts, after: Facts) -> bool:
        """True when the Flux object may change: its model goes, or comes back as main had it."""
        if not key.startswith("kustomize.toolkit.fluxcd.io/Kustomization ") or (
            key in before and key in after
        ):
            return False
        folder = posixpath.normpath(str({**before, **after}[key]["spec"].get("path", "")))
        if not re.fullmatch(f"gitops/models/[^/]+/{re.escape(environment)}", folder):
            return False
        if key in before:
            return not self._after.has(folder)
        return any(
            self._flux(tree, environment).get(key) == after[key]
            for tree in self._trees_with_release(folder)
        )

    def _check_platform(self, folder: str) -> None:
        before, after = (self._built(tree, folder) for tree in (self._before, self._after))
        for key in sorted({*before, *after}):
            old, new = before.get(key), after.get(key)
            if old == new:
                continue
            # The platform's own images are released by pull requests; nothing else there may start.
            if (
                old is None
                or new is None
                or " models/" in key
                or {*old} != {*new}
                or {**old, "image": new.get("image")} != new
            ):
                raise NoStatus(f"{folder} changes {key}: something new runs.")

    def _built(self, tree: Tree, folder: str) -> Facts:
        found = tree.folder_facts(folder)
        if isinstance(found, Unbuildable):
            raise NoStatus(f"{folder} cannot be built: {found}")
        return found

    def _is_way_back(self, folder: str) -> bool:
        """True when the release changes to one that main had, or to none. False without a change.

        Raises:
            NoStatus: Anything else.
        """
        path = f"{folder}/release.yaml"
        old, new = self._before.files.get(path), self._after.files.get(path)
        if old == new:
            self._check_same(folder, new is None)
            return False
        if self._branch.startswith("ratchet/"):
            raise NoStatus(
                "A branch that begins with ratchet/ is promote's, and only promote can say that"
                f" the gate let {path} through."
            )
        if new is None:
            if self._after.has(folder):
                held = self._after.with_files({path: old or b""})
                _check_equal(folder, self._built(self._before, folder), self._built(held, folder))
            return True
        trees = list(self._trees_with_release(folder))
        if not trees:
            raise NoStatus(
                f"main never had this content of {path}, and only promote can say that the gate"
                " let it through."
            )
        after, before = self._built(self._after, folder), self._before.folder_facts(folder)
        if old is not None and not isinstance(before, Unbuildable):
            _check_equal(folder, before, after, (_image(old), _image(new)))
        elif not any(tree.folder_facts(folder) == after for tree in trees):
            raise NoStatus(f"main had {path} before, but not what {folder} would run with it.")
        return True

    def _check_same(self, folder: str, is_unnamed: bool) -> None:
        before, after = (tree.folder_facts(folder) for tree in (self._before, self._after))
        if (
            is_unnamed
            and (
                not self._after.has(folder)
                or self._before.below(folder) == self._after.below(folder)
            )
            and isinstance(after, Unbuildable)
        ):
            return  # no release, so nothing is applied there
        if (
            f"/{self._probe}/" in folder
            and isinstance(before, Unbuildable)
            and isinstance(after, Unbuildable)
        ):
            return  # no model can come yet
        _check_equal(folder, self._built(self._before, folder), self._built(self._after, folder))

    def _trees_with_release(self, folder: str) -> Iterator[Tree]:
        """Trees of main, newest first, that named the release which the pull request names."""
        path = f"{folder}/release.yaml"
        content = self._after.files.get(path)
        if content is None:
            return
        wanted = hashlib.sha1(
            b"blob %d\0" % len(content) + content, usedforsecurity=False
        ).hexdigest()
        for commit in (
            git("log", "--first-parent", "--format=%H", self._base, "--", path).decode().split()
        ):
            if (
                git("rev-parse", "--verify", "--quiet", f"{commit}:{path}", may_fail=True)
                .decode()
                .strip()
                == wanted
            ):
                yield Tree.of(commit, self._scratch)


def _check_equal(
    folder: str, before: Facts, after: Facts, images: tuple[str, str] | None = None
) -> None:
    for key in sorted({*before, *after}):
        old, new = before.get(key), after.get(key)
        if images and old and old.get("image") == images[0]:
            old = {**old, "image": images[1]}
        if old != new:
            raise NoStatus(
                f"{folder} changes {key}: only promote can say that the gate let this through."
            )


def _image(release: bytes) -> str:
    found = re.search(rb'^  image: "([^"\n]+)"$', release, re.MULTILINE)
    return found[1].decode(errors="replace") if found else ""


def judge(base: str, head: str, branch: str) -> str:
    """Return the description of the status.

    Args:
        base: Main's commit.
        head: The pull request's commit.
        branch: Its branch.

    Raises:
        NoStatus: There is to be none.
    """
    merged = (
        git("merge-tree", "--write-tree", "--no-messages", base, head, may_fail=True)
        .decode()
        .split("\n")[0]
    )
    if not merged:
        raise NoStatus("The pull request conflicts with main. Resolve the conflict.")
    changed = (
        git("diff-tree", "-r", "-z", "--name-only", "--no-renames", f"{base}^{{tree}}", merged)
        .decode(errors="replace")
        .split("\0")[:-1]
    )
    for path in changed:
        name = posixpath.basename(path)
        if name == ".sourceignore" or (path.startswith("gitops/") and name.startswith(".")):
            raise NoStatus(f"{path} may hide files from Flux, and this script does not read it.")
    if not any(path == "gitops" or path.startswith("gitops/") for path in changed):
        return SAME
    with ExitStack() as scratch:
        return Judge(base, branch, Tree.of(base, scratch), Tree.of(merged, scratch), scratch).says()


def main() -> None:
    """Print the description of the status, or nothing; why there is none goes to the log."""
    parser = argparse.ArgumentParser(
        description="Print why a pull request may have the status ratchet/gate. "
        "Print nothing when the pull request may not have it."
    )
    for name, text in (
        ("base", "main's commit"),
        ("head", "the pull request's commit"),
        ("branch", "its branch"),
    ):
        parser.add_argument(f"--{name}", required=True, help=text)
    asked = parser.parse_args()
    try:
        sys.stdout.write(judge(asked.base, asked.head, asked.branch) + "\n")
    except NoStatus as reason:
        sys.stderr.write(f"No status: {reason}\n")


if __name__ == "__main__":
    main()
