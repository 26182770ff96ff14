"""Each Dockerfile keeps our promises, and copies all that its service imports. No builds here."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from infra.images.__main__ import main
from infra.images.build import (
    DOCKERFILES,
    NAMES,
    annotation_arguments,
    build,
    recipe_digest,
    with_digest,
)
from infra.images.programs import ProgramFailed, said

ROOT = Path(__file__).resolve().parents[3]
OURS = {"retrain", "promote", "serving", "client_api"}
ZEROS = "sha256:" + "0" * 64


def dockerfile(name: str) -> str:
    text = (DOCKERFILES / f"{name}.Dockerfile").read_text()
    return re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")


def wrong_with(text: str, name: str) -> list[str]:
    """Return what of our promises a Dockerfile breaks. Pure."""
    stages = re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]
    last = stages[-1] if stages else ""
    promises = {
        "the base is given by whoever builds": re.search(r"^ARG BASE$", text, flags=re.MULTILINE)
        and all(stage.startswith("${BASE}") for stage in stages),
        "two stages, and nothing is run in the last": len(stages) == 2
        and not re.search(r"^(RUN|ADD) ", last, flags=re.MULTILINE),
        "the user is a number": re.search(r"^USER 65532:65532$", last, flags=re.MULTILINE),
        "nobody becomes another user after that": len(
            re.findall(r"^USER ", text, flags=re.MULTILINE)
        )
        == 1,
        "every wheel has its hash": "--require-hashes" in text
        and f"COPY infra/locks/{name}.txt /lock.txt" in text,
        "nothing is fetched": "--no-index" in text
        and "--offline" in text
        and not re.search(r"https?://|curl|wget|apt-get", text),
        "nothing is compiled": "--no-build" in text
        and not re.search(r"\b(gcc|make|build-essential)\b", text),
        "no pip": "--without-pip" in text and not re.search(r"(?<!-)\bpip (?!sync)", text),
        "nothing says when the wheels were fetched": "/uv_cache.json &&" in text
        and re.search(r"sed -i '/uv_cache.*RECORD", text),
        "wheels are mounted, not copied": "--mount=type=bind,source=build/wheels" in text,
        "bytecode is made once": "--invalidation-mode unchecked-hash" in text
        and "PYTHONDONTWRITEBYTECODE=1" in last,
        "its command can be imported, as processes that it starts do": "printf" not in text
        or "if __name__ == '__main__':" in text,
        "what is written goes to /tmp": "HOME=/tmp" in last
        and re.search(r"^WORKDIR /tmp$", last, flags=re.MULTILINE),
        "it says what it runs": re.search(r"^(CMD|ENTRYPOINT) \[", last, flags=re.MULTILINE),
    }
    return [promise for promise, kept in promises.items() if not kept]


@pytest.mark.parametrize("name", NAMES)
def test_every_promise_is_kept(name: str) -> None:
    assert wrong_with(dockerfile(name), name) == []


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("ARG BASE", "ARG BASE=debian:12"),
        ("FROM ${BASE}\n", "FROM debian:12\n"),
        ("USER 65532:65532\n", ""),
        ("USER 65532:65532\n", "USER nobody\n"),
        ("USER 65532:65532\n", "USER 65532:65532\nUSER 0:0\n"),
        ("--require-hashes", ""),
        ("--no-index", ""),
        ("--offline", ""),
        ("--no-build", ""),
        ("--without-pip", ""),
        ("--mount=type=bind,source=build/wheels,target=/wheels", ""),
        ("--invalidation-mode unchecked-hash", ""),
        ("/app/lib/python3*/site-packages/*/uv_cache.json", ""),
        ("WORKDIR /tmp\n", ""),
        ("WORKDIR /tmp\n", "WORKDIR /tmp\nRUN apt-get install gcc\n"),
        ("COPY infra/locks/serving.txt", "COPY infra/locks/dev.txt"),
        ('CMD ["python"', 'RUN ["python"'),
    ],
)
def test_a_promise_that_is_broken_is_noticed(line: str, instead: str) -> None:
    text = dockerfile("serving")
    assert line in text
    assert wrong_with(text.replace(line, instead), "serving")


def test_retrains_image_is_told_its_commit_last() -> None:
    last = dockerfile("retrain").rpartition("\nFROM ")[2].splitlines()
    argument = last.index("ARG REVISION=unknown")
    assert last[argument + 1] == "ENV RETRAIN_GIT_REVISION=${REVISION}"
    assert not [line for line in last[argument:] if line.startswith(("RUN", "COPY", "ADD"))]
    with_revision = {name for name in NAMES if "ARG REVISION" in dockerfile(name)}
    assert with_revision == {"client_api", "retrain"}, "other images would change for nothing"


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_annotated_by_the_specification(name: str) -> None:
    words = annotation_arguments(name)
    assert set(words[::2]) == {"--annotation"}
    annotations = dict(word.split("=", 1) for word in words[1::2])
    assert annotations["org.opencontainers.image.title"] == f"ratchet/{name}"
    assert annotations["org.opencontainers.image.description"].endswith(".")
    assert annotations["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    has_revision = "org.opencontainers.image.revision" in annotations
    assert has_revision == ("ARG REVISION" in dockerfile(name))


def test_a_command_that_runs_when_it_is_imported_is_noticed() -> None:
    text = dockerfile("retrain")
    assert wrong_with(text.replace("if __name__ == '__main__':", "if True:"), "retrain")


def copied(name: str) -> set[Path]:
    found: set[Path] = set()
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile(name), flags=re.MULTILINE):
        for source in sources.split():
            path = ROOT / source
            assert path.exists(), source
            found |= set(path.rglob("*")) if path.is_dir() else {path}
    return found


def imports_of(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name for name in names if name.split(".")[0] in OURS}


@pytest.mark.parametrize("name", NAMES)
def test_all_that_a_service_imports_of_ours_is_in_its_image(name: str) -> None:
    files = copied(name)
    for path in [path for path in files if path.suffix == ".py"]:
        for module in imports_of(path):
            if path.name == "__init__.py" and module.endswith((".cli", ".cli.app")):
                continue  # the wheel's command, which no image without the command line calls
            file, package = (
                ROOT / f"{module.replace('.', '/')}.py",
                ROOT / module.replace(".", "/") / "__init__.py",
            )
            assert {file, package} & files or not (file.exists() or package.exists()), (
                f"{path.name} imports {module}"
            )


@pytest.mark.parametrize("name", NAMES)
def test_what_is_copied_is_not_ignored_and_nothing_else_of_the_repository_is_sent(
    name: str,
) -> None:
    taken = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    assert all(any(path.is_relative_to(ROOT / given) for given in taken) for path in copied(name))
    assert "*" in (ROOT / ".dockerignore").read_text().splitlines()
    assert {".git", ".venv", "tests", "gitops"} & taken == set()


def test_every_service_of_the_repository_has_an_image_and_a_lock() -> None:
    assert set(NAMES) == {"retrain", "promote", "serving", "client_api", "dags", "mlflow"}
    assert all((ROOT / "infra" / "locks" / f"{name}.txt").exists() for name in NAMES)


# The command


def test_a_base_without_a_digest_is_refused() -> None:
    for base in ("debian:12", "debian", "debian@sha256:0", f"debian@{ZEROS}x"):
        with pytest.raises(ProgramFailed, match="has no digest"):
            build("serving", base=base)


def test_a_program_that_is_missing_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ProgramFailed, match="buildah is missing: apt-get install buildah"):
        said("buildah", "images")


def test_a_program_that_fails_is_told_with_its_last_words() -> None:
    with pytest.raises(ProgramFailed, match=r"(?s)ended with 3:.*no space left"):
        said("sh", "-c", "echo no space left >&2; exit 3")


def test_an_unknown_image_is_a_mistake_of_the_caller(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["build", "servin"])
    assert (
        "not one of client_api, dags, mlflow, promote, retrain, serving" in capsys.readouterr().err
    )


def test_only_the_line_of_an_image_changes_when_it_is_released() -> None:
    text = (ROOT / "gitops/platform/production/kustomization.yaml").read_text()
    reference = f"127.0.0.1:5000/ratchet/promote@sha256:{'1' * 64}"
    changed = with_digest(text, "promote", reference)
    (line,) = set(changed.splitlines()) - set(text.splitlines())
    digest = f'digest: "sha256:{"1" * 64}"'
    assert line == f"  - {{name: promote, newName: 127.0.0.1:5000/ratchet/promote, {digest}}}"
    assert with_digest(changed, "promote", reference) == changed


def test_the_servers_image_is_the_base_that_promote_builds_on() -> None:
    text = (ROOT / "gitops/platform/production/kustomization.yaml").read_text()
    changed = with_digest(
        text, "serving", f"1.dkr.ecr.eu-central-1.amazonaws.com/ratchet/serving@sha256:{'1' * 64}"
    )
    (line,) = set(changed.splitlines()) - set(text.splitlines())
    assert line == f"      - PROMOTE_BASE_IMAGE=ratchet/serving@sha256:{'1' * 64}"


@pytest.mark.parametrize("name", ["nobody", "promot", "client_ap."])
def test_an_image_that_the_overlay_does_not_run_is_not_written_into_it(name: str) -> None:
    with pytest.raises(ProgramFailed, match="does not name"):
        with_digest(
            (ROOT / "gitops/platform/production/kustomization.yaml").read_text(), name, f"r@{ZEROS}"
        )


def test_an_image_counts_as_made_of_something_else_when_anything_it_is_made_of_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("ROOT", tmp_path), ("DOCKERFILES", tmp_path), ("LOCKS", tmp_path)):
        monkeypatch.setattr(f"infra.images.build.{name}", value)
    (tmp_path / "code" / "__pycache__").mkdir(parents=True)
    recipe, code, lock = tmp_path / "it.Dockerfile", tmp_path / "code" / "a.py", tmp_path / "uv.txt"
    recipe.write_text("COPY code /app/code\nCOPY --from=build /app /app\n")
    code.write_text("1")
    lock.write_text("1")
    seen = {recipe_digest("it", "base")}
    (tmp_path / "code" / "__pycache__" / "a.pyc").write_text("1")
    (tmp_path / "beside").write_text("1")
    assert recipe_digest("it", "base") in seen
    for change in (
        lambda: code.write_text("2"),
        lambda: lock.write_text("2"),
        lambda: recipe.write_text(recipe.read_text() + "USER 1\n"),
        lambda: (tmp_path / "code" / "b.py").write_text(""),
        lambda: code.rename(tmp_path / "code" / "c.py"),
    ):
        change()
        changed = recipe_digest("it", "base")
        assert changed not in seen
        seen.add(changed)
    assert recipe_digest("it", "another base") not in seen
