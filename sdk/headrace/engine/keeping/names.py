"""Where results lie below a results URL, and the facts of a call that they are found by."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from headrace.engine.keeping.fingerprints import digest, origin_of
from headrace.engine.keeping.policies import CachePolicy
from headrace.engine.scope import FlowRun, Run, TaskRun
from headrace.engine.session import Session, current_session

MAX_NAME: Final = 80
"""Characters of a task's name in a key: file systems end at 255 bytes, a digest included."""


def results_url(session: Session) -> str:
    """The URL that results are kept below; on a laptop without one a folder of the user's cache. Empty: nowhere."""
    if session.results_url or not session.repeats_flows:
        return session.results_url
    around = os.environ.get("XDG_CACHE_HOME", "")
    folder = Path(around) if around.startswith("/") else Path.home() / ".cache"
    return (folder / "headrace" / "results").as_uri()


def run_folder(run: TaskRun) -> str:
    """The folder of what its flow run has finished; it lies beside what remote tasks of that run exchange."""
    return f"{run_id(run)}/finished"


def transaction_folder(flow_run: FlowRun, kind: str, number: int) -> str:
    """The folder of what the `number`-th block of this kind, from 0, notes; the same in all attempts of the flow run."""
    place = _safe(flow_run.name) if flow_run.parent else "flow"
    return f"{run_id(flow_run)}/transactions/{place}/{_safe(kind)}-{number}"


def key_record(flow_run: FlowRun, key: str) -> str:
    """Where it is recorded that a transaction with this key was committed, for all runs of the flow."""
    mark = digest((_owner(flow_run.top), key)).hex()
    return f"transactions/{_safe(key)}-{mark}"


def run_id(run: Run) -> str:
    """What tells its flow run from others, and is the same for all of its attempts."""
    return "" if run.flow_run is None else folder_of(run.flow_run)


def folder_of(flow_run: FlowRun | None) -> str:
    """The folder of all that is kept of a flow run, below a results URL; empty on a laptop outside of one."""
    session = current_session()
    if session.flow_run_uid:
        return f"{session.namespace}/{session.flow_run}/{session.flow_run_uid}"
    if flow_run is None:
        return ""
    return f"local/{_safe(flow_run.top.name)}/{_safe(flow_run.top.description.name)}"


def call_digest(run: TaskRun, source: bytes) -> bytes:
    """What tells a call of a task from others in its flow run. Raises: Undigestible."""
    return digest((run.description.name, origin_of(run.description.function), source, parameters_of(run)))


def finished_name(run: TaskRun, call: bytes, number: int) -> str:
    """The name of the result of the call that is the `number`-th of its kind, from 0."""
    return f"{_safe(run.description.name)}-{call.hex()}-{number}"


def cache_folder(run: TaskRun, policy: CachePolicy, source: bytes) -> str | None:
    """
    The folder of the result that calls with the same key share; None: the policy has no key for this call.

    Raises: Undigestible; whatever a key function raises.
    """
    key = _key(run, policy, source)
    if key is None:
        return None
    mark = digest((_owner(run), run.description.name, origin_of(run.description.function), key)).hex()
    return f"cache/{_safe(run.description.name)}-{mark}"


def parameters_of(run: TaskRun) -> Mapping[str, Any]:
    """The parameters by name, defaults included; of a method its object too, as "self"."""
    bound = getattr(inspect.unwrap(run.description.function), "__self__", None)
    return run.parameters if bound is None else {"self": bound, **run.parameters}


def _key(run: TaskRun, policy: CachePolicy, source: bytes) -> dict[str, Any] | None:
    key: dict[str, Any] = {}
    if policy.inputs:
        key["inputs"] = {name: each for name, each in parameters_of(run).items() if name not in policy.without}
    if policy.source:
        key["source"] = source
    if policy.flow_parameters:
        key["flow_parameters"] = dict(run.flow_run.parameters) if run.flow_run else {}
    if policy.run:
        key["run"] = run_id(run)
        if not key["run"]:
            return None
    made = [function(run, parameters_of(run)) for function in policy.functions]
    return None if None in made else {**key, "made": made}


def _owner(run: Run) -> tuple[str, ...]:
    """Whose task it is: names such as "extract" are common, and a result of another team's would be wrong."""
    session = current_session()
    if session.flow:
        return session.namespace, session.flow
    code = getattr(inspect.unwrap(run.description.function), "__code__", None)
    return ("local", str(Path(code.co_filename).resolve()) if code else "")


def _safe(name: str) -> str:
    """The name as a part of a key; what a key cannot hold is replaced, and a digest tells it apart."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:MAX_NAME].strip(".")
    return safe if safe == name else f"{safe}-{blake2b(name.encode(), digest_size=4).hexdigest()}"
