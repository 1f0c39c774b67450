"""What `headrace doctor` looks at, one function a part of the cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from headrace.api import keys
from headrace.cli.cluster import asked, listed, path_of
from headrace.cli.leases import operator_leases, standings
from headrace.cli.printing import counted
from headrace.diagnose.wording import condition, span
from headrace.kubeapi.errors import Forbidden, NotFound, NotServed

if TYPE_CHECKING:
    from headrace.kubeapi.client import KubeClient

Verdict = Literal["ok", "warn", "fail"]
OLDEST: Final = (1, 32)
"""The oldest Kubernetes that the definitions are for (charts/headrace/Chart.yaml)."""
DEFINITIONS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
WEBHOOKS: Final = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
INSTALL: Final = "install headrace's definitions: kubectl apply -f crds/, or the Helm chart"
NEEDED: Final = (
    ("get", keys.GROUP, "flowruns", ""),
    ("list", keys.GROUP, "flowruns", ""),
    ("watch", keys.GROUP, "flowruns", ""),
    ("create", keys.GROUP, "flowruns", ""),
    ("patch", keys.GROUP, "flowruns", ""),
    ("list", keys.GROUP, "deployments", ""),
    ("patch", keys.GROUP, "deployments", ""),
    ("list", keys.GROUP, "flows", ""),
    ("list", keys.GROUP, "backfills", ""),
    ("create", keys.GROUP, "backfills", ""),
    ("list", keys.GROUP, "workpools", ""),
    ("list", keys.GROUP, "concurrencylimits", ""),
    ("get", "", "pods", ""),
    ("get", "", "pods", "log"),
    ("list", "", "events", ""),
)
"""What the commands of this program ask for: verb, group, resource and subresource."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what it is, how it is, and what to do where it is not well."""

    subject: str
    verdict: Verdict
    told: str
    fix: str = ""

    def as_object(self) -> dict[str, str]:
        """For other programs."""
        return {"subject": self.subject, "verdict": self.verdict, "message": self.told, "fix": self.fix}


async def cluster_checked(client: KubeClient) -> list[Finding]:
    """Whether it answers, and is new enough. Raises: Unreachable, ClusterRefusal."""
    version = await asked("ask the cluster for its version", client.get("/version"))
    text = str(version.get("gitVersion"))
    numbers = tuple(
        int("".join(filter(str.isdigit, str(version.get(part) or "0"))) or 0) for part in ("major", "minor")
    )
    where = f"{client.connection.server} answers; Kubernetes {text}"
    if numbers < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        return [Finding("cluster", "fail", where, f"upgrade to Kubernetes {oldest} or later; the definitions need it")]
    return [Finding("cluster", "ok", where)]


async def rights_checked(client: KubeClient, namespace: str) -> list[Finding]:
    """What the caller may not do of what the commands ask for."""
    answers = await asyncio.gather(*(_may(client, namespace, right) for right in NEEDED))
    refused = [_told(right) for right, allowed in zip(NEEDED, answers, strict=True) if not allowed]
    if not refused:
        return [Finding("rights", "ok", f"you may do in namespace {namespace} all that the commands ask for")]
    fix = f"ask an administrator for a role in namespace {namespace} with these rights, if you need them"
    return [Finding("rights", "warn", f"you may not: {', '.join(refused)}", fix)]


async def definitions_checked(client: KubeClient) -> list[Finding]:
    """Whether every kind is served, and its definition knows what this version writes."""
    from headrace.api.crd import custom_resource_definitions  # noqa: PLC0415 - the models, for this command alone

    wanted = {each["metadata"]["name"]: each for each in custom_resource_definitions()}
    found = await asyncio.gather(*(_definition(client, name) for name in wanted))
    missing, old = [], []
    for (name, definition), there in zip(wanted.items(), found, strict=True):
        if there is None:
            missing.append(name)
        elif lacking := next(_lacking(_schema(definition), _schema(there)), ""):
            old.append(f"{definition['spec']['names']['kind']} lacks {lacking}")
    if missing:
        return [Finding("definitions", "fail", f"not installed: {', '.join(missing)}", INSTALL)]
    if old:
        fix = "they are older than this command: upgrade headrace in the cluster, or use a command of its version"
        return [Finding("definitions", "warn", "; ".join(old), fix)]
    return [Finding("definitions", "ok", f"{counted(len(wanted), 'kind')}, as this version knows them")]


async def operator_checked(client: KubeClient, namespace: str, served: str, *, now: datetime) -> list[Finding]:
    """Whether somebody works: the Lease of the leader, or of each shard, has not run out."""
    found = standings(await operator_leases(client, namespace, served), now)
    if not found:
        fix = f"install the operator, or name its namespace: --operator-namespace (looked in {namespace})"
        return [Finding("operator", "fail", f"no operator has ever served namespace {served}: there is no Lease", fix)]
    findings = []
    for each in found:
        since = f"renewed {span(each.age)} ago" if each.age is not None else "never renewed"
        if each.is_fresh:
            findings.append(Finding("operator", "ok", f"{each.holder} holds {each.name}, {since}"))
        else:
            holder = each.holder or "nobody"
            fix = f"look at its pods and their log: kubectl get pods -n {namespace}; nothing is launched meanwhile"
            findings.append(Finding("operator", "fail", f"nobody works: {each.name} is of {holder}, {since}", fix))
    return findings


async def webhooks_checked(client: KubeClient) -> list[Finding]:
    """Whether those that concern our kinds can be reached; there need not be any."""
    configurations = await listed(client, WEBHOOKS)
    hooks = [hook for each in configurations for hook in each.get("webhooks") or () if _is_ours(hook)]
    if not hooks:
        return [Finding("webhook", "ok", "none is installed; the operator checks by itself")]
    return [await _webhook_checked(client, hook) for hook in hooks]


async def pools_checked(client: KubeClient) -> list[Finding]:
    """Whether WorkPools have nodes."""
    pools = await listed(client, path_of(keys.WORKPOOLS))
    if not pools:
        return [Finding("pools", "ok", "there is no WorkPool: runs go wherever the scheduler puts them")]
    findings = [_pool_finding(pool) for pool in pools if condition(pool, "Ready").get("status") != "True"]
    return findings or [Finding("pools", "ok", f"{counted(len(pools), 'WorkPool')} with nodes that are ready")]


async def limits_checked(client: KubeClient) -> list[Finding]:
    """Whether runs wait for a ConcurrencyLimit that is used up."""
    limits = await listed(client, path_of(keys.CONCURRENCYLIMITS))
    waited = [each for each in limits if (each.get("status") or {}).get("waiting")]
    if not waited:
        return [Finding("limits", "ok", f"{counted(len(limits), 'ConcurrencyLimit')}, and no run waits for one")]
    return [
        Finding(
            "limits",
            "warn",
            f"{counted(each['status']['waiting'], 'run')} wait for {each['metadata']['name']}",
            f"headrace limits {each['metadata']['name']} shows who holds it; raise spec.slots if it is too small",
        )
        for each in waited
    ]


async def _may(client: KubeClient, namespace: str, right: tuple[str, str, str, str]) -> bool:
    verb, group, resource, subresource = right
    attributes = {
        "namespace": namespace,
        "verb": verb,
        "group": group,
        "resource": resource,
        "subresource": subresource,
    }
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {name: value for name, value in attributes.items() if value}},
    }
    answer = await asked(
        "ask for your rights", client.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
    )
    return bool(answer["status"]["allowed"])


def _told(right: tuple[str, str, str, str]) -> str:
    verb, _, resource, subresource = right
    return f"{verb} {resource}{f'/{subresource}' if subresource else ''}"


async def _definition(client: KubeClient, name: str) -> dict[str, Any] | None:
    """As it is installed; where definitions may not be read, that the kind is served says enough."""
    try:
        return await client.get(f"{DEFINITIONS}/{name}")
    except NotFound:
        return None
    except Forbidden:
        return await _served(client, name.partition(".")[0])


async def _served(client: KubeClient, plural: str) -> dict[str, Any] | None:
    """An empty definition of a kind that is served; None where it is not."""
    try:
        known = await client.get(f"/apis/{keys.API_VERSION}")
    except NotServed:
        return None
    return {} if any(each["name"] == plural for each in known.get("resources") or ()) else None


def _schema(definition: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Of our version; None where it may not be read."""
    versions: Sequence[Mapping[str, Any]] = (definition.get("spec") or {}).get("versions") or ()
    return next((each["schema"]["openAPIV3Schema"] for each in versions if each["name"] == keys.VERSION), None)


def _lacking(wanted: Mapping[str, Any] | None, there: Mapping[str, Any] | None, path: str = "") -> Iterator[str]:
    """The fields that one schema has and the other lacks."""
    if wanted is None or there is None:
        return
    have = there.get("properties") or {}
    for name, schema in (wanted.get("properties") or {}).items():
        at = f"{path}.{name}".lstrip(".")
        if name not in have:
            yield at
        else:
            yield from _lacking(schema, have[name], at)
    if isinstance(wanted.get("items"), Mapping):
        yield from _lacking(wanted["items"], there.get("items") or {}, f"{path}[]")


def _is_ours(hook: Mapping[str, Any]) -> bool:
    return any(keys.GROUP in (rule.get("apiGroups") or ()) for rule in hook.get("rules") or ())


async def _webhook_checked(client: KubeClient, hook: Mapping[str, Any]) -> Finding:
    name, config = str(hook["name"]), hook.get("clientConfig") or {}
    service = config.get("service")
    if service is None:
        return Finding("webhook", "ok", f"{name} is called at {config.get('url')}")
    path = f"/apis/discovery.k8s.io/v1/namespaces/{service['namespace']}/endpointslices"
    slices = await listed(client, path, {"labelSelector": f"kubernetes.io/service-name={service['name']}"})
    ready = sum(
        (end.get("conditions") or {}).get("ready", True) for each in slices for end in each.get("endpoints") or ()
    )
    where = f"service {service['namespace']}/{service['name']}"
    if ready:
        return Finding("webhook", "ok", f"{name}: {where} has {counted(ready, 'endpoint')}")
    stops = hook.get("failurePolicy", "Fail") == "Fail"
    fix = f"start what answers at {where}, or remove the webhook; " + (
        "until then nothing can be created" if stops else "until then the operator checks alone"
    )
    return Finding("webhook", "fail" if stops else "warn", f"{name}: {where} has no endpoint", fix)


def _pool_finding(pool: Mapping[str, Any]) -> Finding:
    ready, name = condition(pool, "Ready"), pool["metadata"]["name"]
    reason = ready.get("reason") or "not looked at"
    fix = "an autoscaler may add nodes when a run asks; else check spec.nodeSelector: kubectl describe wp " + name
    return Finding("pools", "warn", f"{name}: {reason} {ready.get('message') or ''}".rstrip(), fix)
