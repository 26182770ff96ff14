"""Every mistake has a pointer and what is allowed. The models describe the real fields."""

from __future__ import annotations

import json

import pytest

from client_api.errors import RequestInvalid
from client_api.protocols.instances import RequestReader
from retrain.contract import Feature, ModelSchema, Output
from tests.fakes.upstream import IO, ROW

FLOAT32_MAX = 340282346638528859811704183484516925440
READER = RequestReader("flight-delay", IO, max_rows=3)


def refusals(instances: object, reader: RequestReader = READER) -> dict[str, str]:
    with pytest.raises(RequestInvalid) as refused:
        reader.read(json.dumps({"instances": instances}).encode())
    return {error.pointer: error.detail for error in refused.value.errors}


def test_a_bad_field_names_itself_by_pointer_with_what_is_allowed_and_what_was_sent():
    assert refusals([ROW, ROW, {**ROW, "distance": -4}]) == {
        "/instances/2/distance": "must be at least 0 miles, is -4"
    }


def test_mistakes_of_all_rows_are_told_at_once():
    assert refusals([{**ROW, "distance": "far"}, {"carrier": ""}]) == {
        "/instances/0/distance": 'must be a number, is "far"',
        "/instances/1/carrier": "must not be empty",
        "/instances/1/distance": "is required",
    }


def test_an_extra_field_is_refused_with_the_nearest_name():
    assert refusals([{**ROW, "distence": 3}]) == {
        "/instances/0/distence": "is not a field of flight-delay; did you mean distance?"
    }
    assert refusals([{**ROW, "~/x": 3}]) == {
        "/instances/0/~0~1x": "is not a field of flight-delay; "
        "its fields are carrier, distance, wind_speed"
    }


def test_a_category_never_seen_in_training_is_read():
    assert READER.columns(READER.read(b'{"instances":[{"carrier":"ZZ","distance":1}]}'))[
        "carrier"
    ] == ["ZZ"]


@pytest.mark.parametrize("sent", [{}, {"wind_speed": None}])
def test_an_optional_field_may_be_left_out_or_null(sent):
    assert READER.columns(READER.read(json.dumps({"instances": [ROW | sent]}).encode()))[
        "wind_speed"
    ] == [None]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (True, "is true"),
        ("3", 'is "3"'),
        (None, "is null"),
        ([], "is a list"),
        ({}, "is an object"),
        ("x" * 500, 'is "' + "x" * 40 + '…"'),
    ],
)
def test_a_number_is_never_guessed_from_something_else(given, said):
    assert refusals([{**ROW, "distance": given}]) == {
        "/instances/0/distance": f"must be a number, {said}"
    }


def test_a_number_that_is_not_finite_is_refused():
    for text in (b"1e999", b"-1e999", b"NaN", b"Infinity"):
        with pytest.raises(RequestInvalid, match="not what this model takes"):
            READER.read(b'{"instances":[{"carrier":"UA","distance":%s}]}' % text)


def test_too_many_instances_and_none_at_all_are_refused():
    assert refusals([ROW] * 4) == {
        "/instances": "may have 3 instances; send the rest in further requests"
    }
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
    assert [(error.pointer, error.detail) for error in refused.value.errors] == [
        ("", "must be an object, is a list")
    ]


def test_deep_nesting_is_refused_without_exhausting_the_stack():
    with pytest.raises(RequestInvalid, match="recursion limit"):
        READER.read(b'{"instances":' + b"[" * 200_000)


def test_a_whole_number_beyond_53_bits_is_refused_where_the_schema_sets_no_limit():
    reader = RequestReader(
        "m",
        ModelSchema(features=(Feature(name="n", type="integer"),), outputs=(Output(name="p"),)),
        max_rows=3,
    )
    assert refusals([{"n": 10**400}], reader)["/instances/0/n"].startswith(
        "must be at most 9007199254740991, is 0x"
    )
    assert reader.columns(reader.read(b'{"instances":[{"n":-9007199254740991}]}')) == {
        "n": [-9007199254740991]
    }


def test_the_json_schema_has_the_real_fields_with_units_ranges_and_known_categories():
    schema = READER.request_model.model_json_schema()["$defs"]["FlightDelayInstance"]
    assert schema["required"] == ["carrier", "distance"]
    assert schema["properties"]["distance"] == {
        "type": "number",
        "minimum": 0,
        "maximum": FLOAT32_MAX,
        "title": "distance",
        "description": "In miles.",
        "x-unit": "mile",
    }
    carrier = schema["properties"]["carrier"]
    assert carrier["x-known-categories"] == ["AA", "UA"]
    assert (
        carrier["description"]
        == "two-letter code of the airline. Known categories: AA, UA; any other is answered too."
    )
    assert "enum" not in carrier
    assert (
        schema["properties"]["wind_speed"]["description"]
        == "In miles/hour. May be left out or null."
    )


@pytest.mark.parametrize("name", ["model_dump", "schema", "a b", "class", "_x", "für"])
def test_a_field_may_be_named_as_nothing_in_python_may(name):
    reader = RequestReader(
        "m",
        ModelSchema(features=(Feature(name=name, type="number"),), outputs=(Output(name=name),)),
        max_rows=3,
    )
    assert reader.columns(reader.read(json.dumps({"instances": [{name: 1}]}).encode())) == {
        name: [1.0]
    }
    assert refusals([{name: None}], reader) == {f"/instances/0/{name}": "must be a number, is null"}
    assert list(
        reader.answer_model.model_json_schema(mode="serialization")["$defs"]["MPrediction"][
            "properties"
        ]
    ) == [name]


HOUR = RequestReader(
    "m",
    ModelSchema(
        features=(Feature(name="hour", type="integer", minimum=0.5, maximum=23),),
        outputs=(Output(name="p"),),
    ),
    max_rows=3,
)


@pytest.mark.parametrize("written", ["3", "3.0", "3e0", "30e-1"])
def test_a_whole_number_may_be_written_with_a_point(written):
    [row] = HOUR.read(b'{"instances":[{"hour":%s}]}' % written.encode())
    assert HOUR.columns([row]) == {"hour": [3]}


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (3.5, "must be a whole number, is 3.5"),
        (True, "must be a whole number, is true"),
        ("3", 'must be a whole number, is "3"'),
        (None, "must be a whole number, is null"),
        (0.0, "must be at least 1, is 0"),
        (24.0, "must be at most 23, is 24"),
        (1e30, "must be at most 23, is 1000000000000000019884624838656"),
    ],
)
def test_what_is_no_whole_number_in_range_is_refused_by_name(sent, said):
    assert refusals([{"hour": sent}], HOUR) == {"/instances/0/hour": said}


def test_a_whole_number_is_described_as_an_integer_with_whole_limits():
    described = HOUR.request_model.model_json_schema()["$defs"]["MInstance"]["properties"]["hour"]
    assert (described["type"], described["minimum"], described["maximum"]) == ("integer", 1, 23)


@pytest.mark.parametrize("number", ["1e39", "-1e39", "340282356779733661637539395458142568448"])
def test_a_number_beyond_32_bits_is_refused_by_the_gateway_with_its_place(number):
    body = (
        b'{"instances":[{"carrier":"UA","distance":1},{"carrier":"UA","distance":1,"wind_speed":%s}]}'
        % number.encode()
    )
    with pytest.raises(RequestInvalid) as refused:
        READER.read(body)
    [error] = refused.value.errors
    assert error.pointer == "/instances/1/wind_speed"
    assert error.detail.startswith(
        (
            "must be at most 3.40282346638529e+38 miles/hour, is",
            "must be at least -3.40282346638529e+38 miles/hour, is",
        )
    )


def test_the_largest_numbers_that_32_bits_hold_are_read_and_described():
    for number in (FLOAT32_MAX, -FLOAT32_MAX):
        body = json.dumps({"instances": [ROW | {"wind_speed": number}]}).encode()
        assert READER.columns(READER.read(body))["wind_speed"] == [float(number)]
    [described, _] = READER.request_model.model_json_schema()["$defs"]["FlightDelayInstance"][
        "properties"
    ]["wind_speed"]["anyOf"]
    assert described == {"type": "number", "minimum": -FLOAT32_MAX, "maximum": FLOAT32_MAX}


def test_a_huge_whole_number_for_a_number_is_refused_in_one_sentence():
    refused = refusals([ROW | {"distance": 10**400}])["/instances/0/distance"]
    assert refused.startswith("must be a number, is 0x")
    assert len(refused) < 80


def test_the_example_is_the_recorded_row():
    recorded = {"wind_speed": 9.5, "distance": 719, "carrier": "B6"}
    assert RequestReader("m", IO, max_rows=3, example=recorded).example == recorded


@pytest.mark.parametrize(
    "recorded",
    [
        {},
        None,
        {"carrier": "B6"},
        {"carrier": "B6", "distance": -1},
        {"carrier": "B6", "distance": 1, "gone": 1},
    ],
)
def test_without_a_recorded_row_that_fits_the_example_is_plausible(recorded):
    features = (
        Feature(name="carrier", type="category", known_categories=("AA", "UA")),
        Feature(name="origin", type="category"),
        Feature(name="distance", type="number", minimum=0, maximum=12_500),
        Feature(name="pressure", type="number", minimum=850.5, maximum=1100, required=False),
        Feature(name="below", type="number", maximum=-3),
        Feature(name="weekday", type="integer", minimum=0.5, maximum=7),
        Feature(name="holiday", type="boolean"),
    )
    reader = RequestReader(
        "m",
        ModelSchema(features=features, outputs=(Output(name="p"),)),
        max_rows=3,
        example=recorded,
    )
    expected = {
        "carrier": "AA",
        "origin": "A",
        "distance": 0,
        "pressure": 850.5,
        "below": -3,
        "weekday": 1,
        "holiday": False,
    }
    assert reader.example == expected
    assert reader.read(json.dumps({"instances": [reader.example]}).encode())
