"""`headrace start` and `headrace circuit close`: what is created, patched and told."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from typer.testing import CliRunner

from headrace.cli.arguments import fitting_parameters, untyped_parameters
from headrace.cli.backfilling import matrix
from headrace.cli.circuit import closed
from headrace.cli.cluster import ClusterRefusal
from headrace.cli.following import Follower, exit_code
from headrace.cli.main import application
from headrace.cli.start import fitted_to, run_spec, started
from headrace.errors import UsageError
from headrace.kubeapi.errors import Forbidden, Unreachable
from tests.unit.headrace.cli.memory_api import ROOT, MemoryApi, a_deployment, a_run

NOW = datetime(2026, 3, 6, 12, 0, 5, tzinfo=UTC)
RUNS = f"{ROOT}/namespaces/team-a/flowruns"


def spec(key: str | None = None, **parameters: Any) -> dict[str, Any]:
    return run_spec("daily", parameters, key=key, priority=None)


def the_runs(api: MemoryApi) -> list[dict[str, Any]]:
    return [obj for obj in api.objects.values() if obj["kind"] == "FlowRun"]


async def test_a_run_of_the_deployment_is_created() -> None:
    """Named by the time, with what was given and nothing else."""
    api = MemoryApi(a_deployment())
    name, note = await started(api, "team-a", run_spec("daily", {"n": 1}, key=None, priority=5), now=NOW)
    (run,) = the_runs(api)
    assert name == run["metadata"]["name"]
    assert name.startswith("daily-20260306120005-")
    assert run["spec"] == {"deploymentRef": {"name": "daily"}, "parameters": {"n": 1}, "priority": 5}
    assert run["metadata"]["labels"] == {"headrace.dev/deployment": "daily", "headrace.dev/flow": "etl"}
    assert note == ""


async def test_without_a_key_each_start_is_a_run() -> None:
    """Even within one second."""
    api = MemoryApi(a_deployment())
    assert len({(await started(api, "team-a", spec(), now=NOW))[0] for _ in range(2)}) == 2


async def test_with_a_key_the_second_start_is_the_first_run() -> None:
    """That is success; other parameters are told."""
    api = MemoryApi(a_deployment())
    first, _ = await started(api, "team-a", spec("alert-7", n=1), now=NOW)
    again = await started(api, "team-a", spec("alert-7", n=1), now=NOW)
    assert again == (first, f"already started as {first}, which is Pending")
    other = await started(api, "team-a", spec("alert-7", n=2), now=NOW)
    assert other == (first, f"already started as {first}, which is Pending, with other parameters")
    assert (await started(api, "team-a", spec("alert-8", n=1), now=NOW))[0] != first
    assert the_runs(api)[0]["spec"]["idempotencyKey"] == "alert-7"


async def test_a_name_that_is_somebody_elses_is_an_error() -> None:
    """The cause is not the same."""
    api = MemoryApi(a_deployment())
    name, _ = await started(api, "team-a", spec("k"), now=NOW)
    del api.objects[f"{RUNS}/{name}"]["spec"]["idempotencyKey"]
    with pytest.raises(ClusterRefusal, match="exists and is of another cause"):
        await started(api, "team-a", spec("k"), now=NOW)


async def test_a_deployment_that_is_not_there_says_where_to_look() -> None:
    """Nothing is created."""
    api = MemoryApi()
    with pytest.raises(ClusterRefusal, match="there is no Deployment daily in namespace team-a; kubectl get fdep"):
        await started(api, "team-a", spec(), now=NOW)
    assert the_runs(api) == []


async def test_an_open_circuit_is_told() -> None:
    """The run waits, and a person may want to know at once."""
    api = MemoryApi(a_deployment(status={"circuit": {"state": "Open", "retryAt": "2026-03-06T12:05:00Z"}}))
    note = (await started(api, "team-a", spec(), now=NOW))[1]
    assert note == (
        "it waits: the circuit of daily is open until 2026-03-06T12:05:00Z; headrace circuit close daily closes it"
    )


@pytest.mark.parametrize("key", ["", "x" * 254])
def test_a_key_that_cannot_be_one_is_refused(key: str) -> None:
    """Before the cluster is asked."""
    with pytest.raises(ClusterRefusal, match="1 to 253 are allowed"):
        run_spec("daily", {}, key=key, priority=None)


def test_parameters_are_json_or_text(tmp_path: Any) -> None:
    """--set wins over the file."""
    file = tmp_path / "p.json"
    file.write_text('{"a": 1, "b": 2}')
    given = untyped_parameters(["b=[1]", "c=2026-01-01", 'd="7"', "e=true"], file)
    assert given == {"a": 1, "b": [1], "c": "2026-01-01", "d": "7", "e": True}
    with pytest.raises(UsageError, match="expected NAME=VALUE"):
        untyped_parameters(["day"], None)


@pytest.mark.parametrize("text", ["123456789012345678901234", "1e999", "NaN"])
def test_a_number_that_the_api_does_not_carry_stays_text(tmp_path: Any, text: str) -> None:
    """The schema of the Flow says what is wrong with it; a file that has one is refused."""
    assert untyped_parameters([f"x={text}"], None) == {"x": text}
    assert fitting_parameters({"x": text}, {"properties": {"x": NUMBER}}) == {"x": text}
    assert matrix([f"x={text},1"]) == {"matrix": [{"name": "x", "values": [text, 1]}]}
    file = tmp_path / "p.json"
    file.write_text(f'{{"x": {text}}}')
    with pytest.raises(UsageError, match=r"--params-file .*p\.json: no JSON: "):
        untyped_parameters([], file)


class TestFollowing:
    """What --wait makes of the stream."""

    @pytest.fixture
    async def follower(self) -> Follower:
        self.told: list[str] = []
        return Follower("r", self.told.append)

    async def test_each_turn_is_told_once_and_the_end_ends_it(self, follower: Follower) -> None:
        """A run without a status has nothing to tell."""
        for phase in (None, "Pending", "Pending", "Running", "Succeeded", "Succeeded"):
            follower.seen(a_run("r", phase, status={"reason": phase}))
        assert self.told == ["r is Pending: no", "r is Running: no", "r is Succeeded"]
        assert exit_code(await follower.end) == 0

    @pytest.mark.parametrize(("phase", "code"), [("Failed", 1), ("Crashed", 1), ("Skipped", 1), ("Cancelled", 130)])
    async def test_the_exit_status_tells_how_it_ended(self, follower: Follower, phase: str, code: int) -> None:
        """0 is success and nothing else."""
        follower.seen(a_run("r", phase))
        assert exit_code(await follower.end) == code
        assert self.told == [f"r is {phase} (FlowFailed): no"]

    async def test_a_run_that_is_deleted_is_an_error(self, follower: Follower) -> None:
        """Seen as an event, or missing from the list."""
        follower.synced(set(), 1)
        follower.gone({})
        with pytest.raises(ClusterRefusal, match="deleted before it ended"):
            await follower.end

    async def test_a_broken_stream_is_taken_up_again_unless_it_never_can(self, follower: Follower) -> None:
        """Rights do not come by waiting."""
        follower.synced({"r-uid"}, 1)
        follower.failed(Unreachable(0, "Unreachable", "cut"), 2.0)
        assert not follower.end.done()
        assert self.told == ["0 Unreachable: cut; trying again in 2 s"]
        follower.failed(Forbidden(403, "Forbidden", "no watch"), 2.0)
        with pytest.raises(ClusterRefusal, match="no watch; it goes on, kubectl get fr shows it"):
            await follower.end


class TestCloseCircuit:
    """An annotation, which the operator honours once."""

    async def test_another_value_each_time(self) -> None:
        """It tells what was."""
        status = {"circuit": {"state": "Open"}, "consecutiveFailures": 3}
        api = MemoryApi(a_deployment(circuitBreaker={"failures": 3}, status=status))
        told = await closed(api, "team-a", "daily", now=NOW)
        assert told == "daily: the circuit was Open after 3 failure(s) in a row; it is closed, and they are forgotten"
        (deployment,) = api.objects.values()
        assert deployment["metadata"]["annotations"] == {
            "headrace.dev/circuit-reset": "2026-03-06T12:00:05.000000+00:00"
        }

    async def test_without_a_breaker_there_is_nothing_to_close(self) -> None:
        """A person looks elsewhere."""
        with pytest.raises(ClusterRefusal, match="it has no circuit breaker"):
            await closed(MemoryApi(a_deployment()), "team-a", "daily", now=NOW)

    async def test_a_deployment_that_is_not_there(self) -> None:
        """Or is in another namespace."""
        with pytest.raises(ClusterRefusal, match="no such Deployment in namespace team-a"):
            await closed(MemoryApi(), "team-a", "daily", now=NOW)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["rerun"], "name the runs, or say --all"),
        (["rerun", "r", "--all"], "name the runs, or say --all"),
        (["rerun", "r", "--since", "1h"], "go with --all"),
        (["rerun", "r", "--limit", "1"], "go with --all"),
        (["failures", "--since", "soon"], "such as 24h"),
        (["start", "d", "--set", "x"], "expected NAME=VALUE"),
        (["start", "d", "--idempotency-key", ""], "1 to 253"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_the_cluster_is_asked(arguments: list[str], told: str) -> None:
    """One line that says what to write."""
    done = CliRunner().invoke(application(), arguments)
    assert told in str(done.exception)


def test_without_a_cluster_each_command_says_how_to_name_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """No traceback."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    for arguments in (["failures"], ["rerun", "r"], ["start", "d"], ["circuit", "close", "d"]):
        done = CliRunner().invoke(application(), arguments)
        assert "no cluster to talk to" in str(done.exception)
        assert "headrace dev up" in str(done.exception)


STRING, NUMBER = {"type": "string"}, {"type": "number"}


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        ("1.21", STRING, "1.21"),
        ("20260301", {"type": "string", "format": "date"}, "20260301"),
        ("true", {"anyOf": [STRING, {"type": "null"}]}, "true"),
        ("null", {"anyOf": [STRING, {"type": "null"}]}, None),
        ("1", {"type": ["string", "integer"]}, 1),
        ("1", {"anyOf": [STRING, NUMBER]}, 1),
        ('"1.21"', STRING, "1.21"),
        ("[1]", STRING, "[1]"),
        ('{"secretRef": {}}', {"anyOf": [STRING, {"type": "object"}]}, {"secretRef": {}}),
        ("many", {"type": "integer"}, "many"),
        ("1.5", NUMBER, 1.5),
        ("1.5", {"$ref": "#/$defs/Version"}, 1.5),
        ("1.5", {}, 1.5),
    ],
)
def test_text_that_looks_like_json_is_text_where_the_flow_takes_no_other(text, schema, value) -> None:
    """JSON where it may be; what does not fit at all is for the operator to refuse."""
    found = fitting_parameters({"version": text}, {"properties": {"version": schema}})
    assert found == {"version": value}
    assert type(found["version"]) is type(value)


async def test_what_was_typed_fits_the_flow_of_the_deployment() -> None:
    """Where it can be read; else it is JSON where it is JSON."""
    flow = {
        "kind": "Flow",
        "metadata": {"name": "etl", "namespace": "team-a"},
        "spec": {"parameters": {"schema": {"type": "object", "properties": {"version": STRING}}}},
    }
    typed = {"version": "1.21", "n": "3"}
    assert await fitted_to(MemoryApi(a_deployment(), flow), "team-a", "daily", typed) == {"version": "1.21", "n": 3}
    assert await fitted_to(MemoryApi(a_deployment()), "team-a", "daily", typed) == {"version": 1.21, "n": 3}
    assert await fitted_to(MemoryApi(), "team-a", "daily", typed) == {"version": 1.21, "n": 3}
