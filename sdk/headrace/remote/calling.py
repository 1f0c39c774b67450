"""In the flow's pod: a task with a pod of its own is sent out, waited for, and ends here as it did there."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial, update_wrapper
from pathlib import Path
from types import MethodType
from typing import Any

from headrace.engine import logs
from headrace.engine.description import Description
from headrace.engine.keeping.policies import Keeping
from headrace.engine.retries import NO_RETRIES
from headrace.engine.scope import CURRENT, TaskRun
from headrace.engine.session import current_session
from headrace.engine.transacting.current import TRANSACTION
from headrace.engine.ways import Arguments
from headrace.errors import NoSuchResult, RemoteTaskFailed, ResultsError, UsageError
from headrace.flowruns import Api, FlowRun
from headrace.off_loop import off_the_loop
from headrace.podapi import PodApi
from headrace.remote import naming
from headrace.remote.flow_runs import FlowRuns, Parent, manifest
from headrace.remote.references import reference
from headrace.results import Storage, open_storage
from headrace.results.cargo import ARGUMENTS, VALUE, Cargo, Torn, opened, packed, raised
from headrace.results.places import without_password


@dataclass(frozen=True, slots=True)
class TaskPods:
    """
    Makes pods of their own for tasks: the Elsewhere of a flow's pod.

    Args:
        results_url: Where arguments and results go. Empty: nowhere, and such a task is refused.
        entrypoint: Of the flow.
        variables: The environment, which says how to reach the API.
        connect: Opens the API. Raises: UsageError: it cannot be reached from here.
    """

    parent: Parent
    results_url: str
    entrypoint: str
    code_dir: Path | None
    variables: Mapping[str, str]
    connect: Callable[[Mapping[str, str]], Api] = PodApi.from_environment

    def stand_in(self, of: Description) -> Description:
        """As promised by Elsewhere. Retries and timeouts are those of the task, in its pod."""
        call: Callable[..., Any] = partial(self._call, of)
        if of.is_async:
            call = off_the_loop(call)
        # What the task's pod has stored is there for later attempts already: no checkpoint beside it.
        keeping = replace(of.keeping or Keeping(), checkpoint=False)
        return replace(
            of, function=_like(of.function, call), retries=NO_RETRIES, timeout_s=None, pod=None, keeping=keeping
        )

    def _call(self, of: Description, *args: Any, **kwargs: Any) -> Any:
        inspect.signature(of.function).bind(*args, **kwargs)  # a wrong call is told here, as for any task
        run = CURRENT.get()
        assert isinstance(run, TaskRun)
        return Errand(self, of, run).done((args, kwargs))


def task_pods(variables: Mapping[str, str], code_dir: Path | None) -> TaskPods:
    """As the environment of a flow's pod describes them (docs/pod-contract.md)."""
    session = current_session()
    parent = Parent(
        namespace=session.namespace,
        name=session.flow_run,
        uid=session.flow_run_uid,
        flow=session.flow,
        revision=variables.get("HEADRACE_FLOW_REVISION", ""),
        attempt=session.attempt,
        parameters=session.parameters,
        scheduled_time=variables.get("HEADRACE_SCHEDULED_TIME", ""),
    )
    entrypoint = variables.get("HEADRACE_ENTRYPOINT", "")
    return TaskPods(parent, variables.get("HEADRACE_RESULTS_URL", ""), entrypoint, code_dir, variables)


@dataclass(frozen=True, slots=True)
class Errand:
    """One call of one task."""

    pods: TaskPods
    of: Description
    run: TaskRun

    def done(self, arguments: Arguments) -> Any:
        """
        What the task returned, in its pod.

        Raises: what the task raised; RemoteTaskFailed: it ended otherwise. UsageError: the Flow lacks what it takes.
            ResultsError: the storage failed.
        """
        folder = self._folder()
        storage = open_storage(folder)
        api = self._api()
        parcel = self._packed(arguments)
        mark = naming.digest(parcel.payload)
        if not storage.exists(f"input-{mark}"):
            storage.put(f"input-{mark}", parcel.sealed())
        runs = FlowRuns(api, self.pods.parent, tell=self._tell, clock=current_session().clock)
        plan = partial(self._plan, folder, mark)
        claimed = runs.claimed(
            plan, has_result=lambda run: storage.exists(naming.split(run["spec"]["task"]["output"])[1])
        )
        return self._outcome(runs.ended(claimed, self.run.name), storage)

    def _folder(self) -> str:
        parent, url = self.pods.parent, self.pods.results_url
        if not url:
            raise UsageError(
                f'task "{self.of.name}": a task with a pod of its own passes arguments and result through storage; set '
                f'spec.results.url of Flow "{parent.flow}", such as s3://bucket/prefix or file:///mnt/results'
            )
        return naming.joined(url, naming.task_folder(parent.namespace, parent.name, parent.uid, self.run.name))

    def _api(self) -> Api:
        try:
            return self.pods.connect(self.pods.variables)
        except UsageError as error:
            raise UsageError(
                f'task "{self.of.name}": it gets a pod of its own through the Kubernetes API; set spec.apiAccess: Enabled '
                f'of Flow "{self.pods.parent.flow}" ({error})'
            ) from error

    def _packed(self, arguments: Arguments) -> Cargo:
        args, kwargs = list(arguments[0]), dict(arguments[1])
        if isinstance(self.of.function, MethodType):
            args.insert(0, self.of.function.__self__)
        what = f'task "{self.of.name}": its arguments'
        return packed({"args": args, "kwargs": kwargs}, ARGUMENTS, what=what, task_run=self.run.name)

    def _plan(self, folder: str, mark: str, go: int) -> Mapping[str, Any]:
        pods = self.pods
        assert self.of.pod is not None
        shown = without_password(
            folder
        )  # whoever may read the FlowRun reads it; the task's pod has the password itself
        task = {
            "name": self.of.name,
            "function": reference(self.of, entrypoint=pods.entrypoint, code_dir=pods.code_dir),
            "input": naming.joined(shown, f"input-{mark}"),
            "output": naming.joined(shown, f"output-{mark}-{go}"),
            **self.of.pod.spec(),
        }
        return manifest(pods.parent, naming.run_name(pods.parent.name, self.run.name, go), task)

    def _outcome(self, run: FlowRun, storage: Storage) -> Any:
        status, name = run.get("status") or {}, run["metadata"]["name"]
        failed = partial(RemoteTaskFailed, self.run.name, self.pods.parent.namespace, name)
        reason, message = (
            str(status.get("reason") or status["phase"]),
            str(status.get("message") or "it does not say why"),
        )
        if status["phase"] not in {"Succeeded", "Failed"}:
            raise failed(reason=reason, message=message)
        try:
            cargo = opened(storage.get(naming.split(run["spec"]["task"]["output"])[1]))
            if status["phase"] == "Succeeded" and cargo.kind == VALUE:
                _let_go_with_transaction(run)
                return self._value(cargo)
            outcome = raised(cargo)
        except NoSuchResult as error:
            if status["phase"] == "Succeeded":
                raise failed(reason="ResultMissing", message=str(error)) from error
            raise failed(reason=reason, message=message) from None
        except Torn as error:
            raise failed(reason="ResultUnreadable", message=f"its result is not whole: {error}") from error
        if outcome.error is None:
            raise failed(reason=reason, message=f"{outcome.told}\n{outcome.traceback}")
        outcome.error.add_note(f"raised in FlowRun {self.pods.parent.namespace}/{name}:\n{outcome.traceback}")
        raise outcome.error

    def _value(self, cargo: Cargo) -> Any:
        try:
            return cargo.content()
        except Exception as error:
            raise ResultsError(
                self.pods.results_url,
                self.run.name,
                f"the result cannot be unpickled here ({type(error).__name__}: {error}); flow and task must import the "
                "same classes: put them into a module of their own",
            ) from error

    def _tell(self, event: str, message: str) -> None:
        level = logging.WARNING if event == "api_unreachable" else logging.INFO
        logs.emit(level, self.run, event, message)


def _let_go_with_transaction(run: FlowRun) -> None:
    """A transaction that is rolled back takes the result away, which would stand for the task in a later attempt."""
    transaction = TRANSACTION.get()
    if transaction is not None:
        transaction.outputs.append(naming.split(run["spec"]["task"]["output"]))


def _like(function: Callable[..., Any], call: Callable[..., Any]) -> Callable[..., Any]:
    """`call` with the name and the signature of the function, which messages show."""
    return update_wrapper(_wrapped(call), function)


def _wrapped(call: Callable[..., Any]) -> Callable[..., Any]:
    def stand_in(*args: Any, **kwargs: Any) -> Any:
        return call(*args, **kwargs)

    return stand_in
