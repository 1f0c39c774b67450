"""Which new go of a run a button makes."""

from __future__ import annotations

import pytest

from headrace.cli.again import name_of_go
from headrace_dashboard.pages.dead_letters import dead_letters_page
from headrace_dashboard.pages.layout import Frame
from headrace_dashboard.pages.run import Allowed, RunView, run_page
from headrace_dashboard.routes.goes import MAX_GOES, go_from, next_go
from headrace_dashboard.site import Refusal
from headrace_dashboard.watching.records import run_record
from tests.builders import NOW
from tests.unit.headrace.history.finished import a_finished_run

FRAME = Frame(person="ann", csrf="", assets="x")


class Known:
    """Runs with these names."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def get(self, namespace: str, name: str) -> str | None:
        return name if namespace == "team-a" and name in self.names else None


def goes(*numbers: int) -> list[str]:
    return [name_of_go("etl", "uid", number) for number in numbers]


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        pytest.param([], 1, id="the first"),
        pytest.param(goes(1), 2, id="another after one that is known"),
        pytest.param(goes(2, 3), 1, id="one that is gone may be made again"),
        pytest.param(goes(*range(1, MAX_GOES + 1)), MAX_GOES + 1, id="no more of them"),
    ],
)
def test_a_page_offers_the_first_go_that_is_not_known(known: list[str], expected: int) -> None:
    assert next_go(Known(*known), "team-a", "etl", "uid") == expected


def test_a_button_makes_the_go_that_its_page_was_made_for() -> None:
    assert [go_from("etl", said) for said in ("1", "2", str(MAX_GOES))] == [1, 2, MAX_GOES]


@pytest.mark.parametrize("said", [None, "", "0", "-1", "1e1", "٣", "²", "01", "9" * 5000])
def test_a_form_that_does_not_say_makes_none(said: str | None) -> None:
    with pytest.raises(Refusal, match="load the page again"):
        go_from("etl", said)


def test_there_is_an_end_of_goes() -> None:
    with pytest.raises(Refusal, match="start its Deployment anew"):
        go_from("etl", str(MAX_GOES + 1))


def test_buttons_say_which_go_they_make() -> None:
    """That of the page of the run, and those of the dead letters."""
    run = a_finished_run("etl")
    run["metadata"]["resourceVersion"] = "7"
    hidden = '<input type="hidden" name="go" value="3" autocomplete="off"><button'
    view = RunView(run, {}, events=(), goes=(), children=(), attempt=0, next_go=3)
    assert hidden in run_page(FRAME, view, Allowed(create=True), NOW)
    namespace = run["metadata"]["namespace"]
    assert hidden in dead_letters_page(FRAME, [run_record(run)], NOW, may_start={namespace}, next_go=lambda _: 3)
