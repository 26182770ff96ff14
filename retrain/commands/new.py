"""`retrain new`: looks at the rows of a query and writes a first model file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import typer

from retrain.commands.terminal import EXIT_USAGE, errors_as_exit_codes, say
from retrain.contract import FeatureType, problem_with_model_name
from retrain.settings import read_settings
from retrain.snapshot.canonical_rows import in_canonical_types
from retrain.snapshot.feature_checks import MANY_CATEGORIES
from retrain.snapshot.files import folder_error
from retrain.snapshot.profile import ColumnProfile, profile_of
from retrain.spec.first_file import FeatureLine, first_file
from retrain.spec.model_file import Columns, ModelSpec
from retrain.tasks.binary import BINARY
from retrain.tasks.regression import REGRESSION
from retrain.tasks.task import Task
from retrain.wiring import open_source

SOME_ROWS = 100_000
_FEATURE_TYPES: dict[str, FeatureType] = {
    "text": "category",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
}


@dataclass(frozen=True)
class Named:
    """The columns that a person named; None where the rows shall show it."""

    key: str | None
    event_time: str | None
    label: str | None
    groups: str | None


class _CannotGuess(Exception):
    """The message says which option to give."""


def write_first_file(name: str, query: Path, *, source: str, owner: str, named: Named) -> None:
    """Write the YAML and its SQL; the arguments are those of the command line."""
    with errors_as_exit_codes():
        settings = read_settings()
        query_text = _readable(query)
        model_file, query_file = _free_places(settings.models, name, query)
        say(f"reading at most {SOME_ROWS:,} rows of `{source}`")
        with open_source(settings, source) as warehouse:
            spec = _provisional(name, source, query.name, query_text)
            rows = in_canonical_types(warehouse.head(spec, SOME_ROWS))
        profiles = profile_of(rows)
        try:
            columns = _columns(profiles, named)
        except _CannotGuess as problem:
            _refuse(str(problem))
        features, left_out = _features(profiles, columns)
        if not features:
            _refuse(f"no column of {query} can be a feature: {'; '.join(left_out)}")
        text = first_file(
            name,
            _task_of(profiles, columns.label),
            owner=owner,
            source=source,
            columns=columns,
            features=features,
            left_out=left_out,
        )
        _write(query_file, query_text)
        _write(model_file, text)
        print(f"{model_file}: {len(features)} features from {rows.num_rows:,} rows")
        say(f"answer `label_delay` there, then run `retrain check {name} --data`")


def _readable(query: Path) -> str:
    try:
        return query.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        _refuse(f"--query {query} cannot be read: {error}")


def _free_places(folder: Path, name: str, query: Path) -> tuple[Path, Path]:
    """Return where the YAML and the SQL go. A query that lies there already stays."""
    if problem := problem_with_model_name(name):
        _refuse(f"{problem}. It is `{name[:80]}`")
    model_file, query_file = folder / f"{name}.yaml", folder / f"{name}.sql"
    taken = [path for path in (model_file, query_file) if path.exists()]
    if query_file in taken and query_file.samefile(query):
        taken.remove(query_file)
    if taken:
        _refuse(f"{taken[0]} is there already; choose another name, or move that file away")
    return model_file, query_file


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise folder_error(f"{path} cannot be written", error) from error


def _refuse(sentence: str) -> NoReturn:
    say(sentence)
    raise typer.Exit(EXIT_USAGE)


def _provisional(name: str, source: str, query: str, query_text: str) -> ModelSpec:
    """Return a spec with the query only; nothing else of it is read."""
    nothing = Columns(key="key", event_time="event_time", label="label", groups="groups")
    return ModelSpec(
        name=name,
        owner="-",
        task=BINARY.name,
        source=source,
        query=query,
        query_text=query_text,
        columns=nothing,
        label_delay=timedelta(days=1),
        features=(),
    )


def _columns(profiles: Sequence[ColumnProfile], named: Named) -> Columns:
    """Return which column plays which part.

    Raises:
        _CannotGuess: The rows show none, or more than one, for a part that nobody named.
    """
    moments = [each.name for each in profiles if each.type == "moment"]
    dates = [each.name for each in profiles if each.type == "date"]
    flags = [each.name for each in profiles if _is_flag(each)]
    unique = [each.name for each in profiles if each.is_unique and each.type in {"text", "integer"}]
    event_time = _chosen(profiles, named.event_time, moments, "event-time", "is a timestamp")
    label = _chosen(profiles, named.label, flags, "label", "is true or false, or 1 or 0")
    groups = _chosen(profiles, named.groups, dates, "groups", "is a date, such as the local day")
    key = _chosen(profiles, named.key, unique[:1], "key", "names each row")
    return Columns(key=key, event_time=event_time, label=label, groups=groups)


def _is_flag(profile: ColumnProfile) -> bool:
    return profile.type == "boolean" or (profile.lowest, profile.highest, profile.distinct) == (
        0,
        1,
        2,
    )


def _task_of(profiles: Sequence[ColumnProfile], label: str) -> Task:
    """Return the task that a label can be learnt by."""
    [profile] = [each for each in profiles if each.name == label]
    return BINARY if _is_flag(profile) else REGRESSION


def _chosen(
    profiles: Sequence[ColumnProfile],
    named: str | None,
    candidates: Sequence[str],
    option: str,
    what: str,
) -> str:
    names = [profile.name for profile in profiles]
    if named is None and len(candidates) == 1:
        return candidates[0]
    if named in names:
        return str(named)
    if named is not None:
        raise _CannotGuess(f"--{option} {named} is no column; there are {', '.join(names)}")
    found = f"several columns do: {', '.join(candidates)}" if candidates else "no column does"
    raise _CannotGuess(f"name one column by --{option}: it {what}, and {found}")


def _features(
    profiles: Sequence[ColumnProfile], columns: Columns
) -> tuple[list[FeatureLine], list[str]]:
    """Return the features, and a sentence for each column that is none."""
    features, left_out = [], []
    parts = set(columns.model_dump().values())
    for profile in profiles:
        if profile.name in parts:
            continue
        if problem := _why_no_feature(profile):
            left_out.append(f"{profile.name} is left out: {problem}")
            continue
        features.append(
            FeatureLine(
                name=profile.name,
                type=_FEATURE_TYPES[profile.type],
                is_required=profile.missing == 0,
                is_never_negative=_is_never_negative(profile),
                seen=_seen(profile),
            )
        )
    return features, left_out


def _why_no_feature(profile: ColumnProfile) -> str | None:
    if profile.type not in _FEATURE_TYPES:
        return f"a {profile.type} is no input yet; return its hour or weekday instead"
    if profile.distinct < 2:
        return "all rows have the same value"
    if profile.type == "text" and profile.distinct > MANY_CATEGORIES:
        return f"{profile.distinct:,} different texts"
    return None


def _is_never_negative(profile: ColumnProfile) -> bool:
    lowest = profile.lowest
    return profile.type in {"integer", "number"} and isinstance(lowest, int | float) and lowest >= 0


def _seen(profile: ColumnProfile) -> str:
    missing = f", {profile.missing_share:.1%} missing" if profile.missing else ""
    if profile.type == "text":
        return f"{profile.distinct:,} categories{missing}"
    if profile.type == "boolean":
        return f"true and false{missing}"
    return f"{profile.lowest:g} to {profile.highest:g}{missing}"
