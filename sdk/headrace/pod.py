"""
Entry point inside a pod, `python -m headrace.pod`: environment in, exit code and termination message out.

docs/pod-contract.md lists the variables, the exit codes and the fields.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final

from headrace import termination
from headrace.cancellation import SIGNALS, Cancellation
from headrace.engine import logs
from headrace.engine.description import Description
from headrace.engine.session import Session
from headrace.engine.watching import flush
from headrace.errors import ParameterError, ParameterProblem, UsageError, shown
from headrace.flows import Flow
from headrace.launch import Ending, Launch, Launchable, launch, refused
from headrace.pausing.answers import answers_from
from headrace.secrecy.guarded import guard, release_output
from headrace.states import State, Succeeded

TERMINATION_LOG: Final = "/dev/termination-log"
FLUSH_S: Final = 3.0
"""How long the end waits for spans and lineage that are not sent yet, at most."""
THREAD_PREFIX: Final = "headrace_"
"""What the names of threads begin with in which tasks run."""
THREAD_GRACE_S: Final = 0.2
"""How long a cancelled process waits for threads that are just ending; others do not keep the pod."""


def main(variables: Mapping[str, str]) -> int:
    """
    Runs the flow that the environment names, and reports its end. Returns the exit code.

    From here on, signals cannot spoil the report. It comes before all that may wait for somebody: spans, lineage, threads.
    """
    for number in SIGNALS:  # what launch() restores after it has listened itself
        signal.signal(number, signal.SIG_IGN)
    logs.use_json_lines()
    guard(variables)
    ending = _ended(variables)
    _report(ending, variables)
    flush(FLUSH_S)
    return _leave(ending)


def session(variables: Mapping[str, str]) -> Session:
    """
    What the environment says about the run.

    Raises: UsageError: a variable has no such value.
    """
    return Session(
        flow_run=variables.get("HEADRACE_FLOW_RUN", ""),
        flow_run_uid=variables.get("HEADRACE_FLOW_RUN_UID", ""),
        flow=variables.get("HEADRACE_FLOW", ""),
        namespace=variables.get("HEADRACE_NAMESPACE", ""),
        deployment=variables.get("HEADRACE_DEPLOYMENT", ""),
        parent_run=variables.get("HEADRACE_PARENT_RUN", ""),
        root_run=variables.get("HEADRACE_ROOT_RUN", ""),
        attempt=_attempt(variables.get("HEADRACE_ATTEMPT", "1")),
        scheduled_time=_time(variables.get("HEADRACE_SCHEDULED_TIME", "")),
        repeats_flows=False,
        results_url=variables.get("HEADRACE_RESULTS_URL", ""),
        refresh_cache=_flag("HEADRACE_REFRESH_CACHE", variables.get("HEADRACE_REFRESH_CACHE", "")),
        answers=answers_from(variables["HEADRACE_ANSWERS"]) if variables.get("HEADRACE_ANSWERS") else {},
    )


def parameters(text: str, flow: str) -> Mapping[str, Any]:
    """The JSON object in HEADRACE_PARAMETERS. Raises: ParameterError: it is none."""
    try:
        found = json.loads(text)
    except ValueError as error:
        found = error
    if isinstance(found, dict):
        return found
    problem = ParameterProblem("HEADRACE_PARAMETERS", f"is {shown(text)}", "a JSON object")
    raise ParameterError(flow, [problem], advice="the operator sets it; look at the pod's environment")


def _ended(variables: Mapping[str, str]) -> Ending:
    try:
        what = _task(variables) if variables.get("HEADRACE_TASK") else _flow(variables)
    except (UsageError, ParameterError) as error:
        return refused(error)
    return launch(what, Cancellation())


def _flow(variables: Mapping[str, str]) -> Launchable:
    def given(flow: Flow[..., Any]) -> Mapping[str, Any]:
        return parameters(variables.get("HEADRACE_PARAMETERS") or "{}", flow.name)

    return Launch(
        entrypoint=variables.get("HEADRACE_ENTRYPOINT", ""),
        parameters=given,
        session=replace(session(variables), elsewhere=TaskPodsLater(variables)),
        code_dir=_code_dir(variables),
        delivered=partial(_delivered, variables),
    )


def _delivered(variables: Mapping[str, str], state: State[Any]) -> State[Any]:
    """The state; a result that the termination message cannot hold goes to the result storage, where there is one."""
    if not variables.get("HEADRACE_RESULTS_URL") or not isinstance(state, Succeeded):
        return state
    if termination.small_json(state.data) is not termination.OMITTED:
        return state
    from headrace.flow_results import keeper  # noqa: PLC0415 - most results are small

    return keeper(variables).delivered(state)


def _task(variables: Mapping[str, str]) -> Launchable:
    """One task of another run: to its code, the flow run is that one."""
    from headrace.remote.running import TaskLaunch, task_fields  # noqa: PLC0415 - few pods run a task alone

    text = variables["HEADRACE_TASK"]
    try:
        found = json.loads(text)
    except ValueError:
        found = text
    task = task_fields(found)
    entrypoint = variables.get("HEADRACE_ENTRYPOINT", "")
    around = replace(
        session(variables),
        checkpoints=False,  # it is the flow's pod that counts its calls
        flow_run=task["parent"]["name"],
        flow_run_uid=task["parent"]["uid"],
        parameters=parameters(variables.get("HEADRACE_PARAMETERS") or "{}", variables.get("HEADRACE_FLOW", "")),
    )
    return TaskLaunch(task, entrypoint, around, _code_dir(variables))


@dataclass(frozen=True, slots=True)
class TaskPodsLater:
    """The Elsewhere of a flow's pod, whose parts are loaded when the first task asks for it."""

    variables: Mapping[str, str]

    def stand_in(self, of: Description) -> Description:
        """As promised by Elsewhere."""
        from headrace.remote.calling import task_pods  # noqa: PLC0415 - most flows need no ssl, http and pickle

        return task_pods(self.variables, _code_dir(self.variables)).stand_in(of)


def _code_dir(variables: Mapping[str, str]) -> Path | None:
    code_dir = variables.get("HEADRACE_CODE_DIR")
    return Path(code_dir) if code_dir else None


def _report(ending: Ending, variables: Mapping[str, str]) -> None:
    names = {"flow": variables.get("HEADRACE_FLOW", ""), "flow_run": variables.get("HEADRACE_FLOW_RUN", "")}
    if ending.never_began:
        logs.LOGGER.error("%s", ending.message, extra={"event": "flow_refused", **names, "reason": ending.reason})
    asked = variables.get("HEADRACE_TERMINATION_LOG")
    path = Path(asked or TERMINATION_LOG)
    try:
        # On a laptop no container runtime has made the file, and /dev is no place to make one.
        termination.write(termination.termination_message(ending, termination.usage()), path, create=bool(asked))
    except OSError as error:
        message = f'the termination message cannot be written to "{path}": {error.strerror}; HEADRACE_TERMINATION_LOG names another file'
        logs.LOGGER.warning("%s", message, extra={"event": "termination_log_unwritable", **names})


def _leave(ending: Ending) -> int:
    """The exit code, if the interpreter can end; a thread that cannot be stopped would keep the pod for ever."""
    if ending.phase == "Cancelled" or ending.reason == "TimedOut":
        until_s = time.monotonic() + THREAD_GRACE_S
        others = [each for each in threading.enumerate() if each is not threading.main_thread() and _holds_up(each)]
        for each in others:
            each.join(max(0.0, until_s - time.monotonic()))
        if any(each.is_alive() for each in others):
            logging.shutdown()
            release_output()
            sys.stdout.flush()
            os._exit(ending.exit_code)
    return ending.exit_code


def _holds_up(thread: threading.Thread) -> bool:
    """Whether the end of the process waits for it: threads of tasks are daemons, and waited for all the same."""
    return not thread.daemon or thread.name.startswith(THREAD_PREFIX)


def _attempt(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise UsageError(f"HEADRACE_ATTEMPT is {shown(text)}, expected a whole number from 1")


def _flag(name: str, text: str) -> bool:
    if text.lower() in {"", "true", "false"}:
        return text.lower() == "true"
    raise UsageError(f"{name} is {shown(text)}, expected true or false")


def _time(text: str) -> datetime | None:
    try:
        time_ = datetime.fromisoformat(text) if text else None
    except ValueError:
        time_ = None
    if text and (time_ is None or time_.tzinfo is None):
        raise UsageError(f"HEADRACE_SCHEDULED_TIME is {shown(text)}, expected RFC 3339, such as 2026-01-01T07:00:00Z")
    return time_


if __name__ == "__main__":
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # into a pipe, what is printed would wait for 8 KiB
    sys.exit(main(os.environ))
