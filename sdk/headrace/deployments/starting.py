"""
Starts a run of a Deployment once, and waits for it.

    cause ──> name ──> created, or there already? ── ours, and it succeeded or goes on ──> watched to its end
                ^                                 └─ failed in an earlier attempt ──┐
                └────────────────────── the next go: `-r2`, `-r3`, … <──────────────┘

The cause is the run that asks, the Deployment, and what is asked for. So a flow that was killed at any instant finds what it
began, and equal calls of one attempt take the goes one after the other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from headrace.api import keys
from headrace.deployments.claims import Claims
from headrace.deployments.naming import keyed_name, mark_of, new_name
from headrace.deployments.request import Request
from headrace.deployments.run import DeploymentRun, run_of
from headrace.engine import logs
from headrace.engine.clock import Clock
from headrace.engine.scope import CURRENT
from headrace.errors import TimedOut, UsageError
from headrace.flowruns import (
    ATTEMPT_ANNOTATION,
    Api,
    FlowRun,
    FlowRunsOf,
    is_of,
    is_taken_up,
    path_of,
    told_taken_up,
)
from headrace.podapi import PodApiError
from headrace.remote.naming import run_name
from headrace.tracing.context import current_traceparent

STARTED_BY_TASK_ANNOTATION: Final = "headrace.dev/started-by-task"
"""On a FlowRun that a flow started: the task run that waits for it."""
SHOWN: Final = 20
"""Names of Deployments that an error lists."""
CONTENDED: Final = frozenset({"WaitingForSlot", "WaitingForLimit", "WaitingForPool", "WaitingForQuota"})
"""Reasons of a run that waits for what others hold, such as the one that waits for it."""


class StillRuns(TimedOut):
    """The run did not end in the time that there was. `run` is as it was then."""

    def __init__(self, run: DeploymentRun, timeout_s: float) -> None:
        super().__init__(f"waiting for FlowRun {run.namespace}/{run.name}, which is {run.phase},", timeout_s)
        self.run = run


@dataclass(frozen=True, slots=True)
class Origin:
    """
    The run whose flow asks.

    Args:
        root: Name of the run at the top.
        deployment, flow: What it is a run of; `deployment` may be empty.
    """

    namespace: str
    run: str
    uid: str
    root: str
    attempt: int
    deployment: str
    flow: str


class Starter:
    """
    The DeploymentRuns of one run; of a person's program, where `origin` is None.

    Args:
        namespace: Of Deployments that are named without one.
        now: Aware.
    """

    def __init__(
        self, api: Api, origin: Origin | None, *, namespace: str, clock: Clock, now: Callable[[], datetime]
    ) -> None:
        self._api = api
        self._origin = origin
        self._namespace = namespace
        self._clock = clock
        self._now = now
        self._claims = Claims()
        self._open: dict[int, tuple[Request, FlowRun]] = {}
        """What is waited for, by the identity of the request."""

    def carried_out(self, request: Request) -> DeploymentRun:
        """
        The run: as it was when it was started, or when it has succeeded.

        Raises: DeploymentRunFailed: it ended otherwise. StillRuns: it has not ended in time. UsageError: there is no such
            Deployment, a right is missing, or it would wait for itself. PodApiError: the API server refuses it.
        """
        until_s = None if request.timeout_s is None else self._clock.now_s() + request.timeout_s
        runs = self._runs(request.namespace or self._namespace)
        deployment = self._deployment(request, runs)
        self._refuse_waiting_for_itself(request, deployment)
        found = self._claimed(request, runs, deployment)
        if not request.waits:
            return run_of(found)
        self._open[id(request)] = request, found
        try:
            ended = runs.ended(found, until_s=until_s, seen=_Told(self._tell))
        except Exception:
            self._let_go(request)
            raise
        self._open.pop(id(request), None)
        return _outcome(run_of(found), ended, request)

    def waited(self, run: DeploymentRun, timeout_s: float | None) -> DeploymentRun:
        """
        The run when it has ended, however it did; as it is after that time.

        Raises: UsageError: a right is missing. PodApiError: the API server refuses it.
        """
        until_s = None if timeout_s is None else self._clock.now_s() + timeout_s
        runs = self._runs(run.namespace)
        found = {"metadata": {"name": run.name, "uid": run.uid}}
        ended = runs.ended(found, until_s=until_s, seen=_Told(self._tell))
        if ended is None:
            return _deleted(run)
        return run if ended is found else run_of(ended)

    def give_up(self, request: Request) -> None:
        """
        Lets go of the run that the request waits for, and cancels it if it was to end with whoever asked.

        In a pod that is the operator's part: only that knows a run that is cancelled from a pod that is lost. In another
        namespace it does not do it.
        """
        found = self._let_go(request)
        if found is None or not request.as_subflow or not self._is_ours_to_cancel(found):
            return
        metadata = found["metadata"]
        try:
            self._api.patch(path_of(metadata["namespace"], metadata["name"]), {"spec": {"cancel": True}})
        except PodApiError as error:
            message = f"FlowRun {metadata['namespace']}/{metadata['name']} could not be cancelled: {error}"
            self._tell("deployment_run_not_cancelled", message)

    def _let_go(self, request: Request) -> FlowRun | None:
        """What was waited for; whoever asks the same again goes on with it."""
        _, found = self._open.pop(id(request), (request, None))
        if found is not None:
            self._claims.give_back(found["metadata"]["name"])
        return found

    def _is_ours_to_cancel(self, found: FlowRun) -> bool:
        origin = self._origin
        if origin is None:
            return True
        if found["metadata"]["namespace"] == origin.namespace:
            return False
        try:
            own = self._api.get(path_of(origin.namespace, origin.run))
        except PodApiError:
            return False
        return bool(own["spec"].get("cancel") or own["metadata"].get("deletionTimestamp"))

    def _runs(self, namespace: str) -> FlowRunsOf:
        forbidden = partial(self._forbidden, namespace)
        return FlowRunsOf(self._api, namespace, self._tell, forbidden, self._clock)

    def _deployment(self, request: Request, runs: FlowRunsOf) -> Mapping[str, Any]:
        """The Deployment; empty where it may not be read. Raises: UsageError: there is none."""
        collection = f"/apis/{keys.API_VERSION}/namespaces/{runs.namespace}/{keys.DEPLOYMENTS.plural}"

        def asked() -> Mapping[str, Any] | None:
            try:
                return self._api.get(f"{collection}/{request.deployment}")
            except PodApiError as error:
                if error.status not in {403, 404}:
                    raise
                return {} if error.status == 403 else None

        found = runs.patiently(asked)
        if found is None:
            raise UsageError(
                f'run_deployment("{request.deployment}"): there is no Deployment of that name in namespace '
                f"{runs.namespace}{self._known(collection)}"
            )
        return found

    def _known(self, collection: str) -> str:
        """Those that are there, for an error; empty where they may not be listed."""
        try:
            items = self._api.get(collection).get("items") or ()
        except PodApiError:
            return "; kubectl get fdep -A lists those that are there"
        names = sorted(each["metadata"]["name"] for each in items)
        more = ", …" if len(names) > SHOWN else ""
        return f" (known: {', '.join(names[:SHOWN])}{more})" if names else ", which has none"

    def _refuse_waiting_for_itself(self, request: Request, deployment: Mapping[str, Any]) -> None:
        origin = self._origin
        concurrency = (deployment.get("spec") or {}).get("concurrency") or {}
        is_own = origin is not None and (request.namespace or origin.namespace, request.deployment) == (
            origin.namespace,
            origin.deployment,
        )
        forever = request.waits and request.timeout_s is None
        if is_own and forever and concurrency.get("limit") == 1 and concurrency.get("onConflict") != "Skip":
            raise UsageError(
                f'run_deployment("{request.deployment}"): this run is of the same Deployment, whose spec.concurrency.limit is '
                "1: each would wait for the other; raise the limit, or do not wait for it (wait=False)"
            )

    def _claimed(self, request: Request, runs: FlowRunsOf, deployment: Mapping[str, Any]) -> FlowRun:
        """The FlowRun of this request: one that is there already, or a new one."""
        if self._origin is None or request.key is not None:
            name = self._plain_name(request)
            body = self._manifest(request, runs.namespace, name, deployment)
            return self._same_cause(request, _there(runs, body))
        return self._next_go(request, runs, deployment, self._origin)

    def _plain_name(self, request: Request) -> str:
        if request.key is not None:
            return keyed_name(request.deployment, request.key)
        return new_name(request.deployment, self._now())

    def _same_cause(self, request: Request, found: FlowRun) -> FlowRun:
        spec, name = found["spec"], found["metadata"]["name"]
        if spec.get("idempotencyKey") != request.key or not _is_of_deployment(spec, request):
            raise UsageError(
                f'run_deployment("{request.deployment}"): FlowRun {name} is there and is of another cause; delete it, or use '
                "another idempotency_key"
            )
        if dict(spec.get("parameters") or {}) != dict(request.parameters):
            message = f"FlowRun {name} has this idempotency key and other parameters; what it did counts"
            self._tell("deployment_run_differs", message)
        return found

    def _next_go(self, request: Request, runs: FlowRunsOf, deployment: Mapping[str, Any], origin: Origin) -> FlowRun:
        cause = (request.parameters, request.scheduled_time, request.priority, request.as_subflow)
        mark = mark_of(origin.uid, request.part, runs.namespace, request.deployment, *cause)
        go = 0
        while True:
            go += 1
            name = run_name(origin.run, f"{request.deployment}-{mark}", go)
            if not self._claims.take(name):  # by an equal call, which has its own run
                continue
            try:
                found = _there(runs, self._manifest(request, runs.namespace, name, deployment))
            except BaseException:
                self._claims.give_back(name)
                raise
            starter = found["spec"].get("startedBy") or {}
            is_ours = starter.get("uid") == origin.uid and _is_of_deployment(found["spec"], request)
            if is_ours and is_taken_up(found, attempt=origin.attempt):
                if not is_of(found, origin.attempt):
                    self._tell("deployment_run_taken_up", told_taken_up(found))
                return found

    def _manifest(self, request: Request, namespace: str, name: str, deployment: Mapping[str, Any]) -> dict[str, Any]:
        flow = ((deployment.get("spec") or {}).get("flowRef") or {}).get("name")
        origin, traceparent = self._origin, current_traceparent()
        labels = {keys.DEPLOYMENT_LABEL: request.deployment, keys.FLOW_LABEL: flow}
        annotations = {keys.TRACEPARENT_ANNOTATION: traceparent}
        if origin:
            labels |= {keys.STARTED_BY_LABEL: origin.run, keys.ROOT_LABEL: origin.root}
            annotations[ATTEMPT_ANNOTATION] = str(origin.attempt)
            annotations[STARTED_BY_TASK_ANNOTATION] = getattr(CURRENT.get(), "name", None)
        spec = {
            "deploymentRef": {"name": request.deployment},
            "parameters": dict(request.parameters) or None,
            "scheduledTime": request.scheduled_time,
            "idempotencyKey": request.key,
            "priority": request.priority,
            "startedBy": origin and _started_by(origin, namespace, request),
        }
        return {
            "apiVersion": keys.API_VERSION,
            "kind": keys.FLOWRUNS.kind,
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": _without_none(labels),
                "annotations": _without_none(annotations),
            },
            "spec": _without_none(spec),
        }

    def _forbidden(self, namespace: str, error: PodApiError) -> str:
        verbs = "the verbs create, get, watch and patch on flowruns.headrace.dev, and get on deployments.headrace.dev"
        if self._origin is None:
            return (
                f"your user may not do what run_deployment() needs ({error.message}): in namespace {namespace} {verbs}"
            )
        whose = f' for the ServiceAccount of Flow "{self._origin.flow}" in namespace {self._origin.namespace}'
        return (
            f"run_deployment() is refused ({error.message}); make a Role in namespace {namespace} with {verbs},{whose}"
        )

    def _tell(self, event: str, message: str, *, level: int | None = None, **facts: Any) -> None:
        run = CURRENT.get()
        if run is not None:
            logs.emit(LEVELS.get(event, logging.INFO) if level is None else level, run, event, message, **facts)


LEVELS: Final = {
    "api_unreachable": logging.WARNING,
    "deployment_run_differs": logging.WARNING,
    "deployment_run_not_cancelled": logging.WARNING,
}
"""Of events that are no mere information."""


class _Told:
    """Tells each phase and reason of a run once."""

    def __init__(self, tell: Callable[..., None]) -> None:
        self._tell = tell
        self._last: tuple[str, str] | None = None

    def __call__(self, found: FlowRun) -> None:
        run = run_of(found)
        now = run.phase, run.reason
        if now in {self._last, ("Pending", "")}:
            return
        self._last = now
        level = logging.WARNING if run.reason in CONTENDED else logging.INFO
        hint = "; if it waits for what this run holds, neither goes on" if run.reason in CONTENDED else ""
        facts = {"deployment_run": run.name, "phase": run.phase, "reason": run.reason}
        message = f"FlowRun {run.name} is {run.phase}: {run.message or run.reason}{hint}"
        self._tell("deployment_run_changed", message, level=level, **facts)


def _outcome(started: DeploymentRun, ended: FlowRun | None, request: Request) -> DeploymentRun:
    run = _deleted(started) if ended is None else run_of(ended)
    if not run.finished:
        raise StillRuns(run, request.timeout_s or 0.0)
    if run.phase != "Succeeded":
        failure = run.failure()
        failure.deployment_run = run
        raise failure
    return run


def _deleted(run: DeploymentRun) -> DeploymentRun:
    return replace(run, phase="Cancelled", reason="Deleted", message="somebody deleted it")


def _there(runs: FlowRunsOf, body: Mapping[str, Any]) -> FlowRun:
    while True:
        found = runs.created(body, "deployment_run_created")
        if found is not None:  # else it was there and is gone: the name is free
            return found


def _started_by(origin: Origin, namespace: str, request: Request) -> dict[str, Any]:
    is_elsewhere = namespace != origin.namespace
    return _without_none(
        {
            "namespace": origin.namespace if is_elsewhere else None,
            "name": origin.run,
            "uid": origin.uid,
            "root": origin.root,
            "onEnd": "Cancel" if request.as_subflow and not is_elsewhere else None,
        }
    )


def _is_of_deployment(spec: Mapping[str, Any], request: Request) -> bool:
    return bool((spec.get("deploymentRef") or {}).get("name") == request.deployment)


def _without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}


def wall_clock() -> datetime:
    """The time in UTC; only a name is made of it."""
    import time  # noqa: PLC0415 - for people's programs

    return datetime.fromtimestamp(time.time(), UTC)
