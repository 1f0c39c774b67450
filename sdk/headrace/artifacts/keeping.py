"""
Where artifacts go, and who is told.

    with a results URL       <url>/<namespace>/<run>/<uid>/artifacts/<key>.md, on a laptop <url>/local/<run>/<flow>/…
    on a laptop              .headrace/artifacts/<run>/<key>.md, or below HEADRACE_ARTIFACTS_DIR
    in a pod without one     into the log, if it is a text of at most 16 KiB

The content is there before anybody is told of it, and a second one under its key replaces it whole.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from headrace.artifacts.content import MAX_URL, Content, checked_key, one_line
from headrace.engine import logs
from headrace.engine.keeping.names import folder_of
from headrace.engine.scope import CURRENT, FlowRun, Run
from headrace.engine.session import Session, current_session
from headrace.engine.showcase import Artifact
from headrace.errors import UsageError
from headrace.results import open_storage
from headrace.results.places import joined, without_password

DIR_ENV: Final = "HEADRACE_ARTIFACTS_DIR"
LOCAL_DIR: Final = Path(".headrace", "artifacts")
IN_LOG: Final = 16 * 1024
"""Bytes of content that a log line takes."""
PROGRESS_S: Final = 1.0
"""Between two lines about one progress."""
DONE: Final = 100.0
MAX_TASK: Final = 40
"""Characters of the name of a task run in a key; its end tells the runs of a task apart."""


def kept(kind: str, content: Content, key: str | None, description: str | None) -> Artifact:
    """
    Keeps the content, and tells of it.

    Raises: UsageError: the key cannot be one. ResultsError: the storage failed.
    """
    session = current_session()
    key = _made_up(kind) if key is None else checked_key(key)
    url = content.url or _stored(session, f"{key}.{content.extension}", content.data)
    artifact = Artifact(key, kind, url, one_line(description))
    is_new = session.showcase.add(artifact)
    _tell(CURRENT.get(), artifact, is_new=is_new, facts=_facts(artifact, content))
    return artifact


def told(kind: str, progress: float, key: str | None, description: str | None) -> Artifact:
    """Tells of progress: in the status of the run, and in the log as often as people can read it."""
    session = current_session()
    showcase = session.showcase
    key = _made_up(kind) if key is None else checked_key(key)
    before = next((each for each in showcase.newest() if each.key == key), None)
    words = (
        one_line(description) if description is not None or before is None else before.description.partition(": ")[2]
    )
    artifact = Artifact(key, kind, "", f"{progress:g} %{f': {words}' if words else ''}")
    is_new = showcase.add(artifact)
    tell = partial(_tell, CURRENT.get(), artifact, is_new=is_new, facts={"progress": progress})
    is_due = showcase.told_now(key, session.clock.now_s(), every_s=PROGRESS_S)
    if is_new or is_due or progress == DONE:
        showcase.pending.pop(key, None)
        tell()
    else:
        showcase.pending[key] = tell
    return artifact


def _made_up(kind: str) -> str:
    """A key for an artifact that its author gave none: "table-0" in a flow, "load-3-table-0" in the task run load-3."""
    run = CURRENT.get()
    showcase = current_session().showcase
    if run is None:
        return f"{kind}-{showcase.next_number(('', 0, kind))}"
    number = showcase.next_number((run.name, run.attempt, kind))
    # Other tasks may be in other processes, which count for themselves.
    task = "" if isinstance(run, FlowRun) else re.sub(r"[^a-z0-9]+", "-", run.name.lower()).strip("-")[-MAX_TASK:] + "-"
    return f"{task.lstrip('-')}{kind}-{number}"


def _stored(session: Session, name: str, data: bytes) -> str:
    """Where it is now; empty if there is no place for it."""
    run = CURRENT.get()
    flow_run = run.flow_run if run else None
    if session.results_url:
        key = f"{folder_of(flow_run)}/artifacts/{name}".removeprefix("/")
        url = without_password(joined(session.results_url, key))
        if len(url) > MAX_URL:
            raise UsageError(f'results URL: "{url}" has more than {MAX_URL} characters; set a shorter one')
        (session.open_storage or open_storage)(session.results_url).put(key, data)
        return url
    if not session.repeats_flows:  # in a pod, whose files go with it
        return ""
    folder = Path(os.environ.get(DIR_ENV) or LOCAL_DIR).absolute() / (
        session.flow_run or (flow_run.name if flow_run else "")
    )
    open_storage(folder.as_uri()).put(name, data)
    return (folder / name).as_uri()


def _facts(artifact: Artifact, content: Content) -> Mapping[str, Any]:
    if artifact.url:
        return {"url": artifact.url, **({"bytes": len(content.data)} if content.data else {})}
    if content.is_text and len(content.data) <= IN_LOG:
        return {"content": content.data.decode()}
    return {"bytes": len(content.data), "omitted": True}


def _tell(run: Run | None, artifact: Artifact, *, is_new: bool, facts: Mapping[str, Any]) -> None:
    logs.prepare()
    level = logging.WARNING if "omitted" in facts else logging.INFO
    if not logs.LOGGER.isEnabledFor(level):
        return
    extra = {
        **(run.fields if run else {}),
        "event": "artifact_created" if is_new else "artifact_updated",
        "artifact": artifact.key,
        "kind": artifact.kind,
        **({"description": artifact.description} if artifact.description else {}),
        **facts,
    }
    logs.LOGGER.log(level, "%s", _sentence(artifact, facts), extra=extra)


def _sentence(artifact: Artifact, facts: Mapping[str, Any]) -> str:
    what = f'artifact "{artifact.key}" ({artifact.kind})'
    if artifact.url:
        return f"{what} is at {artifact.url}"
    if "omitted" in facts:
        return f"{what} has {facts['bytes']} bytes and is not kept; set spec.results.url of the Flow to keep it"
    return f"{what}: {artifact.description}" if "progress" in facts else f"{what} is in this line"
