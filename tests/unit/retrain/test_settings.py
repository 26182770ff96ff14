import pytest
from pydantic import ValidationError

from retrain.settings import Settings


def test_settings_come_from_the_environment_with_their_prefix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RETRAIN_SOURCES", '{"warehouse": "duckdb:///w.duckdb"}')
    monkeypatch.setenv("RETRAIN_WORKERS", "3")
    settings = Settings()
    assert settings.sources == {"warehouse": "duckdb:///w.duckdb"}
    assert settings.workers == 3


def test_all_wrong_settings_are_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETRAIN_WORKERS", "0")
    monkeypatch.setenv("RETRAIN_SOURCES", '{"warehouse": 3}')
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert {error["loc"][0] for error in caught.value.errors()} == {"workers", "sources"}


def test_settings_do_not_change_while_a_run_goes_on() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().workers = 5  # type: ignore[misc]  # that is the point


@pytest.mark.parametrize(
    "place",
    [
        "/srv/snapshots",
        "snapshots",
        "file:///srv/snapshots",
        "s3://acme-snapshots",
        "s3://acme-snapshots/weekly/flights_2013/",
    ],
)
def test_snapshots_lie_in_a_folder_or_on_s3(place: str) -> None:
    assert Settings(snapshots=place).snapshots == place


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("s3:/acme-snapshots", "names no place on S3; write s3://bucket or s3://bucket/prefix"),
        ("s3://", "names no place on S3"),
        ("s3://Acme_Snapshots", "names no place on S3"),
        ("s3://acme-snapshots/a prefix", "names no place on S3"),
        (
            "gs://acme-snapshots",
            "it is no place for snapshots; write a folder, or s3://bucket/prefix",
        ),
        ("https://user:secret@host/x", "it is no place for snapshots"),
    ],
)
def test_another_place_for_snapshots_is_refused_at_the_start(place: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Settings(snapshots=place)
