"""Objects as they are held: a spec is read once for each generation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from headrace_operator.observe.records import deployment_record, flow_record, limit_record, pool_record

Reader = Callable[..., Any]
KINDS: Mapping[str, tuple[Reader, dict[str, Any]]] = {
    "Flow": (flow_record, {"entrypoint": "etl:main"}),
    "Deployment": (deployment_record, {"flowRef": {"name": "etl"}}),
    "ConcurrencyLimit": (limit_record, {"slots": 3}),
    "WorkPool": (pool_record, {"spot": True}),
}


def an_object(spec: Mapping[str, Any], *, version: int = 1, uid: str = "u1", generation: int = 1) -> dict[str, Any]:
    metadata = {"name": "x", "namespace": "team-a", "uid": uid, "generation": generation}
    return {"metadata": {**metadata, "resourceVersion": str(version)}, "spec": dict(spec), "status": {}}


@pytest.mark.parametrize("kind", KINDS)
def test_a_write_of_the_status_leaves_the_spec_the_same_object(kind: str) -> None:
    """What is worked out once from a spec is found by that."""
    read, spec = KINDS[kind]
    before = read(an_object(spec))
    after = read(an_object(spec, version=2), before)
    assert after.spec is before.spec
    assert after.version == 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", [{"generation": 2}, {"uid": "u2"}], ids=["edited", "made anew under its name"])
def test_a_spec_that_may_be_another_is_read_again(kind: str, change: dict[str, Any]) -> None:
    """By generation and uid; a problem is told again, or is mended."""
    read, spec = KINDS[kind]
    broken = {name: ["no such thing"] for name in spec}
    before = read(an_object(broken))
    assert before.spec is None
    assert before.problem is not None
    after = read(an_object(spec, version=2, **change), before)
    assert after.spec is not None
    assert after.problem is None
