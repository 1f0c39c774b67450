"""In the task's pod: arguments from the storage, the task, its outcome to the storage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from headrace.engine.description import Description
from headrace.engine.execution import task_state
from headrace.engine.hooks import Hooks
from headrace.engine.keeping.policies import Keeping
from headrace.engine.session import Session
from headrace.engine.transitions import told
from headrace.engine.ways import Arguments, Way
from headrace.entrypoints import load_flow, load_task
from headrace.errors import NoSuchResult, ResultsError, UsageError, shown
from headrace.launch import Work
from headrace.remote.naming import split
from headrace.results import Storage, open_storage
from headrace.results.cargo import VALUE, Cargo, Torn, opened, packed, packed_error
from headrace.results.places import with_password_of
from headrace.states import Cancelled, Ended, Failed, State, Succeeded

FIELDS = ("name", "function", "input", "output")


@dataclass(frozen=True, slots=True)
class TaskLaunch:
    """
    One task to run, as a FlowRun's `spec.task` names it.

    Args:
        entrypoint: Of its flow, whose module is loaded first.
        session: Of the parent run, as far as it is known here.
    """

    task: Mapping[str, Any]
    entrypoint: str
    session: Session
    code_dir: Path | None = None
    kind: Literal["task"] = "task"

    def loaded(self) -> Work:
        """
        As promised by Launchable. A result that an earlier attempt of this pod's run has left is used.

        Raises: EntrypointError, UsageError.
        """
        described = load_task(self.task["function"], entrypoint=self.entrypoint, code_dir=self.code_dir).described
        # The other hooks are called in the flow's pod, which also learns of a pod that was lost.
        keeping = Keeping(checkpoint=False, serializer=described.keeping.serializer if described.keeping else None)
        described = replace(described, pod=None, keeping=keeping, hooks=Hooks(on_retry=described.hooks.on_retry))
        around = Description(kind="flow", name=self.session.flow or described.name, function=_none, is_async=False)
        session = replace(self.session, concealed=self._concealed())
        done = self._earlier_result()
        if done is not None:
            return Work(is_async=False, state=partial(_already, done), session=session)
        name, arguments = self._arguments()
        return Work(
            is_async=described.is_async,
            state=partial(task_state, described, arguments, name=name, around=around),
            session=session,
            delivered=partial(self._delivered, described),
        )

    def _concealed(self) -> Mapping[str, Any]:
        """Secret parameters of the flow, which this process must not show either."""
        given = self.session.parameters
        return load_flow(self.entrypoint, code_dir=self.code_dir).parameters.concealed(given) if given else {}

    def _arguments(self) -> tuple[str, Arguments]:
        folder, key = split(self.task["input"])
        try:
            cargo = opened(self._storage(folder).get(key))
            content = cargo.content()
            arguments = tuple(content["args"]), dict(content["kwargs"])
        except ResultsError:
            raise
        except Exception as error:  # what is torn, and what its classes raise when they are unpickled
            raise UsageError(
                f'task "{self.task["name"]}": its arguments at {self.task["input"]} cannot be read here: {told(error)}'
            ) from error
        return str(cargo.facts.get("task_run") or self.task["name"]), arguments

    def _storage(self, folder: str) -> Storage:
        """That of the folder, which spec.task tells without a password."""
        return open_storage(with_password_of(self.session.results_url, folder))

    def _earlier_result(self) -> Cargo | None:
        """What this run has stored before its pod was lost; an exception is no reason not to try again."""
        folder, key = split(self.task["output"])
        try:
            cargo = opened(self._storage(folder).get(key))
        except (NoSuchResult, Torn):
            return None
        return cargo if cargo.kind == VALUE else None

    def _delivered(self, of: Description, state: State[Any]) -> State[Any]:
        """The state, its outcome stored; Failed where that cannot be."""
        if isinstance(state, Cancelled):
            return state
        try:
            if isinstance(state, Succeeded):
                what = f'task "{of.name}": its result'
                format_ = of.keeping.serializer if of.keeping else None
                return self._stored(packed(state.data, VALUE, what=what, format=format_), state)
            assert isinstance(state, Ended)
            return self._stored(packed_error(state.exception), state)
        except UsageError as error:
            return self._stored(packed_error(error), Failed(message=str(error), exception=error))
        except ResultsError as error:
            return Failed(message=str(error), exception=error)

    def _stored(self, cargo: Cargo, state: State[Any]) -> State[Any]:
        folder, key = split(self.task["output"])
        self._storage(folder).put(key, cargo.sealed())
        return state


def task_fields(found: object) -> Mapping[str, Any]:
    """The task that HEADRACE_TASK names. Raises: UsageError: it names none."""
    parent = found.get("parent") if isinstance(found, dict) else None
    complete = isinstance(found, dict) and all(isinstance(found.get(name), str) for name in FIELDS)
    if not complete or not isinstance(parent, dict) or not {"name", "uid"} <= parent.keys():
        raise UsageError(
            f"HEADRACE_TASK is {shown(found)}, expected a JSON object with {', '.join(FIELDS)} and parent; the operator "
            "sets it: look at the pod's environment"
        )
    assert isinstance(found, dict)
    return found


async def _already(done: Cargo, _way: Way) -> State[Any]:
    value = done.content() if done.format == "json" else None
    return Succeeded(data=value, message="an earlier attempt has stored the result")


def _none() -> None:
    """The flow runs elsewhere."""
