"""
Operators with the rights that the chart gives them, and what they made of these rights.

    rules ──> ServiceAccount with exactly these ──> a kubeconfig for the operator ──> audit log ──> used, denied, unused

    python -m tests.cluster.support.rights FOLDER      after the whole suite: exits with 1 if a right was denied or is unused

The suite may run in several processes, each with control planes of its own: each plane leaves a file in FOLDER.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import uuid
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import orjson
import yaml

from headrace.devcluster.crds import OPERATOR_NAMESPACE
from headrace.kubeapi.client import APPLY_PATCH, KubeClient
from headrace.kubeapi.config import load_connection
from tests.cluster.support.waiting import eventually

RULES = Path(__file__).parents[3] / "charts" / "headrace" / "files" / "operator-rules.yaml"
USED_ENV = "HEADRACE_RIGHTS_USED"
"""Folder in which each plane leaves what operators used; unset: nowhere."""
RBAC = "/apis/rbac.authorization.k8s.io/v1"
REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
API_GROUP = "rbac.authorization.k8s.io"
ACCOUNT = "operator-"
"""How the names of operators' ServiceAccounts begin; what they serve follows."""
USER = f"system:serviceaccount:{OPERATOR_NAMESPACE}:{ACCOUNT}"
AGENT = "headrace-tests"
TOKEN_S = 6 * 3600

T = TypeVar("T")
Rule = Mapping[str, Any]


class Right(NamedTuple):
    """One thing that may be done."""

    verb: str
    group: str
    resource: str
    """With its subresource, if any: `pods/log`."""


READ_ANEW = ("flows", "backfills", "workpools", "concurrencylimits", "automations")
SELDOM = frozenset(Right("get", "headrace.dev", resource) for resource in READ_ANEW)
"""Read when somebody else was quicker with a write, which no test brings about at will: these may stay unused."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What operators did with their rights: each that they used, and each request that they had no right to."""

    used: frozenset[Right]
    denied: tuple[str, ...]


def parts() -> dict[str, list[Rule]]:
    """The chart's rules: `cluster`, `namespaced` and `operatorNamespace`."""
    found: dict[str, list[Rule]] = yaml.safe_load(RULES.read_text())
    return found


def rights(rules: Iterable[Rule]) -> frozenset[Right]:
    """Each right that the rules give."""
    return frozenset(
        Right(verb, group, resource)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    )


def signed_in(kubeconfig: Path, folder: Path, *, served: str, home: str) -> Path:
    """
    A kubeconfig whose user is a ServiceAccount with the chart's rules.

    Args:
        kubeconfig: Of an administrator. One that names no login, as that of a proxy does, is returned as it is.
        served: The namespace that the operator serves; "" for all.
        home: The namespace of its Leases.
    """
    content = yaml.safe_load(kubeconfig.read_text())
    if not any(each.get("user") for each in content.get("users") or ()):
        return kubeconfig
    token = _in_a_thread(_account(kubeconfig, served=served, home=home))
    users = [{"name": each["name"], "user": {"token": token}} for each in content["users"]]
    written = folder / f"operator-{served or 'all'}-{uuid.uuid4().hex[:8]}.kubeconfig"
    written.touch(mode=0o600)
    written.write_text(yaml.safe_dump({**content, "users": users}))
    return written


def _in_a_thread(work: Coroutine[Any, Any, T]) -> T:
    """For callers on an event loop, too."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


async def _account(kubeconfig: Path, *, served: str, home: str) -> str:
    """The token of the ServiceAccount, once the API server knows its rights."""
    name = f"{ACCOUNT}{served or 'all'}"
    accounts = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/serviceaccounts"
    async with KubeClient(load_connection(str(kubeconfig)), user_agent=AGENT) as admin:
        await _apply(admin, f"{accounts}/{name}", {"apiVersion": "v1", "kind": "ServiceAccount"})
        scopes = {"cluster": "", "namespaced": served, "operatorNamespace": home}
        for part, rules in parts().items():
            await _grant(admin, name, part, rules, scopes[part])
        asked = {"spec": {"expirationSeconds": TOKEN_S}}
        token: str = (await admin.create(f"{accounts}/{name}/token", asked))["status"]["token"]
        for part, rules in parts().items():
            await eventually(
                lambda rule=rules[-1], where=scopes[part]: _may(admin, name, rule, where),
                what=f"{name} has the rights {part}",
            )
    return token


async def _grant(admin: KubeClient, account: str, part: str, rules: Sequence[Rule], namespace: str) -> None:
    """Bind the rules to the account: in this namespace, or where none is given everywhere."""
    role, binding = f"headrace-operator-{part.lower()}", f"{account}-{part.lower()}"
    await _apply(admin, f"{RBAC}/clusterroles/{role}", {**_rbac("ClusterRole"), "rules": list(rules)})
    scope = f"{RBAC}/namespaces/{namespace}/rolebindings" if namespace else f"{RBAC}/clusterrolebindings"
    kind = "RoleBinding" if namespace else "ClusterRoleBinding"
    subjects = [{"kind": "ServiceAccount", "name": account, "namespace": OPERATOR_NAMESPACE}]
    reference = {"apiGroup": API_GROUP, "kind": "ClusterRole", "name": role}
    await _apply(admin, f"{scope}/{binding}", {**_rbac(kind), "roleRef": reference, "subjects": subjects})


def _rbac(kind: str) -> dict[str, Any]:
    return {"apiVersion": f"{API_GROUP}/v1", "kind": kind}


async def _apply(admin: KubeClient, path: str, body: Mapping[str, Any]) -> None:
    params = {"fieldManager": AGENT, "force": "true"}
    body = {**body, "metadata": {"name": path.rpartition("/")[2]}}
    await admin.patch(path, body, content_type=APPLY_PATCH, params=params)


async def _may(admin: KubeClient, account: str, rule: Rule, namespace: str) -> bool:
    resource, _, subresource = rule["resources"][-1].partition("/")
    attributes = {
        "verb": rule["verbs"][-1],
        "group": rule["apiGroups"][-1],
        "resource": resource,
        "subresource": subresource,
        "namespace": namespace,
    }
    subject = {"user": f"system:serviceaccount:{OPERATOR_NAMESPACE}:{account}", "resourceAttributes": attributes}
    review = await admin.create(REVIEWS, {"spec": subject})
    return bool(review["status"]["allowed"])


def usage(lines: Iterable[bytes]) -> Usage:
    """What the operators of an audit log used, and what they were denied for want of a right."""
    used, denied = set(), []
    for entry in _entries(lines):
        target = entry["objectRef"]
        resource = "/".join(filter(None, (target.get("resource"), target.get("subresource"))))
        right = Right(entry["verb"], target.get("apiGroup", ""), resource)
        if (entry.get("annotations") or {}).get("authorization.k8s.io/decision") == "allow":
            used.add(right)
        else:
            where = f"{target.get('namespace', '')}/{target.get('name', '')}"
            denied.append(f"{right.verb} {right.resource}.{right.group} {where} as {entry['user']['username']}")
    return Usage(frozenset(used), tuple(denied))


def _entries(lines: Iterable[bytes]) -> Iterator[Any]:
    mark = USER.encode()
    for line in lines:
        if mark not in line or not line.endswith(b"\n"):
            continue
        try:
            entry = orjson.loads(line)
        except orjson.JSONDecodeError:  # an object that nests deeper than any reader follows
            continue
        is_operators = entry["user"]["username"].startswith(USER) and entry.get("userAgent") != AGENT
        if is_operators and "resource" in (entry.get("objectRef") or {}):
            yield entry


def note(audit_log: Path) -> Usage:
    """What the operators of one plane used; it is kept in a file if USED_ENV names a folder."""
    with audit_log.open("rb") as lines:
        found = usage(lines)
    folder = os.environ.get(USED_ENV)
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        kept = {"used": sorted(found.used), "denied": found.denied}
        (Path(folder) / f"{uuid.uuid4().hex}.json").write_text(json.dumps(kept))
    return found


def problems(found: Iterable[Usage]) -> list[str]:
    """A sentence for each right that was missing, and each that nobody used."""
    told = list(found)
    given = rights(rule for rules in parts().values() for rule in rules)
    used = frozenset().union(*(each.used for each in told))
    missing = [f"denied: {text}; add it to {RULES.name}" for each in told for text in each.denied]
    unused = [
        f"unused: {right.verb} {right.resource}.{right.group}; take it out of {RULES.name}"
        for right in given - used - SELDOM
    ]
    return sorted({*missing, *unused})


def kept(folder: Path) -> Iterator[Usage]:
    """What each plane has left."""
    for path in folder.glob("*.json"):
        told = json.loads(path.read_text())
        yield Usage(frozenset(Right(*each) for each in told["used"]), tuple(told["denied"]))


def main(arguments: Sequence[str]) -> int:
    """Exit status: 0 if every right was used and none was missing."""
    found = list(kept(Path(arguments[0])))
    told = problems(found) if found else ["no plane has left what its operators used; did the suite run?"]
    for each in told:
        sys.stderr.write(f"rights of the operator: {each}\n")
    if not told:
        count = len(rights(rule for rules in parts().values() for rule in rules))
        sys.stdout.write(f"rights of the operator: {count}, used but for {len(SELDOM)} of conflicts, none missing\n")
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
