"""A caller learns every mistake by pointer, with what is allowed; the models describe the real fields."""

from __future__ import annotations

import json

import pytest

from client_api.errors import RequestInvalid
from client_api.schema import RequestReader
from retrain.contract import Feature, ModelSchema, Output
from tests.fakes.upstream import IO, ROW

READER = RequestReader("flight-delay", IO, max_rows=3)


def refusals(instances: object, reader: RequestReader = READER) -> dict[str, str]:
    with pytest.raises(RequestInvalid) as refused:
        reader.read(json.dumps({"instances": instances}).encode())
    return {error.pointer: error.detail for error in refused.value.errors}


def test_a_bad_field_names_itself_by_pointer_with_what_is_allowed_and_what_was_sent():
    assert refusals([ROW, ROW, {**ROW, "distance": -4}]) == {"/instances/2/distance": "must be at least 0 miles, is -4"}


def test_mistakes_of_all_rows_are_told_at_once():
    assert refusals([{**ROW, "distance": "far"}, {"carrier": ""}]) == {
        "/instances/0/distance": 'must be a number, is "far"',
        "/instances/1/carrier": "must not be empty",
        "/instances/1/distance": "is required",
    }


def test_an_extra_field_is_refused_with_the_nearest_name():
    assert refusals([{**ROW, "distence": 3}]) == {"/instances/0/distence": "is not a field of flight-delay; did you mean distance?"}
    assert refusals([{**ROW, "~/x": 3}]) == {"/instances/0/~0~1x": "is not a field of flight-delay; its fields are carrier, distance, wind_speed"}


def test_a_category_never_seen_in_training_is_read():
    assert READER.columns(READER.read(b'{"instances":[{"carrier":"ZZ","distance":1}]}'))["carrier"] == ["ZZ"]


@pytest.mark.parametrize("sent", [{}, {"wind_speed": None}])
def test_an_optional_field_may_be_left_out_or_null(sent):
    assert READER.columns(READER.read(json.dumps({"instances": [ROW | sent]}).encode()))["wind_speed"] == [None]


@pytest.mark.parametrize(
    ("given", "said"),
    [(True, "is true"), ("3", 'is "3"'), (None, "is null"), ([], "is a list"), ({}, "is an object"), ("x" * 500, 'is "' + "x" * 40 + '…"')],
)
def test_a_number_is_never_guessed_from_something_else(given, said):
    assert refusals([{**ROW, "distance": given}]) == {"/instances/0/distance": f"must be a number, {said}"}


def test_a_number_that_is_not_finite_is_refused():
    for text in (b"1e999", b"-1e999", b"NaN", b"Infinity"):
        with pytest.raises(RequestInvalid, match="not what this model takes"):
            READER.read(b'{"instances":[{"carrier":"UA","distance":%s}]}' % text)


def test_too_many_instances_and_none_at_all_are_refused():
    assert refusals([ROW] * 4) == {"/instances": "may have 3 instances; send the rest in further requests"}
    assert refusals([]) == {"/instances": "must not be empty"}
    assert refusals(7) == {"/instances": "must be a list of objects, is 7"}


def test_a_body_that_is_not_an_object_with_instances_says_so():
    with pytest.raises(RequestInvalid) as refused:
        READER.read(b'{"rows": []}')
    assert [(error.pointer, error.detail) for error in refused.value.errors] == [
        ("/instances", "is required"),
        ("/rows", "is not a field of flight-delay; its fields are carrier, distance, wind_speed"),
    ]
    with pytest.raises(RequestInvalid) as refused:
        READER.read(b"[]")
    assert [(error.pointer, error.detail) for error in refused.value.errors] == [("", "must be an object, is a list")]


def test_deep_nesting_is_refused_without_exhausting_the_stack():
    with pytest.raises(RequestInvalid, match="recursion limit"):
        READER.read(b'{"instances":' + b"[" * 200_000)


def test_a_whole_number_beyond_53_bits_is_refused_where_the_schema_sets_no_limit():
    reader = RequestReader("m", ModelSchema(features=(Feature(name="n", type="integer"),), outputs=(Output(name="p"),)), max_rows=3)
    assert refusals([{"n": 10**400}], reader)["/instances/0/n"].startswith("must be at most 9007199254740991, is 0x")
    assert reader.columns(reader.read(b'{"instances":[{"n":-9007199254740991}]}')) == {"n": [-9007199254740991]}


def test_the_json_schema_has_the_real_fields_with_units_ranges_and_known_categories():
    schema = READER.request_model.model_json_schema()["$defs"]["FlightDelayInstance"]
    assert schema["required"] == ["carrier", "distance"]
    assert schema["properties"]["distance"] == {
        "type": "number", "minimum": 0, "title": "distance", "description": "In miles.", "examples": [0], "x-unit": "mile",
    }  # fmt: skip
    carrier = schema["properties"]["carrier"]
    assert carrier["examples"] == carrier["x-known-categories"] == ["AA", "UA"]
    assert carrier["description"] == "two-letter code of the airline. Known categories: AA, UA; any other is answered too."
    assert "enum" not in carrier
    assert schema["properties"]["wind_speed"]["description"] == "In miles/hour. May be left out or null."


@pytest.mark.parametrize("name", ["model_dump", "schema", "a b", "class", "_x", "für"])
def test_a_field_may_be_named_as_nothing_in_python_may(name):
    reader = RequestReader("m", ModelSchema(features=(Feature(name=name, type="number"),), outputs=(Output(name=name),)), max_rows=3)
    assert reader.columns(reader.read(json.dumps({"instances": [{name: 1}]}).encode())) == {name: [1.0]}
    assert refusals([{name: None}], reader) == {f"/instances/0/{name}": "must be a number, is null"}
    assert list(reader.answer_model.model_json_schema(mode="serialization")["$defs"]["MPrediction"]["properties"]) == [name]
