"""`retrain init`: a user's repository, whole, twice the same, and never over other content."""

from pathlib import Path

from typer.testing import CliRunner

from retrain.cli import app
from retrain.commands.init import template

ROOT = Path(__file__).parents[4]


def init(folder: Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["init", str(folder)])
    return done.exit_code, done.output


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_repository_has_what_flux_and_the_gate_need_and_no_code_of_ratchet(
    tmp_path: Path,
) -> None:
    code, said = init(tmp_path / "mine")
    assert (code, f"{len(template())} files written" in said) == (0, True), said
    written = content(tmp_path / "mine")
    assert written == template()
    folders = {name.split("/")[0] for name in written}
    assert folders == {".github", "CODEOWNERS", "dags", "gitops"}
    assert [name for name in written if name.startswith("dags/")] == [
        "dags/models/model.schema.json"
    ]


def test_every_file_of_gitops_is_in_it_but_those_of_a_model() -> None:
    ours = {str(path.relative_to(ROOT)) for path in (ROOT / "gitops").rglob("*.yaml")}
    assert ours == {name for name in template() if name.startswith("gitops/")}
    schema = (ROOT / "dags/models/model.schema.json").read_bytes()
    assert template()["dags/models/model.schema.json"] == schema


def test_a_second_time_only_a_missing_file_is_written(tmp_path: Path) -> None:
    init(tmp_path)
    model = tmp_path / "dags/models/mine.yaml"
    model.write_text("name: mine\n")
    (tmp_path / "gitops/platform/deny.yaml").unlink()
    assert "1 files written" in init(tmp_path)[1]
    assert "nothing is missing" in init(tmp_path)[1]
    assert content(tmp_path) == {**template(), "dags/models/mine.yaml": b"name: mine\n"}


def test_a_file_that_its_owner_changed_stays_and_is_named(tmp_path: Path) -> None:
    init(tmp_path)
    changed = {"gitops/platform/production/kustomization.yaml": b"mine\n", "CODEOWNERS": b"* @me\n"}
    for name, text in changed.items():
        (tmp_path / name).write_bytes(text)
    code, said = init(tmp_path)
    assert code == 0
    assert "gitops/platform/production/kustomization.yaml differs" in said
    assert "CODEOWNERS differs" not in said  # it is made to be changed
    assert content(tmp_path) == {**template(), **changed}


def test_owners_that_stand_in_the_forges_own_folder_are_not_named_twice(tmp_path: Path) -> None:
    (tmp_path / ".github").mkdir()
    (tmp_path / ".github/CODEOWNERS").write_text("* @me\n")
    assert init(tmp_path)[0] == 0
    assert not (tmp_path / "CODEOWNERS").exists()


def test_a_folder_with_other_content_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    code, said = init(tmp_path)
    assert code == 2
    assert "has other content: thesis.tex" in said
    assert list(content(tmp_path)) == ["thesis.tex"]


def test_a_new_repository_of_a_forge_has_a_readme_and_is_accepted(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    for name in ("README.md", "LICENSE", ".gitignore"):
        (tmp_path / name).write_text("x")
    assert init(tmp_path)[0] == 0


def test_a_file_and_a_folder_that_may_not_be_written_end_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert init(tmp_path / "file") == (2, f"{tmp_path / 'file'} is a file; name a folder\n")
    code, said = init(tmp_path / "file" / "below")
    assert code == 1
    assert "cannot be written or read" in said
