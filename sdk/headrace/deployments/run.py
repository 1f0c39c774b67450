"""The run of a Deployment, as whoever started it sees it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from headrace.errors import DeploymentRunFailed, NoSuchResult, UsageError
from headrace.states import Cancelled, Crashed, Failed, Paused, Pending, Running, State, Succeeded

ENDED: Final[Mapping[str, type[Failed | Crashed | Cancelled]]] = {
    "Failed": Failed,
    "Crashed": Crashed,
    "Cancelled": Cancelled,
    "Skipped": Cancelled,
}
"""The state of a run in one of these phases; a run that was skipped never began."""


@dataclass(frozen=True, slots=True)
class DeploymentRun:
    """
    A FlowRun of a Deployment, as it was when run_deployment() returned. Can be pickled.

    Attributes: `phase`, `reason` and `message` as in its status; before the operator has looked at it, "Pending" and empty.
    """

    namespace: str
    name: str
    uid: str
    deployment: str
    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    returned: Mapping[str, Any] | None = field(default=None, repr=False)
    """Its `status.result`: a value, a URL, or that it was left out. None: it returned nothing."""

    @property
    def finished(self) -> bool:
        """Whether it has ended, however it did."""
        return self.phase == "Succeeded" or self.phase in ENDED

    @property
    def state(self) -> State[Any]:
        """
        Its state; one that has succeeded holds the result, which is read for it.

        Raises: ResultsError: the result cannot be read.
        """
        if self.phase == "Succeeded":
            return Succeeded(data=self.result(), message=self.message)
        if self.phase in ENDED:
            return ENDED[self.phase](message=self.message, exception=self.failure())
        waiting: State[Any] = Paused(message=self.message) if self.phase == "Paused" else Pending(message=self.message)
        return Running(message=self.message) if self.phase in {"Running", "Retrying"} else waiting

    def wait(self, timeout_seconds: float | None = None) -> DeploymentRun:
        """
        The run when it has ended, however it did; as it is after `timeout_seconds`.

        For a run that was started with wait=False, or that took longer than its timeout_seconds.
        Raises: UsageError: a right is missing, or it would block an event loop.
        """
        if self.finished:
            return self
        from headrace.deployments.here import starter_here  # noqa: PLC0415 - most runs have ended
        from headrace.limits.blocks import refuse_coroutine  # noqa: PLC0415 - as above

        refuse_coroutine(inspect.currentframe(), "await run.wait_aio()")
        found: DeploymentRun = starter_here().waited(self, timeout_seconds)
        return found

    async def wait_aio(self, timeout_seconds: float | None = None) -> DeploymentRun:
        """The same for `async def`: the event loop stays free."""
        from headrace.off_loop import off_the_loop  # noqa: PLC0415 - as above

        found: DeploymentRun = await off_the_loop(self.wait)(timeout_seconds)
        return found

    def result(self) -> Any:
        """
        What its flow returned, as JSON types; a large one is read from the result storage, which may block for a while.

        Raises: DeploymentRunFailed: it did not succeed. UsageError: it has not ended. NoSuchResult: its result was too large
            for its status, and is stored nowhere. ResultsError: it cannot be read.
        """
        if self.phase in ENDED:
            raise self.failure()
        if not self.finished:
            raise UsageError(
                f"FlowRun {self.namespace}/{self.name} is {self.phase} and has no result yet; ask run.wait().result(), in an "
                "`async def` (await run.wait_aio()).result()"
            )
        if self.returned is None:
            return None
        if "url" in self.returned:
            from headrace.flow_results import result_at  # noqa: PLC0415 - most results are in the status

            return result_at(str(self.returned["url"]), runs_code=self._is_of_our_namespace())
        if self.returned.get("omitted"):
            raise NoSuchResult(
                f"FlowRun {self.namespace}/{self.name}",
                "status.result",
                "its flow returned more than 1,024 bytes of JSON, and its Flow has no storage for that; set spec.results.url "
                "of its Flow",
            )
        return self.returned.get("value")

    def _is_of_our_namespace(self) -> bool:
        """Whether the flow is of the people whose code runs here; its status names the storage, which may be any."""
        from headrace.engine.session import current_session  # noqa: PLC0415 - loaded by the flow

        return current_session().namespace in {"", self.namespace}

    async def result_aio(self) -> Any:
        """The same for `async def`: the event loop stays free."""
        from headrace.off_loop import off_the_loop  # noqa: PLC0415 - only those who await it need it

        return await off_the_loop(self.result)()

    def failure(self) -> DeploymentRunFailed:
        """How it ended, as an error to raise."""
        message = self.message or "it does not say why"
        return DeploymentRunFailed(
            self.namespace, self.name, phase=self.phase, reason=self.reason or self.phase, message=message
        )


def run_of(found: Mapping[str, Any]) -> DeploymentRun:
    """The run in a FlowRun as the API returns it."""
    metadata, status = found["metadata"], found.get("status") or {}
    return DeploymentRun(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        deployment=found["spec"]["deploymentRef"]["name"],
        phase=str(status.get("phase") or "Pending"),
        reason=str(status.get("reason") or ""),
        message=str(status.get("message") or ""),
        returned=status.get("result"),
    )
