"""`run_deployment`, as authors write it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from headrace.deployments.run import DeploymentRun
from headrace.engine.description import Description
from headrace.errors import DeploymentRunFailed, TimedOut
from headrace.limits.blocks import refuse_coroutine

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.deployments.request import Request


class DeploymentOptions(TypedDict, total=False):
    """Options of run_deployment()."""

    wait: bool
    """False returns as soon as the run is created. Absent: its end is waited for."""
    timeout_seconds: float | None
    """How long to wait; then the run is returned as it is, and goes on. 0: not at all. Absent: as long as it takes."""
    as_subflow: bool | None
    """Whether the run is cancelled when the run of the flow that started it ends. Absent: if it is waited for."""
    idempotency_key: str | None
    """Names the cause: there is one run of the Deployment with this key, whoever asks for it. Absent: the caller is it."""
    scheduled_time: datetime | None
    """The time that the run stands for, aware. Absent: none."""
    priority: int | None
    """Higher goes first. Absent: the Deployment's."""


class RunDeployment:
    """
    Starts a run of a Deployment: `run = run_deployment("load", {"day": "2026-01-01"})`, in an `async def`
    `await run_deployment.aio("load", …)`; then `run.result()`.
    """

    def __call__(
        self, name: str, parameters: Mapping[str, Any] | None = None, **options: Unpack[DeploymentOptions]
    ) -> DeploymentRun:
        """
        Starts a run of a Deployment and waits for its end. A run that fails raises nothing here: ask for its `result()`.

        In a flow it counts as a task run, and a later attempt of the flow finds the run that an earlier one has begun.

        Args:
            name: Of the Deployment; "team-b/nightly" is one of another namespace.
            parameters: They win over the Deployment's and the Flow's.
            wait: False: return as soon as the run is created. Absent: wait for its end.
            timeout_seconds: How long to wait; then the run is returned as it is, and goes on. Absent: as long as it takes.
            as_subflow: Whether it is cancelled when the run that started it ends. Absent: if it is waited for.
            idempotency_key: There is one run of the Deployment with this key, whoever asks. Absent: the caller is the cause.
            scheduled_time: The time that the run stands for, aware. Absent: none.
            priority: Higher goes first. Absent: the Deployment's.
        Raises: UsageError: an argument cannot be one, there is no such Deployment, or a right is missing.
        """
        from headrace.deployments.request import requested  # noqa: PLC0415 - what starts runs is loaded by the first call
        from headrace.engine import execution  # noqa: PLC0415 - as above

        refuse_coroutine(inspect.currentframe(), "await run_deployment.aio(…)")
        request = requested(name, parameters, options)
        try:
            found: DeploymentRun = execution.call(_described(request, start), ((request,), {}))
        except (DeploymentRunFailed, TimedOut) as error:
            found = _outcome(error)
        return found

    async def aio(
        self, name: str, parameters: Mapping[str, Any] | None = None, **options: Unpack[DeploymentOptions]
    ) -> DeploymentRun:
        """The same for `async def`: the event loop stays free."""
        from headrace.deployments.request import requested  # noqa: PLC0415 - as above
        from headrace.engine import execution  # noqa: PLC0415 - as above

        request = requested(name, parameters, options)
        try:
            found: DeploymentRun = await execution.call_on_loop(_described(request, start_on_loop), ((request,), {}))
        except (DeploymentRunFailed, TimedOut) as error:
            found = _outcome(error)
        return found


run_deployment = RunDeployment()


def start(request: Request) -> DeploymentRun:
    """What the task run does."""
    from headrace.deployments.here import starter_here  # noqa: PLC0415 - as above
    from headrace.engine.ways import is_cancellation  # noqa: PLC0415 - as above

    starter = starter_here()
    try:
        found: DeploymentRun = starter.carried_out(request)
    except BaseException as error:
        if is_cancellation(error):
            starter.give_up(request)
        raise
    return found


async def start_on_loop(request: Request) -> DeploymentRun:
    """The same beside an event loop."""
    import asyncio  # noqa: PLC0415 - whoever awaits has it

    from headrace.deployments.here import starter_here  # noqa: PLC0415 - as above
    from headrace.off_loop import off_the_loop  # noqa: PLC0415 - as above

    try:
        found: DeploymentRun = await off_the_loop(start)(request)
    except asyncio.CancelledError:
        await off_the_loop(starter_here().give_up)(request)
        raise
    return found


def _described(request: Request, function: Any) -> Description:
    name = f"run-{request.deployment}"
    return Description(kind="task", name=name, function=function, is_async=inspect.iscoroutinefunction(function))


def _outcome(error: Exception) -> DeploymentRun:
    """The run that has ended badly, or has not ended in time. Raises: the error, if it is another one."""
    from headrace.deployments.starting import StillRuns  # noqa: PLC0415 - as above

    found = error.run if isinstance(error, StillRuns) else None
    if isinstance(error, DeploymentRunFailed):
        found = error.deployment_run
    if found is None:
        raise error
    return found
