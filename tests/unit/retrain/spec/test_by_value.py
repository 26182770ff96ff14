"""A model that a task packed is the model of the folder; hostile texts are refused."""

from __future__ import annotations

import base64
import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dags.ratchet_tasks.model_files import MOST_LETTERS as MOST_LETTERS_OF_AIRFLOW
from dags.ratchet_tasks.model_files import packed
from retrain.errors import InvalidSpec
from retrain.spec.by_value import MOST_BYTES, model_by_value, unpacked
from retrain.spec.files import MOST_LETTERS, load_model

MODELS = Path(__file__).parents[4] / "dags" / "models"


def archive(*entries: tarfile.TarInfo | tuple[str, bytes]) -> str:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as made:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                made.addfile(entry)
            else:
                info = tarfile.TarInfo(entry[0])
                info.size = len(entry[1])
                made.addfile(info, io.BytesIO(entry[1]))
    return base64.b64encode(gzip.compress(content.getvalue(), mtime=0)).decode()


def link(name: str, to: str) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = tarfile.SYMTYPE, to
    return made


def test_the_limits_on_both_sides_are_one() -> None:
    assert MOST_LETTERS == MOST_LETTERS_OF_AIRFLOW


@pytest.mark.parametrize("name", ["flight-delay", "arrival-delay"])
def test_a_model_by_value_is_the_model_of_the_folder(name: str) -> None:
    assert model_by_value(packed(MODELS, name), name) == load_model(MODELS, name)


def test_the_same_files_give_the_same_text_whenever_and_whoever_wrote_them(tmp_path: Path) -> None:
    for name in ("flight-delay.yaml", "flight-delay.sql"):
        (tmp_path / name).write_bytes((MODELS / name).read_bytes())
        (tmp_path / name).chmod(0o600)
        os.utime(tmp_path / name, (0, 0))
    assert packed(tmp_path, "flight-delay") == packed(MODELS, "flight-delay")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is no gzipped tar in base64"),
        ("%%%", "is no gzipped tar in base64"),
        (base64.b64encode(b"plain").decode(), "is no gzipped tar in base64"),
        (base64.b64encode(gzip.compress(b"no tar" * 200, mtime=0)).decode(), "is no gzipped tar"),
        (archive(("m.yaml", b"name: m"))[:-40], "is no gzipped tar in base64"),
        ("A" * (MOST_LETTERS + 4), "letters; 98,304 are the most"),
        (archive(("m.yaml", b"#" * MOST_BYTES)), "holds more than 4,194,304 bytes"),
        (archive(("../m.yaml", b"name: m")), "`../m.yaml`, which is no plain file"),
        (archive(("/etc/passwd", b"")), "`/etc/passwd`, which is no plain file"),
        (archive(link("m.yaml", "/etc/passwd")), "`m.yaml`, which is no plain file"),
        (archive(("m.yaml", b"a"), ("m.yaml", b"b")), "`m.yaml`, which is no plain file"),
        (archive(("other.yaml", b"name: m")), "holds other.yaml, and not m.yaml"),
        (archive(), "holds nothing, and not m.yaml"),
        (archive(("m.yaml", b"\xff\xfe")), "is not UTF-8"),
        (archive(("m.yaml", b"a: &a [x]\nb: " + b"[*a, *a]\n")), "m.yaml:"),
    ],
)
def test_what_is_no_model_by_value_is_refused_with_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(InvalidSpec, match="(?s)" + sentence.replace("[", r"\[")) as refused:
        model_by_value(text, "m")
    assert len(str(refused.value)) < 2000


@given(st.binary(max_size=300))
def test_any_bytes_are_files_or_refused(content: bytes) -> None:
    for text in (content.decode("latin-1"), base64.b64encode(content).decode()):
        try:
            assert isinstance(unpacked(text), dict)
        except InvalidSpec:
            continue
