"""What is registered is in no text that comes out, in whatever form it went in."""

import base64
import json
from typing import Annotated
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError

from headrace.engine.blame import traceback_text
from headrace.errors import shown
from headrace.lineage.datasets import MAX_TEXT, Dataset
from headrace.pausing.requests import MAX_PROBLEM, PauseRequest
from headrace.secrecy.redaction import MASK, SECRETS, Registry, redacted_json, register

SECRET = st.text(st.characters(codec="utf-8", exclude_characters="*"), min_size=6, max_size=40).filter(
    lambda text: len(text.strip()) >= 6
)
AROUND = st.text(max_size=30)


def knows(*values):
    registry = Registry()
    for value in values:
        registry.add(value)
    return registry


@given(SECRET, AROUND, AROUND)
def test_a_value_is_taken_out_wherever_it_stands(value, before, after):
    """All else stays."""
    assume(value not in before + MASK + after)
    said = knows(value).redacted(f"{before}{value}{after}")
    assert value not in said
    assert MASK in said


@pytest.mark.parametrize(
    "written",
    [
        str,
        repr,
        lambda value: repr({"a": value, "b": "it's"}),
        lambda value: repr([value, '"']),
        json.dumps,
        lambda value: json.dumps(value, ensure_ascii=False),
        quote,
        lambda value: quote(value, safe=""),
        quote_plus,
        lambda value: base64.b64encode(value.encode()).decode(),
        lambda value: base64.urlsafe_b64encode(value.encode()).decode(),
        lambda value: repr(value.encode()),
        lambda value: quote(value, safe="!#$%&'()*+,/:;=?@[]~"),
    ],
)
@given(value=SECRET, before=AROUND, after=AROUND)
def test_forms_that_a_value_takes_are_taken_out_too(written, value, before, after):
    """As JSON, repr(), URLs and Base64 write it."""
    said = knows(value).redacted(before + written(value) + after)
    padding = 2  # of Base64
    assert len(said.replace(MASK, "")) <= len(before + written("") + after) + padding


@given(st.text("abcdefgh", min_size=10, max_size=20), st.binary(max_size=9), st.binary(max_size=9))
def test_base64_of_something_that_holds_a_value_shows_no_inner_part_of_it(value, before, after):
    """As in a header of basic authentication: what decodes to the value is gone, but for its edges."""
    text = base64.b64encode(before + value.encode() + after).decode()
    said = knows(value).redacted(text)
    assert MASK in said
    assert not any(value[at : at + 6].encode() in _decoded(piece) for piece in said.split(MASK) for at in range(5))


def _decoded(text):
    found = b""
    for skip in range(4):
        piece = text.rstrip("=")[skip:]
        found += b"|" + base64.b64decode(piece[: len(piece) // 4 * 4])
    return found


@given(st.lists(st.text("ab", min_size=4, max_size=8), min_size=1, max_size=4), st.data())
def test_values_that_overlap_leave_no_rest_of_each_other(values, data):
    """No character of any of them shows."""
    registry = knows(*values)
    text = "".join(data.draw(st.permutations([*values, "x", "y"])))
    inside = [False] * len(text)
    for form in registry.forms:
        for at in range(len(text)):
            if text.startswith(form, at):
                inside[at : at + len(form)] = [True] * len(form)
    shown_characters = "".join(char for char, hidden in zip(text, inside, strict=True) if not hidden)
    assert registry.redacted(text).replace(MASK, "") == shown_characters


def test_what_is_inside_a_value_is_secret_too():
    """Lines, settings, texts of a JSON document, and the password of a URL."""
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\nshort\n-----END PRIVATE KEY-----\n"
    assert knows(key).redacted("line MIIEvQIBADANBg of -----BEGIN PRIVATE KEY-----") == (
        f"line {MASK} of -----BEGIN PRIVATE KEY-----"
    )
    settings = '[db]\nhost = db\npassword = "hunter2-x"\ntoken: abcdefgh\n'
    assert knows(settings).redacted("db hunter2-x abcdefgh") == f"db {MASK} {MASK}"
    assert knows("PASSWORD=hunter2-x").redacted("hunter2-x") == MASK
    account = json.dumps({"type": "sa", "private_key": key, "ids": ["0123456789"]})
    assert knows(account).redacted("0123456789 sa MIIEvQIBADANBg") == f"{MASK} sa {MASK}"
    assert knows("postgres://etl:s3cr%40t@db/x").redacted("password s3cr@t or s3cr%40t") == f"password {MASK} or {MASK}"


@pytest.mark.parametrize("value", ["", "abc", "  a \n", b"", "****"])
def test_what_is_in_every_text_is_not_looked_for(value):
    """Nor is a mask masked."""
    assert knows(value).forms == ()


def test_bytes_that_are_no_text_are_known_by_their_forms():
    """Base64, hexadecimal and repr()."""
    value = b"\xff\xfe\x00\x01\x02\x03"
    registry = knows(value)
    for form in (base64.b64encode(value).decode(), value.hex(), repr(value)):
        assert MASK in registry.redacted(form)


@given(SECRET, AROUND, AROUND, st.data())
def test_what_is_sure_in_a_piece_never_holds_the_beginning_of_a_value(value, before, after, data):
    """Wherever the text is cut."""
    assume(value not in before + MASK + after)
    registry, text, out, held = knows(value), before + value + after, "", ""
    cut = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    for start, end in zip([0, *cut], [*cut, len(text)], strict=True):
        known = held + text[start:end]
        sure = registry.until_unsure(known)
        out, held = out + registry.redacted(known[:sure]), known[sure:]
    assert value not in out + registry.redacted(held)
    assert (out + registry.redacted(held)).replace(MASK, "") == registry.redacted(text).replace(MASK, "")


def test_a_value_that_is_cut_behind_one_of_its_lines_is_held_back_from_its_beginning():
    """The line is known as a secret of its own; what stands before it is one too."""
    registry = knows("user\nabcdefgh\nijklmnop")
    assert registry.until_unsure("is user\nabcdefgh\nijk") == len("is ")


def test_json_keeps_its_shape(secrets):
    """Keys, texts and numbers lose their secrets; the names that are to be kept do not."""
    secrets("hunter2", "12345")
    value = {"flow": "hunter2", "a hunter2": ["x hunter2", 12345, 1.5, True, None, {"n": 123456}]}
    assert redacted_json(value, keep={"flow"}.__contains__) == {
        "flow": "hunter2",
        f"a {MASK}": [f"x {MASK}", MASK, 1.5, True, None, {"n": f"{MASK}6"}],
    }


def test_a_cut_text_does_not_end_inside_a_value(secrets):
    """It is taken out before the text is cut."""
    secrets("hunter2-" * 10)
    assert "hunter2" not in shown("x" * 80 + "hunter2-" * 10)
    error = ValueError("y" * 4000 + "hunter2-" * 10 + "z" * 8150)
    assert "hunter2" not in traceback_text(error)


class Login(BaseModel):
    password: Annotated[str, Field(max_length=3)]
    host: str = ""


@pytest.mark.parametrize(
    "given", [{"password": "pass-word-" * 9}, "pass-word-" * 9, {"password": 1, "more": "pass-word-" * 9}]
)
def test_the_ends_of_a_value_that_others_have_cut_are_taken_out(given):
    """As pydantic shows what does not fit."""
    with pytest.raises(ValidationError) as caught:
        Login.model_validate(given)
    said = str(caught.value)
    registry = knows("pass-word-" * 9)
    assert "pass" not in registry.redacted(said).replace("password", "")


def test_what_others_cut_stays_where_it_is_no_secret():
    """Words before three dots, for one."""
    assert knows("production-password").redacted("loading prod... done...") == "loading prod... done..."


def test_what_we_cut_ourselves_has_no_secret_by_then(secrets):
    """Half of a value would not be known any more."""
    register("correct-horse-battery")
    said = "x" * (MAX_PROBLEM - 9) + "correct-horse-battery"
    assert "correct" not in str(PauseRequest("Approval", "deploy", problem=said).told())
    assert "correct" not in str(Dataset("s3://bucket", "x" * (MAX_TEXT - 22) + "correct-horse-battery"))


def test_registering_twice_changes_nothing(secrets):
    """And is not told to other processes twice."""
    secrets("hunter2", "hunter2")
    assert SECRETS.told == ("hunter2",)
    before = SECRETS.forms
    register("hunter2")
    assert SECRETS.forms == before
