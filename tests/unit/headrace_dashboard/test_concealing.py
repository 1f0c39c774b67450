"""Secret parameters are not shown."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import pytest
from pydantic import BaseModel, SecretStr, StringConstraints

from headrace.parameters import Parameters
from headrace_dashboard.pages.concealing import ALL_SECRET, MASK, concealed


class Login(BaseModel):
    user: str
    password: SecretStr


def flow(
    plain: str, token: SecretStr, login: Login, logins: list[Login], by_name: dict[str, Login], maybe: SecretStr | None
): ...


SCHEMA = Parameters("flow", flow).schema()


def test_secrets_of_a_flow_are_hidden_wherever_they_stand() -> None:
    """By the schema that the SDK makes of type hints: in models, lists, dictionaries and choices."""
    login = {"user": "ann", "password": "hunter2"}
    values = {
        "plain": "2026-01-01",
        "token": "hunter2",
        "login": login,
        "logins": [login, login],
        "by_name": {"a": login},
        "maybe": "hunter2",
    }
    shown = concealed(values, SCHEMA)
    hidden = {"user": "ann", "password": MASK}
    assert shown == {
        "plain": "2026-01-01",
        "token": MASK,
        "login": hidden,
        "logins": [hidden, hidden],
        "by_name": {"a": hidden},
        "maybe": MASK,
    }


def test_the_name_of_a_secret_is_none() -> None:
    """It says where the text is, to those who may read it there."""
    reference = {"secretRef": {"name": "postgres", "key": "password"}}
    assert concealed({"token": reference}, SCHEMA) == {"token": reference}


def test_a_schema_that_goes_round_in_circles_ends() -> None:
    """People write schemas by hand."""
    schema = {
        "properties": {"a": {"$ref": "#/$defs/A"}},
        "$defs": {"A": {"anyOf": [{"$ref": "#/$defs/A"}], "format": "password"}},
    }
    assert concealed({"a": "x", "b": 1}, schema) == {"a": MASK, "b": 1}


class Account(NamedTuple):
    user: str
    password: SecretStr


def places(
    pair: tuple[str, SecretStr],
    account: Account,
    several: tuple[SecretStr, ...],
    by_pattern: dict[Annotated[str, StringConstraints(pattern="^a")], SecretStr],
): ...


def test_secrets_are_hidden_at_their_place_in_a_list_and_under_names_of_a_pattern() -> None:
    values = {
        "pair": ["ann", "hunter2"],
        "account": ["ann", "hunter2"],
        "several": ["hunter2"] * 2,
        "by_pattern": {"a": "x"},
    }
    assert concealed(values, Parameters("flow", places).schema()) == {
        "pair": ["ann", MASK],
        "account": ["ann", MASK],
        "several": [MASK] * 2,
        "by_pattern": {"a": MASK},
    }


SECRET = {"writeOnly": True}


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param({"allOf": [{"properties": {"x": SECRET}}]}, id="the whole is of several parts"),
        pytest.param({"$ref": "#/$defs/A", "$defs": {"A": {"properties": {"x": SECRET}}}}, id="the whole is elsewhere"),
        pytest.param({"properties": {"x": {"$ref": "#/properties/y"}, "y": SECRET}}, id="as another parameter"),
        pytest.param(
            {"properties": {"x": {"$ref": "https://example.org/schema"}}}, id="nobody knows what it refers to"
        ),
        pytest.param({"properties": {"x": {"$ref": "#name"}}}, id="nor a name for a part"),
        pytest.param({"properties": {"x": {"if": {"type": "string"}, "then": SECRET}}}, id="under a condition"),
        pytest.param({"properties": {"x": {}}, "patternProperties": {"x": SECRET}}, id="by name and by pattern"),
        pytest.param({"additionalProperties": SECRET}, id="whatever its name"),
        pytest.param(ALL_SECRET, id="nobody knows the schema"),
    ],
)
def test_a_parameter_is_hidden_however_the_schema_says_so(schema: dict[str, Any]) -> None:
    """People write schemas by hand."""
    assert concealed({"x": "hunter2"}, schema) == {"x": MASK}


def test_items_of_older_schemas_have_places_too() -> None:
    schema = {"properties": {"x": {"items": [{}, SECRET], "additionalItems": SECRET}}}
    assert concealed({"x": ["a", "b", "c"]}, schema) == {"x": ["a", MASK, MASK]}


def test_a_schema_that_refers_to_itself_many_times_is_read_once() -> None:
    """Or a page of such a run would never end."""
    itself = {"$ref": "#/$defs/A"}
    tree = {"anyOf": [itself] * 8, "additionalProperties": {"anyOf": [itself] * 8}, "properties": {"password": SECRET}}
    value: dict[str, Any] = {"password": "hunter2", "open": "plain"}
    for _ in range(10):
        value = {"deeper": value}
    shown = str(concealed({"x": value}, {"properties": {"x": itself}, "$defs": {"A": tree}}))
    assert ("hunter2" in shown, "plain" in shown, MASK in shown) == (False, True, True)
