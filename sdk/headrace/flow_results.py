"""
What a flow returned, if it is more than a termination message holds: in the result storage, by its URL.

It is JSON wherever a small result would be JSON too, so that a reader gets the same types whatever its size.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from headrace.engine import logs
from headrace.engine.session import current_session
from headrace.engine.transitions import told
from headrace.errors import ResultsError, UsageError
from headrace.launch import StoredResult
from headrace.remote.naming import joined, split, task_folder
from headrace.results import open_storage
from headrace.results.cargo import VALUE, Cargo, Torn, opened, packed
from headrace.results.compression import compressed
from headrace.results.formats import CLOUDPICKLE, PICKLE
from headrace.results.places import with_password_of, without_password
from headrace.secrecy.redaction import SECRETS, redacted_json
from headrace.states import Succeeded
from headrace.termination import jsonable

MAX_URL: Final = 2048
"""Characters that `status.result.url` takes."""
FOLDER: Final = "flow"
"""Beside the folders of task runs, whose names end in a number."""


@dataclass(frozen=True, slots=True)
class Keeper:
    """
    Stores the result of one attempt of a flow run.

    Args:
        url: Where to; no other attempt writes there.
        flow, flow_run: Names, for the log.
    """

    url: str
    flow: str
    flow_run: str

    def delivered(self, state: Succeeded[Any]) -> Succeeded[Any]:
        """The state, with the URL in place of the result; what cannot be stored is logged, and the flow has succeeded."""
        try:
            size = self._store(state.data)
        except (ResultsError, UsageError) as error:
            self._tell(logging.WARNING, "result_not_stored", f"what the flow returned is not stored: {error}")
            return state
        shown = without_password(self.url)  # the status of the run says it to everybody
        self._tell(logging.INFO, "result_stored", f"what the flow returned is at {shown}", url=shown, bytes=size)
        return replace(state, data=StoredResult(shown))

    def _store(self, value: Any) -> int:
        folder, key = split(self.url)
        if len(self.url) > MAX_URL:
            raise UsageError(
                f'results URL "{without_password(folder)}": it has more than {MAX_URL} characters; set a shorter one'
            )
        storage = open_storage(folder)
        data = _packed(value, self.flow).sealed()
        storage.put(key, data)
        return len(data)

    def _tell(self, level: int, event: str, message: str, **facts: Any) -> None:
        extra = {"event": event, "flow": self.flow, "flow_run": self.flow_run, **facts}
        logs.LOGGER.log(level, "%s", message, extra=extra)


def keeper(variables: Mapping[str, str]) -> Keeper:
    """As the environment of a flow's pod describes it (docs/pod-contract.md)."""
    namespace, run, uid = (variables.get(f"HEADRACE_{name}", "") for name in ("NAMESPACE", "FLOW_RUN", "FLOW_RUN_UID"))
    key = f"{task_folder(namespace, run, uid, FOLDER)}/result-{variables.get('HEADRACE_ATTEMPT', '1')}"
    return Keeper(joined(variables["HEADRACE_RESULTS_URL"], key), variables.get("HEADRACE_FLOW", ""), run)


def result_at(url: str, *, runs_code: bool = True) -> Any:
    """
    What a flow returned, from where it is stored.

    Args:
        runs_code: Whether a pickle is read, which may run code of whoever wrote it.
    Raises: NoSuchResult, ResultsError: it is not there, not whole, or cannot be read here. UsageError: there is no storage
        for such a URL, or its library is not installed.
    """
    cargo = cargo_at(url)
    folder, key = split(url)
    if cargo.format in {PICKLE, CLOUDPICKLE} and not runs_code:
        raise ResultsError(
            folder,
            key,
            f"it is stored as {cargo.format}, which may run code of whoever wrote it, and its run is of another namespace; "
            "let its flow return what JSON knows, or a table",
        )
    try:
        return cargo.content()
    except UsageError:
        raise
    except Exception as error:
        raise ResultsError(
            folder,
            key,
            f"it cannot be unpickled here ({told(error)}); this process must be able to import the classes of what the "
            "flow returned",
        ) from error


def cargo_at(url: str) -> Cargo:
    """The object that a flow's result is in, unread. Raises: as result_at()."""
    folder, key = split(url)
    data = open_storage(with_password_of(current_session().results_url, folder)).get(key)
    try:
        return opened(data)
    except Torn as error:
        raise ResultsError(folder, key, f"it is not whole: {error}") from error


def _packed(value: Any, flow: str) -> Cargo:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=jsonable, separators=(",", ":"))
        if SECRETS.found_in(text):
            text = json.dumps(redacted_json(json.loads(text)), ensure_ascii=False, separators=(",", ":"))
        payload, compression = compressed(text.encode())
        return Cargo(VALUE, "json", payload, compression=compression)
    except Exception:  # noqa: BLE001 - a result is foreign: what is no JSON may be picklable all the same
        return packed(value, VALUE, what=f'flow "{flow}": what it returned')
