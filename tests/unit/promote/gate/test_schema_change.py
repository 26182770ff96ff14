"""Which changes of inputs and outputs break today's callers."""

import pytest

from promote.gate.schema_change import schema_problems
from retrain.contract import Feature, ModelSchema, Output


def a_schema(outputs=("probability",), **changed) -> ModelSchema:
    feature = Feature(name="distance", type="number", minimum=0, maximum=100).model_copy(
        update=changed
    )
    return ModelSchema(features=(feature,), outputs=tuple(Output(name=name) for name in outputs))


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ({}, {"type": "integer"}, "was of type number and is integer"),
        ({"type": "boolean"}, {"type": "number"}, "was of type boolean"),
        ({"required": False}, {"required": True}, "was optional and is required"),
        ({}, {"minimum": 1}, "had the minimum 0 and has the minimum 1"),
        ({"minimum": None}, {}, "had no minimum and has the minimum 0"),
        ({}, {"maximum": 99}, "had the maximum 100 and has the maximum 99"),
        (
            {"name": "gone"},
            {"name": "distance", "required": False},
            "feature gone is gone",
        ),
        ({}, {"outputs": ()}, "output probability is gone"),
    ],
)
def test_what_narrows_a_schema_is_named(before, after, says):
    problems = schema_problems(a_schema(**before), a_schema(**after))
    assert len(problems) == 1
    assert says in problems[0]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {}),
        ({"type": "integer"}, {}),
        ({}, {"required": False, "minimum": None, "maximum": 200}),
        (
            {"type": "category", "known_categories": ("UA", "AA")},
            {"type": "category", "known_categories": ("UA",)},
        ),
        ({}, {"outputs": ("probability", "minutes")}),
    ],
)
def test_what_widens_a_schema_is_fine(before, after):
    assert schema_problems(a_schema(**before), a_schema(**after)) == ()
