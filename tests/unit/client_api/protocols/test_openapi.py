"""The description: optional fields, headers, and one true example of each answer."""

from __future__ import annotations

import json

import jsonschema
import pytest
from pydantic import TypeAdapter

from client_api.problems import DEFECT, EXAMPLES, STATUSES, ProblemBody, problem_of
from client_api.protocols.instances import RequestReader
from client_api.protocols.openapi import describe
from retrain.contract import Output
from tests.fakes.upstream import IO

TITLE = "Will this flight arrive more than 15 minutes late?"
EXAMPLE = {"carrier": "UA", "distance": 719.0}
OUTPUT = Output(
    name="probability", description="Probability that delayed is true", minimum=0, maximum=1
)
READER = RequestReader(
    "flight-delay",
    IO.model_copy(update={"outputs": (OUTPUT,)}),
    max_rows=3,
    title=TITLE,
    example=EXAMPLE,
)


@pytest.fixture(scope="module")
def described():
    return describe({"flight-delay": READER}, {"paths": {}})


@pytest.fixture(scope="module")
def operation(described):
    return described["paths"]["/v1/models/flight-delay:predict"]["post"]


def check(described, schema, value) -> None:
    """Validate a value as a client would, with the description's own references."""
    jsonschema.Draft202012Validator({**schema, "components": described["components"]}).validate(
        value
    )


def test_only_fields_that_are_always_sent_are_required(described):
    schemas = described["components"]["schemas"]
    assert schemas["ProblemBody"]["required"] == ["type", "title", "status", "detail", "request_id"]
    assert schemas["ProblemBody"]["properties"]["errors"]["type"] == "array"
    assert schemas["FlightDelayInstance"]["required"] == ["carrier", "distance"]
    assert schemas["FlightDelayAnswer"]["required"] == ["predictions", "model_version"]
    assert '"default"' not in json.dumps(schemas), (
        "a generator takes a field with a default for one that is always there"
    )


def test_every_status_has_its_headers_and_one_example_that_fits_the_schema(described, operation):
    statuses = {str(status) for _, status, _ in STATUSES} | {str(DEFECT[0])}
    assert operation["responses"].keys() == statuses | {"200"}
    for status, response in operation["responses"].items():
        [(media_type, content)] = response["content"].items()
        assert media_type == ("application/json" if status == "200" else "application/problem+json")
        check(described, content["schema"], content["example"])
        assert status == "200" or content["example"]["status"] == int(status)
        assert "x-request-id" in response["headers"]
        assert ("retry-after" in response["headers"]) == (status in {"429", "503"})
        assert ("www-authenticate" in response["headers"]) == (status == "401")


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_carries_the_headers_that_its_status_promises(operation, error):
    told = problem_of(error, request_id="r")
    promised = operation["responses"][str(told.status)]["headers"].keys() - {"x-request-id"}
    assert promised <= {name.decode() for name, _ in told.headers}
    TypeAdapter(ProblemBody).validate_json(told.body)


def test_the_request_shows_the_recorded_row(described, operation):
    content = operation["requestBody"]["content"]["application/json"]
    assert content["example"] == {"instances": [EXAMPLE]}
    check(described, content["schema"], content["example"])


def test_title_meaning_of_the_output_and_how_to_send_a_key_are_said(described, operation):
    assert operation["summary"] == TITLE
    assert "`probability`: Probability that delayed is true." in operation["description"]
    prediction = described["components"]["schemas"]["FlightDelayPrediction"]
    assert (
        prediction["properties"]["probability"]["description"] == "Probability that delayed is true"
    )
    assert (
        "without the word Bearer"
        in described["components"]["securitySchemes"]["key"]["description"]
    )


def test_two_models_whose_names_differ_by_a_hyphen_have_fields_of_their_own():
    narrow = IO.model_copy(update={"features": IO.features[:2]})
    readers = {
        "churn-2": RequestReader("churn-2", IO, max_rows=3),
        "churn2": RequestReader("churn2", narrow, max_rows=3),
    }
    described = describe(readers, {"paths": {}})
    wide = {"instances": [{"carrier": "UA", "distance": 1, "wind_speed": 1}]}
    for model, fits in {"churn-2": True, "churn2": False}.items():
        schema = described["paths"][f"/v1/models/{model}:predict"]["post"]["requestBody"][
            "content"
        ]["application/json"]["schema"]
        validator = jsonschema.Draft202012Validator(
            {**schema, "components": described["components"]}
        )
        assert validator.is_valid(wide) == fits
