"""Doors and rights, with an API server that answers as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp.test_utils import make_mocked_request

from headrace.api.keys import FLOWRUNS, WORKPOOLS
from headrace.kubeapi.errors import Unavailable
from headrace_dashboard.access.forgery import is_from_elsewhere, is_ours
from headrace_dashboard.access.remembered import Remembered
from headrace_dashboard.access.rights import Right, Rights
from headrace_dashboard.access.visitors import AsItself, ByHeader, ByToken, Person, Visitor
from headrace_dashboard.settings import Settings, SettingsError, load_settings

RULES = Path(__file__).parents[3] / "charts/headrace/files/dashboard-rules.yaml"
SECRET = "a-secret-of-the-proxy"
TOLD = {"X-Headrace-Proxy-Secret": SECRET, "X-Forwarded-User": "ann", "X-Forwarded-Groups": "a, b"}
ANN = Visitor(Person("ann", groups=("a",)), csrf="x")


class Api:
    """Knows one token, and allows what is listed."""

    def __init__(self, *allowed: tuple[str, str, str]) -> None:
        self.allowed = set(allowed)
        self.asked: list[tuple[str, str, str]] = []
        self.is_broken = False

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        if self.is_broken:
            raise Unavailable(503, "Unavailable", "down")
        if path.endswith("tokenreviews"):
            is_known = body["spec"]["token"] == "good"
            return {"status": {"authenticated": is_known, "user": {"username": "ann"}}}
        attributes = body["spec"]["resourceAttributes"]
        asked = (attributes["verb"], attributes["resource"], attributes["namespace"])
        self.asked.append(asked)
        return {"status": {"allowed": asked in self.allowed}}


def test_the_dashboard_has_no_right_that_it_does_not_ask_visitors_for() -> None:
    """With the verb run, or all verbs, it would start for anybody what PerFlow lets few start."""
    rules = yaml.safe_load(RULES.read_text())
    verbs = {verb for part in rules.values() for rule in part for verb in rule["verbs"]}
    assert verbs == {"get", "list", "watch", "create", "update", "patch"}


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def rights(api: Api, clock: Clock | None = None, **settings: Any) -> Rights:
    return Rights(api, 10, clock or Clock(), **settings)  # type: ignore[arg-type]


def request(headers: Mapping[str, str], host: str = "localhost:1") -> Any:
    return make_mocked_request("GET", "/runs", headers={"Host": host, **headers})


async def by_header(headers: Mapping[str, str], **settings: Any) -> Visitor | None:
    return await ByHeader(Settings(auth="header", proxy_secret=SECRET, **settings)).visitor(request(headers))


async def test_a_proxy_tells_who_it_is() -> None:
    """With the prefixes that the API server puts before names of the same provider."""
    visitor = await by_header(TOLD, user_prefix="oidc:", groups_prefix="oidc:")
    assert visitor
    assert visitor.person == Person("oidc:ann", groups=("oidc:a", "oidc:b", "system:authenticated"))
    assert visitor.is_ambient
    assert visitor.token == ""


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"X-Headrace-Proxy-Secret": "wrong"}, id="another secret"),
        pytest.param({"X-Headrace-Proxy-Secret": ""}, id="no secret"),
        pytest.param({"X-Forwarded-User": " "}, id="no name"),
        pytest.param({"X-Forwarded-User": "system:admin"}, id="a name of the cluster's own"),
        pytest.param({"X-Forwarded-Groups": "a,system:masters"}, id="a group of the cluster's own"),
    ],
)
async def test_a_proxy_is_not_believed(changes: Mapping[str, str]) -> None:
    """Nobody is let in."""
    assert await by_header({**TOLD, **changes}) is None


async def test_a_proxy_of_another_network_is_not_believed() -> None:
    """A request without an address is of none."""
    assert await by_header(TOLD, proxy_networks="10.0.0.0/8") is None


async def test_a_token_is_asked_about_once_in_a_while() -> None:
    """A wrong one too; nothing is asked about what cannot be one."""
    api = Api()
    door = ByToken(api, Settings(), Clock())  # type: ignore[arg-type]
    visitor = await door.visitor(request({"Authorization": "Bearer good"}))
    assert visitor
    assert (visitor.person.name, visitor.token, visitor.is_ambient) == ("ann", "good", False)
    assert await door.visitor(request({"Authorization": "Bearer bad"})) is None
    assert await door.visitor(request({"Cookie": "headrace=good"})) is None
    ambient = await door.visitor(request({"Cookie": "__Host-headrace=good"}))
    assert ambient
    assert ambient.is_ambient
    api.is_broken = True
    assert await door.visitor(request({"Authorization": "bearer good"})) == visitor
    for text in ("", "x" * 5000, "a\nb"):
        assert await door.holder(text) is None
    with pytest.raises(Unavailable):
        await door.holder("unknown")


async def test_with_its_own_rights_pages_of_elsewhere_are_refused() -> None:
    """A name that was made to point here is not ours."""
    door = AsItself(Api())  # type: ignore[arg-type]
    for host in ("evil.example", "localhost.evil.example:80", "127.0.0.1.nip.io"):
        assert await door.visitor(request({}, host)) is None


async def test_a_token_is_in_no_text_of_a_visitor() -> None:
    """What is logged of somebody is their name."""
    assert "good" not in repr(Visitor(Person("ann"), csrf="c", token="good"))


async def test_rights_are_asked_for_each_namespace_unless_there_is_one_for_all() -> None:
    """The namespaces that are not allowed are left out."""
    api = Api(("list", "flowruns", "a"), ("list", "flowruns", "c"))
    scope = await rights(api).scope(ANN, FLOWRUNS, {"a", "b", "c"})
    assert (scope.everywhere, scope.namespaces) == (False, frozenset({"a", "c"}))
    everywhere = Api(("list", "flowruns", ""))
    assert (await rights(everywhere).scope(ANN, FLOWRUNS, {"a", "b"})).everywhere
    assert len(everywhere.asked) == 1


async def test_objects_without_a_namespace_need_the_right_for_all() -> None:
    """There is no part of them that somebody might see."""
    assert not (await rights(Api()).scope(ANN, WORKPOOLS, {""})).has("")
    assert (await rights(Api(("list", "workpools", "")), only="a").scope(ANN, WORKPOOLS, ())).has("")


async def test_only_the_namespace_that_is_served_is_shown() -> None:
    """Even to who may see all of them."""
    served = rights(Api(("list", "flowruns", ""), ("list", "flowruns", "a"), ("get", "flowruns", "b")), only="a")
    assert (await served.scope(ANN, FLOWRUNS, {"a", "b"})).namespaces == frozenset({"a"})
    assert not await served.may(ANN, Right("get", "flowruns", "b"))


async def test_an_answer_is_kept_for_a_while_and_for_one_person() -> None:
    """Then it is asked for anew."""
    api, clock = Api(("get", "flowruns", "a")), Clock()
    asked, right = rights(api, clock), Right("get", "flowruns", "a")
    assert await asked.may(ANN, right)
    assert await asked.may(ANN, right)
    assert len(api.asked) == 1
    await asked.may(Visitor(Person("bob"), csrf=""), right)
    await asked.may(Visitor(Person("ann", groups=("b",)), csrf=""), right)
    assert len(api.asked) == 3
    clock.now_s, api.allowed = 10.0, set()
    assert not await asked.may(ANN, right)


async def test_where_nobody_knows_nothing_is_allowed() -> None:
    """A failure is not an answer, and is not kept as one."""
    api = Api(("get", "flowruns", "a"))
    api.is_broken = True
    asked = rights(api)
    with pytest.raises(Unavailable):
        await asked.may(ANN, Right("get", "flowruns", "a"))
    api.is_broken = False
    assert await asked.may(ANN, Right("get", "flowruns", "a"))


async def test_many_who_want_one_answer_ask_once_though_the_first_leaves() -> None:
    """Whoever asked first closes the browser meanwhile."""
    asked, gate = [], asyncio.Event()
    remembered: Remembered[str, int] = Remembered(10, 2, Clock())

    async def ask() -> int:
        asked.append(1)
        await gate.wait()
        return 7

    waiting = [asyncio.create_task(remembered.get("key", ask)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    gate.set()
    assert await asyncio.gather(*waiting[1:]) == [7, 7]
    assert len(asked) == 1


async def test_answers_that_are_too_many_go() -> None:
    """The oldest first: memory is bounded however many tokens are tried."""
    remembered: Remembered[int, int] = Remembered(10, 2, Clock())
    asked: list[int] = []

    async def ask() -> int:
        asked.append(1)
        return 1

    for key in (1, 2, 3, 3, 1):
        await remembered.get(key, ask)
    assert len(asked) == 4


@pytest.mark.parametrize(
    ("headers", "is_elsewhere"),
    [
        ({}, False),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://here"}, False),
        ({"Sec-Fetch-Site": "same-site"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, True),
        ({"Origin": "null"}, True),
        ({"Origin": "https://here.evil"}, True),
    ],
)
def test_a_browser_tells_where_a_request_was_made(headers: Mapping[str, str], is_elsewhere: bool) -> None:
    """Other sites of the same domain are elsewhere too."""
    assert is_from_elsewhere(headers, "here") is is_elsewhere


def test_a_mark_that_is_not_ascii_is_not_ours() -> None:
    """And breaks nothing."""
    assert not is_ours("é", "abc")
    assert is_ours("abc", "abc")


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"AUTH": "none"}, "AUTH is"),
        ({"AUTH": "header"}, "PROXY_SECRET"),
        ({"AUTH": "header", "PROXY_SECRET": "short"}, "16 characters"),
        ({"AUTH": "insecure-own-rights", "HOST": "0.0.0.0"}, "127.0.0.1"),
        ({"AUTH": "insecure-own-rights", "HOST": "*"}, "127.0.0.1"),
        ({"AUTH": "insecure-own-rights", "HOST": "example.org"}, "127.0.0.1"),
        ({"PROXY_NETWORKS": "10.0.0.300"}, "10.0.0.300"),
        ({"PORT": "99999"}, "PORT is"),
    ],
)
def test_settings_that_are_not_safe_or_make_no_sense_are_refused(environment: Mapping[str, str], told: str) -> None:
    """The text says which one it is and what is expected."""
    with pytest.raises(SettingsError, match=told):
        load_settings({f"HEADRACE_DASHBOARD_{name}": value for name, value in environment.items()})


def test_the_default_is_that_visitors_sign_in_and_only_this_machine_connects() -> None:
    """Nothing is open unless somebody says so."""
    settings = load_settings({})
    assert (settings.auth, settings.host, settings.secure_cookie) == ("token", "127.0.0.1", True)
