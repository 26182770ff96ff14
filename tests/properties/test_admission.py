"""Any bytes of a caller become rows, or a problem with a pointer to its place.

There is never another error, and no unsafe text is repeated.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from client_api.admission import (
    REQUEST_ID,
    check_bytes,
    check_declared_bytes,
    request_id,
    seconds_to_answer,
)
from client_api.errors import BodyTooLarge, RequestInvalid
from client_api.protocols.instances import RequestReader
from client_api.protocols.sentences import MOST_ERRORS
from retrain.contract import Feature, ModelSchema, Output

FEATURES = (
    Feature(name="carrier", type="category", known_categories=("AA", "UA")),
    Feature(name="distance", type="number", unit="mile", minimum=0),
    Feature(name="model_config", type="integer", minimum=0, maximum=23),
    Feature(name="a/b~c", type="boolean"),
    Feature(name="wind speed", type="number", unit="mile/hour", required=False),
    Feature(name="schema", type="category", required=False),
)
READER = RequestReader(
    "flight-delay",
    ModelSchema(features=FEATURES, outputs=(Output(name="probability", minimum=0, maximum=1),)),
    max_rows=50,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from([f.name for f in FEATURES]) | st.text(max_size=5), inner, max_size=6
        )
    ),
    max_leaves=12,
)
good_rows = st.fixed_dictionaries(
    {
        "carrier": st.text(min_size=1, max_size=5),
        "distance": st.floats(0, 1e30) | st.integers(0, 10**9),
        "model_config": st.integers(0, 23),
        "a/b~c": st.booleans(),
    },
    optional={
        "wind speed": st.none() | st.floats(-1e30, 1e30),
        "schema": st.none() | st.text(max_size=3),
    },
)


def resolves(pointer: str, body: object) -> bool:
    """True when the pointer names a place of the body, or a missing member of a place."""
    *path, last = [
        part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]
    ] or [None]
    for part in path:
        body = body[int(part)] if isinstance(body, list) else body[part]
    return last is None or isinstance(body, dict) or int(last) < len(body)


@given(st.lists(good_rows, min_size=1, max_size=5))
def test_rows_that_fit_the_schema_are_read_in_order(instances):
    rows = READER.read(json.dumps({"instances": instances}).encode())
    columns = READER.columns(rows)
    assert columns["carrier"] == [row["carrier"] for row in instances]
    assert columns["distance"] == [float(row["distance"]) for row in instances]
    assert columns["a/b~c"] == [1.0 if row["a/b~c"] else 0.0 for row in instances]
    assert columns["wind speed"] == [row.get("wind speed") for row in instances]
    assert columns["schema"] == [row.get("schema") for row in instances]


@given(
    json_values
    | st.fixed_dictionaries(
        {"instances": json_values | st.lists(good_rows | json_values, max_size=60)}
    )
)
@example({"instances": [{}] * 49})
@example(
    {
        "instances": [
            {
                "carrier": "x" * 100_000,
                "distance": 10**4000,
                "model_config": -(10**400),
                "a/b~c": [],
                "wind_speed": {},
            }
        ]
    }
)
@example({"instances": [{"a/b~c": 1, "~/": 2}]})
def test_any_json_is_read_or_refused_with_pointers_into_it(body):
    refusal, rows = None, []
    try:
        rows = READER.read(json.dumps(body).encode())
    except RequestInvalid as error:
        refusal = error
    if refusal is None:
        assert 1 <= len(rows) <= 50
        return
    assert len(refusal.errors) <= MOST_ERRORS
    assert all(len(error.detail) < 400 for error in refusal.errors)
    assert all(resolves(error.pointer, body) for error in refusal.errors)
    assert refusal.errors or "not JSON" in str(refusal)


@given(st.binary(max_size=300))
@example(b"[" * 100_000)
@example(b'{"instances":' + b'[{"carrier":' * 50_000)
@example(b'{"instances":[{"carrier":"\\ud800"}]}')
@example(b'{"instances":[{"distance":1e999}]}')
@example(b'{"instances":[{"distance":NaN}]}')
@example(b"\xef\xbb\xbf{}")
def test_any_bytes_are_read_or_refused(body):
    with pytest.raises(RequestInvalid):
        READER.read(body)


@given(st.binary(max_size=200) | st.from_regex(REQUEST_ID, fullmatch=True) | st.none())
@example(b"a\r\nset-cookie: x=1")
@example(b"a\n")
@example(b"x" * 129)
def test_only_a_harmless_request_id_is_echoed(offered):
    echoed = request_id(offered, fresh="fresh")
    assert echoed == "fresh" or echoed.encode() == offered
    assert len(echoed) <= 128
    assert echoed.isascii()
    assert echoed.isprintable()
    assert not set(echoed) & set(' "\\<>{}')


@given(st.integers(0, 10**30), st.integers(1, 10**7))
def test_a_body_is_refused_by_what_it_announces_exactly_when_it_is_too_long(announced, limit):
    def refused(check, *given):
        try:
            check(*given, max_body_bytes=limit)
        except BodyTooLarge:
            return True
        return False

    assert refused(check_declared_bytes, {b"content-length": b"%d" % announced}) == (
        announced > limit
    )
    assert refused(check_bytes, announced) == (announced > limit)


@given(st.floats(0, 10), st.integers(0, 10_000), st.integers(1, 10_000), st.integers(1, 1_000))
def test_more_rows_ahead_never_promise_an_earlier_answer(call_seconds, rows, more, max_block_rows):
    sooner = seconds_to_answer(call_seconds, rows, max_block_rows=max_block_rows)
    assert (
        call_seconds
        <= sooner
        <= seconds_to_answer(call_seconds, rows + more, max_block_rows=max_block_rows)
    )
