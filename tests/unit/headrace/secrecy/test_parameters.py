"""Parameters that are secret: recognised by their types, given by name, told nowhere."""

from dataclasses import dataclass
from typing import Annotated, TypedDict

import pytest
from pydantic import BaseModel, Field, SecretBytes, SecretStr
from pydantic import Secret as SecretOf

from headrace import ParameterError, flow
from headrace.secrecy.parameters import REFERENCE_SCHEMA, has_reference, holds_secret, register_all, resolved
from headrace.secrecy.redaction import MASK, SECRETS

REFERENCE = {"secretRef": {"name": "postgres", "key": "password"}}


class Login(BaseModel):
    """A model with a secret part."""

    user: str
    password: SecretStr


@dataclass
class Server:
    """One more step away."""

    logins: list[Login]


class Options(TypedDict):
    """The same, of another kind."""

    login: Login | None


class Tree(BaseModel):
    """Refers to itself."""

    inner: "list[Tree]" = []


DEFAULT = SecretStr("s3cret-default")
NO_BYTES = SecretBytes(b"")


@flow
def logs_in(password: SecretStr, user: str = "etl", token: SecretStr | None = DEFAULT):
    return password.get_secret_value()


@flow
def connects(server: Server, password: SecretBytes = NO_BYTES):
    return server.logins[0].password.get_secret_value()


@pytest.mark.parametrize(
    "hint",
    [
        SecretStr,
        SecretBytes | None,
        Annotated[SecretStr, Field(min_length=2)],
        SecretOf[int],
        Login,
        Server,
        Options,
        dict[str, list[Login]],
    ],
)
def test_a_type_that_holds_a_secret_is_one(hint):
    """However deep."""
    assert holds_secret(hint)


@pytest.mark.parametrize("hint", [str, int | None, dict[str, str], Tree, list, None, "text"])
def test_other_types_are_none(hint):
    """Also one that refers to itself."""
    assert not holds_secret(hint)


def test_what_a_flow_gets_is_registered(secrets):
    """Each secret part of it."""
    secrets()
    assert logs_in("hunter2-a") == "hunter2-a"
    assert connects({"logins": [{"user": "plain-user", "password": "hunter2-b"}]}, b"hunter2-c") == "hunter2-b"
    assert SECRETS.redacted("hunter2-a hunter2-b hunter2-c plain-user") == f"{MASK} {MASK} {MASK} plain-user"


def test_all_kinds_of_containers_are_looked_through(secrets):
    """What has no end is not."""
    secrets()
    values = [SecretStr("in-a-list"), {"k": SecretOf[int](12345678)}, (Server([Login(user="u", password="in-model")]),)]
    register_all(values)
    assert SECRETS.redacted("in-a-list 12345678 in-model") == f"{MASK} {MASK} {MASK}"


def test_a_reference_stands_for_the_text_of_a_secret(monkeypatch, secrets):
    """On a laptop as in a pod, also inside a value."""
    monkeypatch.setenv("HEADRACE_SECRET_POSTGRES", '{"password": "hunter2"}')
    assert logs_in(REFERENCE) == "hunter2"
    assert connects({"logins": [{"user": "u", "password": REFERENCE}]}) == "hunter2"
    assert resolved([{"a": REFERENCE}, 1]) == [{"a": "hunter2"}, 1]


@pytest.mark.parametrize(
    "value", [None, {}, {"secretRef": "postgres"}, {"secretRef": {"name": "a"}}, {**REFERENCE, "b": 1}, ["x"]]
)
def test_what_is_no_reference_is_left(value):
    """It is data."""
    assert not has_reference(value)
    assert resolved(value) == value


def test_a_reference_to_what_is_not_here_says_so():
    """As a problem of the parameter."""
    with pytest.raises(ParameterError, match='parameter "password" names a secret, expected one that is here'):
        logs_in(REFERENCE)


def test_a_wrong_secret_is_not_told():
    """Its place and the problem are; another parameter is told as ever."""
    with pytest.raises(ParameterError) as caught:
        logs_in(password=["hunter2"], user=5)
    told = str(caught.value)
    assert f'parameter "password" is {MASK}, expected pydantic.types.SecretStr (string_type)' in told
    assert 'parameter "user" is 5' in told
    assert "hunter2" not in told


def test_the_schema_takes_a_text_or_the_name_of_a_secret():
    """Tools that show forms hide what is typed; a default is not told."""
    schema = logs_in.parameters_schema()
    password = schema["properties"]["password"]
    text = {"type": "string", "format": "password", "writeOnly": True}
    assert password == {"anyOf": [text, REFERENCE_SCHEMA], "writeOnly": True}
    assert schema["properties"]["token"] == {"anyOf": [password, {"type": "null"}]}
    assert "default" not in schema["properties"]["token"]
    assert logs_in.parameters.defaults() == {"user": "etl"}
    assert connects.parameters_schema()["$defs"]["Login"]["properties"]["password"]["writeOnly"] is True


def test_a_manifest_takes_the_name_of_a_secret_and_never_its_text():
    """Everybody who reads the API would see it."""
    assert logs_in.parameters.to_json({"password": REFERENCE, "user": "u"}) == {"password": REFERENCE, "user": "u"}
    with pytest.raises(
        ParameterError, match=r'which everybody could read there, expected the name of one: \{"secretRef"'
    ):
        logs_in.parameters.to_json({"password": "hunter2"})


def test_a_command_line_takes_both():
    """The reference as JSON."""
    texts = {"password": '{"secretRef": {"name": "postgres", "key": "password"}}'}
    assert logs_in.parameters.from_text(texts) == {"password": REFERENCE}
    assert logs_in.parameters.from_text({"password": "12345"}) == {"password": "12345"}


def test_secret_ones_among_values_are_told_apart(secrets):
    """For those who show the others; what does not fit is no matter here."""
    secrets()
    found = logs_in.parameters.concealed({"password": "hunter2", "user": "u", "token": ["x"], "other": 1})
    assert repr(found) == f"{{'password': SecretStr('{MASK}')}}"
    assert SECRETS.redacted("hunter2") == MASK
