"""Secret parameters are not shown."""

from __future__ import annotations

from pydantic import BaseModel, SecretStr

from headrace.parameters import Parameters
from headrace_dashboard.pages.concealing import MASK, concealed


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
