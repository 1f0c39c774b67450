"""What benchmarks take from an audit log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from bench.audited import requests, waits_s


def an_entry(verb: str, resource: str, name: str = "", **fields: Any) -> dict[str, Any]:
    """An answered request of the controller."""
    return {
        "stage": "ResponseComplete",
        "verb": verb,
        "userAgent": "controller/1",
        "objectRef": {"resource": resource, "name": name},
        "responseStatus": {"code": 201},
        "stageTimestamp": "2026-01-01T00:00:00.000000Z",
        **fields,
    }


def a_log(folder: Path, *entries: dict[str, Any], unfinished: bytes = b"") -> Path:
    """An audit log with these entries."""
    log = folder / "audit.log"
    log.write_bytes(b"".join(orjson.dumps(each) + b"\n" for each in entries) + unfinished)
    return log


def test_counts_what_the_contender_asked_for(tmp_path: Path) -> None:
    """By verb and resource; not what others ask, nor watches, nor a line that is just being written."""
    entries = (
        an_entry("create", "pods"),
        an_entry("patch", "flowruns", objectRef={"resource": "flowruns", "subresource": "status"}),
        an_entry("patch", "flowruns", objectRef={"resource": "flowruns", "subresource": "status"}),
        an_entry("watch", "pods"),
        an_entry("create", "pods", userAgent="kubectl"),
        an_entry("create", "pods", stage="ResponseStarted"),
    )
    log = a_log(tmp_path, *entries, unfinished=orjson.dumps(an_entry("create", "pods")))
    assert requests(log, 0, "controller", "") == {"create pods": 1, "patch flowruns status": 2}


def test_leaves_out_the_lease_by_which_a_contender_leads(tmp_path: Path) -> None:
    """Other Leases count."""
    log = a_log(tmp_path, an_entry("patch", "leases", "leader.ns"), an_entry("patch", "leases", "slot-1"))
    assert requests(log, 0, "controller", "leader") == {"patch leases": 1}


def test_counts_from_where_it_is_told(tmp_path: Path) -> None:
    """What came before is no part of a burst."""
    since = a_log(tmp_path, an_entry("create", "pods")).stat().st_size
    log = a_log(tmp_path, an_entry("create", "pods"), an_entry("delete", "pods"))
    assert requests(log, since, "controller", "") == {"delete pods": 1}


def test_a_wait_is_from_the_run_to_its_first_pod(tmp_path: Path) -> None:
    """In seconds, ascending; a run without a pod has none, and what was refused created nothing."""

    def pod(run: str, at: str, code: int = 201) -> dict[str, Any]:
        answer = {"metadata": {"labels": {"run": run}}}
        return an_entry(
            "create", "pods", stageTimestamp=at, responseObject=answer, responseStatus={"code": code}, userAgent="other"
        )

    log = a_log(
        tmp_path,
        an_entry("create", "flowruns", "a"),
        an_entry("create", "flowruns", "b"),
        an_entry("create", "flowruns", "c"),
        pod("a", "2026-01-01T00:00:00.500000Z"),
        pod("a", "2026-01-01T00:00:09.000000Z"),
        pod("b", "2026-01-01T00:00:00.100000Z", code=409),
        pod("b", "2026-01-01T00:00:00.250000Z"),
    )
    assert waits_s(log, 0, lambda made: made["metadata"]["labels"]["run"]) == [0.25, 0.5]
