"""The dashboard in the test's own loop, with the rights of the chart and no others, and people who look at it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from headrace.history import open_history, record_of
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.config import load_connection
from headrace_dashboard.__main__ import serving
from headrace_dashboard.settings import Settings
from headrace_dashboard.site import signed_in
from tests.cluster.support.waiting import eventually
from tests.unit.headrace.history.finished import a_finished_run

RULES = yaml.safe_load((Path(__file__).parents[3] / "charts/headrace/files/dashboard-rules.yaml").read_text())
RBAC = "/apis/rbac.authorization.k8s.io/v1"
GROUP = {"apiGroup": "rbac.authorization.k8s.io"}
VIEW = (
    {"apiGroups": ["headrace.dev"], "resources": ["*"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["list"]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
)
EDIT = (
    *VIEW,
    {
        "apiGroups": ["headrace.dev"],
        "resources": ["flowruns", "deployments", "backfills"],
        "verbs": ["create", "patch"],
    },
)


@dataclass(frozen=True)
class Dashboard:
    """Where it is. `base` ends without a slash."""

    base: str
    session: aiohttp.ClientSession

    def as_(self, token: str) -> Person:
        """Somebody with this token."""
        return Person(self, {"Authorization": f"Bearer {token}"} if token else {})


@dataclass(frozen=True)
class Person:
    """Somebody who asks for pages, without a browser."""

    dashboard: Dashboard
    headers: Mapping[str, str] = field(default_factory=dict)

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        """Status and text, without following."""
        async with self.dashboard.session.get(
            self.dashboard.base + path, headers={**self.headers, **headers}, allow_redirects=False
        ) as answer:
            return answer.status, await answer.text()

    async def post(self, path: str, data: Mapping[str, str] | None = None, **headers: str) -> tuple[int, str]:
        """Status and text, or where it leads to."""
        async with self.dashboard.session.post(
            self.dashboard.base + path,
            data=dict(data or {}),
            headers={**self.headers, **headers},
            allow_redirects=False,
        ) as answer:
            return answer.status, answer.headers.get("Location") or await answer.text()

    async def sees(self, path: str, *words: str) -> str:
        """The page, once it has all of the words."""

        async def look() -> str | None:
            status, text = await self.get(path)
            assert status < 500, text
            return text if status == 200 and all(word in text for word in words) else None

        return await eventually(look, what=f"{path} shows {words}")


@asynccontextmanager
async def a_dashboard(client: KubeClient, kubeconfig: Path, home: str, **settings: Any) -> AsyncIterator[Dashboard]:
    """One that listens, its runs listed; its ServiceAccount is in the namespace `home`."""
    chosen = Settings(**{"port": 0, "rights_ttl_s": 0, "token_ttl_s": 0, **settings})
    connection = load_connection(str(kubeconfig))
    if chosen.auth != "insecure-own-rights":
        rules = [*RULES["read"], *RULES["readCluster"], *RULES["reviews"]]
        rules += RULES["acting"] if chosen.auth == "header" else []
        connection = signed_in(connection, await a_person(client, home, "dashboard", rules, everywhere=True))
    async with serving(chosen, connection) as port, aiohttp.ClientSession() as session:
        dashboard = Dashboard(f"http://127.0.0.1:{port}", session)
        await eventually(lambda: _is_ready(dashboard), what="the dashboard has listed the runs")
        yield dashboard


async def _is_ready(dashboard: Dashboard) -> bool:
    status, _ = await dashboard.as_("").get("/readyz")
    return status == 200


async def a_person(
    client: KubeClient, namespace: str, name: str, rules: Sequence[Mapping[str, Any]], *, everywhere: bool = False
) -> str:
    """The token of a new ServiceAccount with these rights in its namespace, or in all."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    await client.create(path, {"metadata": {"name": name}})
    subjects = [{"kind": "ServiceAccount", "name": name, "namespace": namespace}]
    within = "" if everywhere else f"/namespaces/{namespace}"
    kind = "ClusterRole" if everywhere else "Role"
    role = f"{name}-{uuid.uuid4().hex[:6]}"
    await client.create(f"{RBAC}{within}/{kind.lower()}s", {"metadata": {"name": role}, "rules": [*rules]})
    binding = {"metadata": {"name": role}, "roleRef": {**GROUP, "kind": kind, "name": role}, "subjects": subjects}
    await client.create(f"{RBAC}{within}/{kind.lower()}bindings", binding)
    answer = await client.create(
        f"{path}/{name}/token", {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    )
    return str(answer["status"]["token"])


def a_history(file: Path, words: Mapping[str, str]) -> str:
    """The URL of a history store, with a run that has left the cluster for each namespace, named by its word."""
    url = f"sqlite:///{file}"
    with closing(open_history(url)) as store:
        for namespace, word in words.items():
            cost = {"amount": "1", "currency": "USD"}
            run = a_finished_run(f"{word}-gone", parameters={"day": f"{word}-day"}, cost=cost)
            run["metadata"]["namespace"] = namespace
            store.write([record_of(run, flow=f"{word}-flow").with_log_tail(f"{word} said so")])
    return url


async def may_see_the_cluster(client: KubeClient, namespace: str, account: str) -> None:
    """Lets a ServiceAccount of the namespace see pools and limits, which are in none."""
    name = f"{account}-{uuid.uuid4().hex[:6]}"
    rules = [{"apiGroups": ["headrace.dev"], "resources": ["workpools", "concurrencylimits"], "verbs": ["get", "list"]}]
    await client.create(f"{RBAC}/clusterroles", {"metadata": {"name": name}, "rules": rules})
    binding = {
        "metadata": {"name": name},
        "roleRef": {**GROUP, "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    }
    await client.create(f"{RBAC}/clusterrolebindings", binding)
