"""pydantic's JSON Schema becomes what a CustomResourceDefinition takes."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from headrace.api.common import Rule, checked_by
from headrace.api.structural import structural_schema


class Colour(StrEnum):
    """A colour."""

    RED = "Red"


class Part(BaseModel):
    """A part."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=checked_by(Rule("true", "a: of the class")))

    size: int | None = Field(default=None, ge=1, description="Size.")


class Whole(BaseModel):
    """A whole."""

    part: Part = Field(default=Part(), description="Its part.")
    spare: Part | None = Field(default=None, json_schema_extra=checked_by(Rule("true", "b: of the field")))
    colour: Colour = Field(description="Its colour.")
    parts: Annotated[tuple[Part, ...], Field(max_length=2)] | None = None
    by_name: dict[str, Part] = Field(default_factory=dict)
    kind: Literal["Whole"] = "Whole"


PART = {
    "description": "A part.",
    "type": "object",
    "properties": {"size": {"description": "Size.", "type": "integer", "minimum": 1}},
    "x-kubernetes-validations": [{"rule": "true", "message": "a: of the class"}],
}


def test_writes_references_out_and_leaves_none_out():
    properties = structural_schema(Whole)["properties"]

    assert properties["part"] == PART | {"description": "Its part.", "default": {}}
    assert properties["colour"] == {"description": "Its colour.", "type": "string", "enum": ["Red"]}
    assert properties["parts"] == {"type": "array", "maxItems": 2, "items": PART}
    assert properties["by_name"] == {"type": "object", "additionalProperties": PART}
    assert properties["kind"] == {"type": "string", "default": "Whole"}


def test_joins_the_rules_of_a_field_to_those_of_its_class():
    spare = structural_schema(Whole)["properties"]["spare"]

    assert [rule["message"] for rule in spare["x-kubernetes-validations"]] == ["a: of the class", "b: of the field"]


def test_requires_what_has_no_default():
    schema = structural_schema(Whole)

    assert schema["required"] == ["colour"]
    assert "required" not in schema["properties"]["part"]


def test_puts_what_people_read_first_first():
    assert list(structural_schema(Whole)) == ["description", "type", "required", "properties"]
