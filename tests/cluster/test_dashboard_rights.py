"""The dashboard's doors, on a real API server: who is let in, and what a team sees and touches of another."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from headrace.api.keys import API_VERSION
from headrace.kubeapi.client import KubeClient
from headrace_dashboard.server import ROUTES
from headrace_dashboard.site import Route
from tests.cluster.support.dashboard import (
    EDIT,
    GROUP,
    RBAC,
    VIEW,
    Dashboard,
    Person,
    a_dashboard,
    a_history,
    a_person,
    may_see_the_cluster,
)
from tests.cluster.support.waiting import eventually

SECRET_WORD = "platypus"
"""In every object of team B, and nowhere else."""
SHARED = {"WorkPool": "shared-pool", "ConcurrencyLimit": "shared-limit"}
"""Objects of the cluster, which both teams use."""
PROXY = "a-secret-of-the-proxy"
HTML = "text/html"


@dataclass(frozen=True)
class Teams:
    """Two teams with a namespace each, and the same objects in both."""

    dashboard: Dashboard
    a: str
    b: str
    token_a: str
    token_b: str


async def a_namespace(client: KubeClient) -> str:
    name = f"t-{uuid.uuid4().hex[:8]}"
    await client.create("/api/v1/namespaces", {"metadata": {"name": name}})
    return name


async def filled(client: KubeClient, namespace: str, word: str) -> None:
    """Objects of each kind, all named by the word, and a run that waits for an answer."""
    source = {"entrypoint": "etl.py:main", "source": {"inline": {"files": {"etl.py": "def main(): ..."}}}}
    schema = {"properties": {"day": {"type": "string"}, "password": {"type": "string", "writeOnly": True}}}
    await create(
        client, namespace, "Flow", f"{word}-flow", {**source, "parameters": {"schema": {"type": "object", **schema}}}
    )
    await create(client, namespace, "Deployment", f"{word}-deployment", {"flowRef": {"name": f"{word}-flow"}})
    await create(
        client,
        namespace,
        "Backfill",
        f"{word}-backfill",
        {
            "deploymentRef": {"name": f"{word}-deployment"},
            "partitions": {"list": [{"name": "one", "parameters": {"day": "1"}}]},
            "suspend": True,
        },
    )
    say = {"name": "say", "event": {"message": f"{word} failed"}}
    await create(
        client,
        namespace,
        "Automation",
        f"{word}-automation",
        {"trigger": {"run": {"phases": ["Failed"]}}, "actions": [say]},
    )
    await create(
        client,
        namespace,
        "FlowRun",
        f"{word}-run",
        {"flowRef": {"name": f"{word}-flow"}, "parameters": {"day": f"{word}-day", "password": f"{word}-password"}},
    )
    path = f"/apis/{API_VERSION}/namespaces/{namespace}/flowruns/{word}-run/status"
    pause = {"kind": "Approval", "name": "go", "message": f"{word} asks", "since": "2026-01-01T00:00:00Z"}
    attempts = [{"number": 1, "pod": f"{word}-run-1", "startedAt": "2026-01-01T00:00:00Z"}]
    status = {"phase": "Paused", "reason": "AwaitingApproval", "pause": pause, "attempts": attempts}
    await client.patch(path, {"status": status})


async def create(client: KubeClient, namespace: str, kind: str, name: str, spec: dict[str, Any]) -> None:
    body = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
    await client.create(f"/apis/{API_VERSION}/namespaces/{namespace}/{kind.lower()}s", body)


@pytest.fixture
async def teams(client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path) -> AsyncIterator[Teams]:
    a, b = await a_namespace(client), await a_namespace(client)
    await filled(client, a, "wombat")
    await filled(client, b, SECRET_WORD)
    await share(client, a, b)
    history = a_history(tmp_path / "history.db", {a: "wombat", b: SECRET_WORD})
    async with a_dashboard(client, kubeconfig, namespace, history_url=history) as dashboard:
        yield Teams(dashboard, a, b, await a_person(client, a, "team", EDIT), await a_person(client, b, "team", EDIT))
    for path in (*(f"/api/v1/namespaces/{each}" for each in (a, b)), *map(shared_path, SHARED)):
        await client.delete(path)


def shared_path(kind: str) -> str:
    return f"/apis/{API_VERSION}/{kind.lower()}s/{SHARED[kind]}"


async def share(client: KubeClient, a: str, b: str) -> None:
    """A pool and a limit that a run of each team is in."""
    for kind, spec in (("WorkPool", {}), ("ConcurrencyLimit", {"slots": 5})):
        body = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": SHARED[kind]}, "spec": spec}
        await client.create(shared_path(kind).rpartition("/")[0], body)
    names = (f"run/{a}/wombat-run", f"run/{b}/{SECRET_WORD}-run")
    holders = [{"slot": f"slot-{number}", "holder": holder} for number, holder in enumerate(names)]
    await client.patch(f"{shared_path('ConcurrencyLimit')}/status", {"status": {"active": 2, "holders": holders}})
    for namespace, word in ((a, "wombat"), (b, SECRET_WORD)):
        await create(client, namespace, "FlowRun", f"{word}-busy", {"flowRef": {"name": f"{word}-flow"}})
        path = f"/apis/{API_VERSION}/namespaces/{namespace}/flowruns/{word}-busy/status"
        await client.patch(path, {"status": {"phase": "Running", "pool": SHARED["WorkPool"]}})


def paths(route: Route, namespace: str, word: str) -> list[str]:
    """The route's path for each object of the namespace that it may be about."""
    kinds = ("run", "gone", "flow", "deployment", "backfill", "automation")
    path = re.sub(r"\{number:.*?\}\}?|\{number\}", "1", route.path)
    path = re.sub(r"\{key:.*\}$", "report", path)
    if "{name" not in path:
        return [path]
    if "{namespace:" not in path:
        return [f"{path.partition('{name:')[0]}{name}" for name in SHARED.values()]
    head, _, rest = path.partition("{namespace:")
    tail = rest.split("{name:", 1)[1]
    after = tail[tail.index(")?}") + 3 :] if ")?}" in tail else ""
    return [f"{head}{namespace}/{word}-{kind}{after}" for kind in kinds]


async def objects(client: KubeClient, namespace: str) -> str:
    """All that is in a namespace, as one text, without what the API server itself changes."""
    found = [
        await client.list(f"/apis/{API_VERSION}/namespaces/{namespace}/{plural}")
        for plural in ("flows", "deployments", "flowruns", "backfills", "automations")
    ]
    return json.dumps(found, sort_keys=True)


async def test_in_each_route_a_team_sees_and_touches_nothing_of_another(teams: Teams, client: KubeClient) -> None:
    """Every route of the table, for every object of the other team, by the address and by filters."""
    person, other = teams.dashboard.as_(teams.token_a), teams.dashboard.as_(teams.token_b)
    await other.sees("/runs", f"{SECRET_WORD}-run")
    before = await objects(client, teams.b)
    walked = 0
    for route in ROUTES:
        if route.path == "/live":
            continue  # it says nothing but that something has changed: tested below
        for path in paths(route, teams.b, SECRET_WORD):
            walked += 1
            form = {"pause": "go", "decision": "Approve", "confirm": "yes"}
            status, text = await (person.get(path) if route.method == "GET" else person.post(path, form))
            assert SECRET_WORD not in text.replace(path, ""), (route, path)
            if "{name" in route.path:
                assert status == 403, (route, path, status, text)
            own = await person.get(f"{path}?namespace={teams.b}&q={SECRET_WORD}") if route.method == "GET" else None
            assert own is None or SECRET_WORD not in re.sub(f'{SECRET_WORD}"|{re.escape(path)}', "", own[1]), path
    assert walked > 60
    assert await objects(client, teams.b) == before


async def test_nobody_gets_in_without_saying_who_they_are(teams: Teams) -> None:
    """Each route of the table, with no token, with a wrong one, and with one in a wrong place."""
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": "headrace=wrong"}, {"X-Forwarded-User": "admin"}):
        stranger = Person(teams.dashboard, headers)
        for route in ROUTES:
            for path in paths(route, teams.a, "wombat"):
                status, text = await (stranger.get(path) if route.method == "GET" else stranger.post(path))
                assert status == 401, (route, status)
                assert "wombat" not in text


async def test_a_page_asks_a_stranger_to_sign_in_and_leads_on(teams: Teams) -> None:
    """The form sets a cookie that scripts cannot read and other sites cannot send."""
    stranger = teams.dashboard.as_("")
    session, base = teams.dashboard.session, teams.dashboard.base
    async with session.get(f"{base}/runs?phase=Failed", headers={"Accept": HTML}, allow_redirects=False) as answer:
        assert answer.status == 303
        assert answer.headers["Location"] == "/sign-in?onward=/runs?phase=Failed"
    status, text = await stranger.post("/sign-in", {"token": "wrong"})
    assert (status, "does not accept" in text) == (401, True)
    form = {"token": teams.token_a, "onward": "https://evil.example/"}
    async with session.post(f"{base}/sign-in", data=form, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/runs")
        cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-headrace=")
    assert {"HttpOnly", "SameSite=Strict", "Secure", "Path=/"} <= set(cookie.split("; "))
    signed_in = Person(teams.dashboard, {"Cookie": cookie.split(";")[0]})
    assert "wombat-run" in await signed_in.sees("/runs", "wombat-run")


async def test_a_form_of_elsewhere_does_nothing(teams: Teams, client: KubeClient) -> None:
    """With the cookie alone, and with a browser that says where the request was made."""
    cookie = {"Cookie": f"__Host-headrace={teams.token_a}"}
    visitor = Person(teams.dashboard, cookie)
    path = f"/runs/{teams.a}/wombat-run/cancel"
    before = await objects(client, teams.a)
    page = await visitor.sees(f"/runs/{teams.a}/wombat-run", "Cancel")
    csrf = re.search(r'name="csrf" value="([0-9a-f]{64})"', page)
    assert csrf
    assert (await visitor.post(path))[0] == 403
    assert (await visitor.post(path, {"csrf": "0" * 64}))[0] == 403
    assert (await visitor.post(path, {"csrf": csrf[1]}, **{"Sec-Fetch-Site": "cross-site"}))[0] == 403
    assert (await visitor.post(path, {"csrf": csrf[1]}, Origin="https://evil.example"))[0] == 403
    assert await objects(client, teams.a) == before
    status, onward = await visitor.post(path, {"csrf": csrf[1]}, Origin=teams.dashboard.base)
    assert (status, onward) == (303, f"/runs/{teams.a}/wombat-run?said=cancelled")
    run = await client.get(f"/apis/{API_VERSION}/namespaces/{teams.a}/flowruns/wombat-run")
    assert run["spec"]["cancel"] is True
    assert {each["manager"] for each in run["metadata"]["managedFields"]} >= {"headrace-dashboard"}


async def test_who_may_only_look_gets_no_buttons_and_no_action(teams: Teams, client: KubeClient) -> None:
    """The page leaves out what the API server would refuse, and the routes refuse it too."""
    viewer = teams.dashboard.as_(await a_person(client, teams.a, "viewer", VIEW))
    page = await viewer.sees(f"/runs/{teams.a}/wombat-run", "wombat asks")
    assert "<button" not in page.partition("<main")[2]
    before = await objects(client, teams.a)
    for route in ROUTES:
        if route.method == "POST" and "{namespace:" in route.path:
            for path in paths(route, teams.a, "wombat"):
                assert (await viewer.post(path, {"pause": "go", "decision": "Approve"}))[0] == 403, route
    assert await objects(client, teams.a) == before


async def test_of_what_teams_share_each_sees_its_own_runs_alone(teams: Teams, client: KubeClient) -> None:
    """Who may see a limit and a pool, but no runs of the other team, learns how many there are and not which."""
    planner = teams.dashboard.as_(await a_person(client, teams.a, "planner", VIEW))
    await may_see_the_cluster(client, teams.a, "planner")
    listed = await planner.sees("/capacity", *SHARED.values(), "2 of 5")
    limit = await planner.sees(f"/capacity/limits/{SHARED['ConcurrencyLimit']}", "wombat-run", "1 more")
    pool = await planner.sees(f"/capacity/pools/{SHARED['WorkPool']}", "wombat-busy")
    assert SECRET_WORD not in listed + limit + pool
    assert (await planner.get("/capacity/limits/no-such-limit"))[0] == 404


async def test_of_the_history_each_team_sees_its_own_runs_alone(teams: Teams, client: KubeClient) -> None:
    """In the list, by address, and in cost; the log takes the right to read logs."""
    person, other = teams.dashboard.as_(teams.token_a), teams.dashboard.as_(teams.token_b)
    for visitor, namespace, word in ((person, teams.a, "wombat"), (other, teams.b, SECRET_WORD)):
        path = f"/history/{namespace}/{word}-gone"
        listed = await visitor.sees("/history", f"{word}-gone", path)
        one = await visitor.sees(path, f"{word}-day", f"{word} said so", "this run has left the cluster")
        cost = await visitor.sees("/cost?by=flow&since=", f"{namespace}/{word}-flow", "1.0000 USD", "2026-03")
        hidden = {"wombat", SECRET_WORD} - {word}
        assert not any(each in page for each in hidden for page in (listed, one, cost))
        assert await visitor.get(f"/runs/{namespace}/{word}-gone") == (303, "")
    for odd in ("q=%00", "label=$[", "label=[x]", f"label=$[&namespace={teams.b}"):  # or one filter takes it from all
        status, text = await person.get(f"/history?{odd}")
        assert (status, "cannot be asked" in text) == (200, False), odd
    nosy = await person.get(f"/history?namespace={teams.b}")
    assert (nosy[0], SECRET_WORD in nosy[1]) == (200, False)
    without_logs = [rule for rule in VIEW if rule["resources"] != ["pods/log"]]
    reader = teams.dashboard.as_(await a_person(client, teams.a, "reader", without_logs))
    assert "wombat said so" not in await reader.sees(f"/history/{teams.a}/wombat-gone", "wombat-day")


async def test_a_history_that_is_away_is_told_where_it_is_missed_and_nowhere_else(
    client: KubeClient, kubeconfig: Path, namespace: str, teams: Teams, tmp_path: Path
) -> None:
    """The pages of what is in the cluster are as ever."""
    home, away = await a_namespace(client), f"sqlite:///{tmp_path}/there-is-none.db"
    async with a_dashboard(client, kubeconfig, home, history_url=away) as dashboard:
        person = dashboard.as_(teams.token_a)
        await person.sees("/history", "The history store cannot be asked at the moment")
        await person.sees("/cost?by=namespace&since=", "What has left the cluster is missing", teams.a)
        await person.sees("/runs", "wombat-run")
        assert (await person.get(f"/history/{teams.a}/wombat-gone"))[0] == 503
        assert (await person.get(f"/runs/{teams.a}/wombat-gone"))[0] == 404
        assert "there-is-none" not in (await person.get("/history"))[1]
    await client.delete(f"/api/v1/namespaces/{home}")


async def test_pressed_twice_a_button_starts_one_run(teams: Teams, client: KubeClient) -> None:
    """Also when the dashboard has seen the first press; the page as it is then starts another one."""
    person, page = teams.dashboard.as_(teams.token_a), f"/runs/{teams.a}/wombat-run"
    runs = f"/apis/{API_VERSION}/namespaces/{teams.a}/flowruns"
    await client.patch(f"{runs}/wombat-run/status", {"status": {"phase": "Failed", "pause": None}})
    await person.sees("/dead-letters", "wombat-run", 'name="go" value="1"')
    await person.sees(page, 'name="go" value="1"')
    first = (await person.post(f"{page}/retry", {"go": "1"}))[1]
    assert first.endswith("?said=again")
    await person.sees(page, 'name="go" value="2"')
    assert await person.post(f"{page}/retry", {"go": "1"}) == (303, f"{first}-before")
    assert (await person.post(f"{page}/retry"))[0] == 409
    assert (await person.post(f"{page}/retry", {"go": "2"}))[1] not in {first, f"{first}-before"}
    assert len(await client.list(runs)) == 4


async def test_sent_twice_a_form_starts_one_run(teams: Teams, client: KubeClient) -> None:
    """Filled in anew it starts another one."""
    person, page = teams.dashboard.as_(teams.token_a), f"/deployments/{teams.a}/wombat-deployment"
    text = await person.sees(page, 'name="field.day"')
    found = re.search(r'name="form" value="([0-9a-f]{32})"', text)
    assert found
    form = {"form": found[1], "field.day": "1"}
    first = (await person.post(f"{page}/start", form))[1]
    assert first.endswith("?said=started")
    assert (await person.post(f"{page}/start", form))[1] == f"{first}-before"
    assert (await person.post(f"{page}/start", {**form, "field.day": "2"}))[1] != first
    assert (await person.post(f"{page}/start", {"field.day": "1"}))[0] == 409
    started = await client.list(f"/apis/{API_VERSION}/namespaces/{teams.a}/flowruns")
    assert sorted(run["spec"]["parameters"]["day"] for run in started if "deploymentRef" in run["spec"]) == ["1", "2"]


async def test_a_secret_parameter_is_not_shown(teams: Teams, client: KubeClient) -> None:
    """What the Flow's schema marks as writeOnly; the others are, as long as the Flow is there."""
    person, path = teams.dashboard.as_(teams.token_a), f"/runs/{teams.a}/wombat-run"
    page = await person.sees(path, "wombat-day")
    assert "wombat-password" not in page
    assert "••••••" in page
    await client.delete(f"/apis/{API_VERSION}/namespaces/{teams.a}/flows/wombat-flow")
    page = await person.sees(path, "Its Flow is not there any more")
    assert "wombat-password" not in page
    assert "wombat-day" not in page


async def test_a_right_that_was_taken_away_is_gone(teams: Teams, client: KubeClient) -> None:
    """Rights are asked for anew; answers are kept for some seconds at most, here for none."""
    person = teams.dashboard.as_(teams.token_a)
    path = f"/runs/{teams.a}/wombat-run"
    assert (await person.get(path))[0] == 200
    bindings = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{teams.a}/rolebindings"
    for binding in await client.list(bindings):
        await client.delete(f"{bindings}/{binding['metadata']['name']}")
    await teams.dashboard.as_("").get("/healthz")

    async def refused() -> bool:
        return (await person.get(path))[0] == 403

    await eventually(refused, what="the API server has taken the right back")
    assert "wombat" not in (await person.get("/runs"))[1]


async def test_nobody_is_told_that_something_of_another_team_has_changed(teams: Teams, client: KubeClient) -> None:
    """The other team is told meanwhile, by the same news; then this one is told of its own."""
    session, url = teams.dashboard.session, f"{teams.dashboard.base}/live?of=flowruns"
    mine, theirs = ({"Authorization": f"Bearer {token}"} for token in (teams.token_a, teams.token_b))
    about = f"{url}&namespace={teams.b}&name={SECRET_WORD}-run"
    path = f"/apis/{API_VERSION}/namespaces/{{}}/flowruns/{{}}-run"
    async with (
        session.get(url, headers=mine) as ours,
        session.get(about, headers=mine) as curious,
        session.get(url, headers=theirs) as others,
    ):
        for number in range(4):
            await client.patch(path.format(teams.b, SECRET_WORD), {"metadata": {"labels": {"n": str(number)}}})
            await changed(others)
            if number == 1:  # everybody is told once that everything was listed
                ours.content.read_nowait()
                curious.content.read_nowait()
        assert b"event:" not in ours.content.read_nowait() + curious.content.read_nowait()
        await client.patch(path.format(teams.a, "wombat"), {"metadata": {"labels": {"n": "own"}}})
        await changed(ours)


async def changed(live: aiohttp.ClientResponse) -> None:
    """Returns when the page is told so."""
    async for line in live.content:
        if line.startswith(b"event: changed"):
            return


async def test_behind_a_proxy_its_headers_count_with_its_secret_alone(
    client: KubeClient, kubeconfig: Path, namespace: str, teams: Teams
) -> None:
    """Users of the proxy have no token: the dashboard acts, after it has asked whether they may, and says for whom."""
    role = {"metadata": {"name": "people"}, "rules": list(EDIT)}
    await client.create(f"{RBAC}/namespaces/{teams.a}/roles", role)
    subject = {**GROUP, "kind": "Group", "name": "oidc:wombats"}
    binding = {
        "metadata": {"name": "people"},
        "roleRef": {**GROUP, "kind": "Role", "name": "people"},
        "subjects": [subject],
    }
    await client.create(f"{RBAC}/namespaces/{teams.a}/rolebindings", binding)
    home = await a_namespace(client)
    told = {"X-Forwarded-User": "ann", "X-Forwarded-Groups": "wombats,others", "X-Headrace-Proxy-Secret": PROXY}
    settings = {"auth": "header", "proxy_secret": PROXY, "user_prefix": "oidc:", "groups_prefix": "oidc:"}
    async with a_dashboard(client, kubeconfig, home, **settings) as dashboard:
        ann = Person(dashboard, told)
        page = await ann.sees(f"/runs/{teams.a}/wombat-run", "oidc:ann", "Cancel")
        assert (await ann.get(f"/runs/{teams.b}/{SECRET_WORD}-run"))[0] == 403
        csrf = re.search(r'name="csrf" value="([0-9a-f]{64})"', page)
        assert csrf
        path = f"/runs/{teams.a}/wombat-run/suspend"
        assert (await ann.post(path))[0] == 403
        assert (await ann.post(path, {"csrf": csrf[1]}))[0] == 303
        run = await client.get(f"/apis/{API_VERSION}/namespaces/{teams.a}/flowruns/wombat-run")
        assert run["metadata"]["annotations"] == {"headrace.dev/asked-by": "oidc:ann"}
        for wrong in (
            {"X-Headrace-Proxy-Secret": "another secret"},
            {"X-Headrace-Proxy-Secret": ""},
            {"X-Forwarded-User": ""},
        ):
            assert (await Person(dashboard, {**told, **wrong}).get("/runs"))[0] == 401
    await client.delete(f"/api/v1/namespaces/{home}")


async def test_with_its_own_rights_it_answers_this_machine_alone(
    client: KubeClient, kubeconfig: Path, namespace: str, teams: Teams
) -> None:
    """A page of elsewhere whose host name points here is refused, and so is a form of elsewhere."""
    async with a_dashboard(client, kubeconfig, namespace, auth="insecure-own-rights") as dashboard:
        me = dashboard.as_("")
        await me.sees("/runs", "wombat-run", f"{SECRET_WORD}-run")
        assert (await me.get("/runs", Host="evil.example"))[0] == 401
        assert (await me.post(f"/runs/{teams.a}/wombat-run/cancel"))[0] == 403
