"""`map()`: what it walks, in which order, how many at a time, and how much of it is in memory."""

import asyncio
import gc
import re
import threading

import pytest

from headrace import UsageError, allow_failure, as_completed, flow, task, unmapped
from headrace.engine.futures import FutureList, TaskFuture
from headrace.engine.session import using
from tests.unit.headrace.runs import a_session


@task
def double(x, plus=0):
    return 2 * x + plus


@task
async def double_on_loop(x):
    await asyncio.sleep(0)
    return 2 * x


@task
def kept(*args, **kwargs):
    return args, kwargs


@task
def fails_at(x, at):
    if x == at:
        raise ValueError(x)
    return x


def run(body, **options):
    made = flow(name="main", **options)(body)
    return asyncio.run(made()) if asyncio.iscoroutinefunction(body) else made()


def test_the_futures_come_in_the_order_of_the_inputs():
    """And the list of them tells all results."""
    assert run(lambda: double.map(range(50), plus=1).result()) == [2 * x + 1 for x in range(50)]
    assert run(lambda: [state.name for state in double.map([1, 2]).wait()]) == ["Succeeded", "Succeeded"]

    async def body():
        return await double_on_loop.map([3, 1, 2])

    assert run(body) == [6, 2, 4]


@pytest.mark.parametrize(
    ("args", "kwargs", "calls"),
    [
        (([1, 2], "ab"), {}, [((1, "ab"), {}), ((2, "ab"), {})]),
        (([1, 2], (3, 4)), {"n": 5}, [((1, 3), {"n": 5}), ((2, 4), {"n": 5})]),
        ((), {"x": iter("ab"), "y": b"c"}, [((), {"x": "a", "y": b"c"}), ((), {"x": "b", "y": b"c"})]),
        (([1, 2], unmapped([3, 4])), {"rows": unmapped({"a": 1})}, [((1, [3, 4]), {"rows": {"a": 1}})] * 2),
        (([],), {}, []),
    ],
)
def test_what_can_be_walked_is_walked_and_the_rest_is_the_same_for_each(args, kwargs, calls):
    """Text is one value, and so is what unmapped() marks."""
    if len(calls) == 2 and calls[0] == calls[1]:
        calls = [((at, *calls[0][0][1:]), calls[0][1]) for at in (1, 2)]
    assert run(lambda: kept.map(*args, **kwargs).result()) == calls
    assert run(lambda: kept.map(*args, max_concurrency=1, **kwargs).result()) == calls if "x" not in kwargs else True


def _maps(*args, **kwargs):
    return lambda: double.map(*args, **kwargs)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (_maps(), 'task "double": map() needs something to map over, such as .map([1, 2, 3])'),
        (_maps("ab"), "needs something to map over"),
        (_maps([1, 2], [1]), 'task "double": map() walks its inputs side by side: zip() argument 2 is shorter'),
        (_maps({"a": 1}), "map() got a dict for argument 1: write unmapped(…) to give it to each call, or list(…)"),
        (_maps([1], plus={}), "map() got a dict for plus"),
        (_maps([1], max_concurrency=0), "max_concurrency is 0, expected a whole number of at least 1"),
        (_maps([1], max_concurrency=True), "max_concurrency is True"),
        (_maps([1], return_state=True), "return_state is for calls; the state of a future is `future.wait()`"),
        (_maps([1], wait_for=3), 'task "double": wait_for is 3, expected futures, such as wait_for=[future]'),
    ],
)
def test_what_map_does_not_take_is_told_with_what_to_write(body, says):
    """And nothing was started."""
    with using(a_session()) as session, pytest.raises(UsageError, match=re.escape(says)):
        run(body)
    assert session.tally.counts().total == 0


def test_map_belongs_into_a_flow():
    """Which waits for it."""
    with pytest.raises(UsageError, match=re.escape('task "double": map() belongs into a flow')):
        double.map([1])


def test_a_future_is_waited_for_and_walked():
    """And a list of futures gives each call the result of one."""
    listed = task(name="listed")(lambda: [1, 2])
    assert run(lambda: double.map(listed.submit()).result()) == [2, 4]
    assert run(lambda: double.map(double.map([1, 2])).result()) == [4, 8]


def test_failures_of_the_inputs_can_be_allowed():
    """Each call gets the result or the exception of its own one."""

    def body():
        return kept.map(allow_failure(fails_at.map([1, 2], at=2))).result()

    (first, _), (second, _) = run(body)
    assert first == (1,)
    assert isinstance(second[0], ValueError)


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_never_more_than_max_concurrency_run_at_a_time(kind):
    """And all of them come, in order."""
    lock, running, most = threading.Lock(), [0], [0]

    def begins():
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])

    def ends():
        with lock:
            running[0] -= 1

    @task
    def step(x):
        begins()
        try:
            return x
        finally:
            ends()

    @task
    async def step_on_loop(x):
        begins()
        try:
            await asyncio.sleep(0)
            return x
        finally:
            ends()

    async def on_loop():
        return [await future async for future in step_on_loop.map(range(200), max_concurrency=4)]

    def plain():
        return [future.result() for future in step.map(range(200), max_concurrency=4)]

    assert run(plain if kind == "def" else on_loop) == list(range(200))
    assert 1 <= most[0] <= 4


def test_a_generator_is_read_only_as_far_as_needed():
    """At most twice max_concurrency ahead of what was fetched, and in the thread that fetches."""
    read, threads = [], set()

    def inputs():
        for x in range(1000):
            read.append(x)
            threads.add(threading.get_ident())
            yield x

    def body():
        ahead = [len(read) - at for at, _ in enumerate(double.map(inputs(), max_concurrency=5))]
        return max(ahead), threads == {threading.get_ident()}

    most, in_thread = run(body)
    assert most <= 10 + 1
    assert in_thread


def test_what_was_fetched_is_not_kept():
    """Else a generator of a million inputs would fill the memory."""

    def body():
        for at, future in enumerate(double.map(iter(range(3000)), max_concurrency=5)):
            if at == 2000:
                gc.collect()
                return sum(type(each) is TaskFuture for each in gc.get_objects()), future.result()
        return None

    alive, value = run(body)
    assert value == 4000
    assert alive < 50


@pytest.mark.parametrize("fetched", [0, 3])
def test_what_nobody_fetches_runs_when_the_flow_ends(fetched):
    """Unless it is cancelled."""
    ran = []
    step = task(name="step")(ran.append)

    def body():
        mapped = iter(step.map(range(100), max_concurrency=4))
        for _ in range(fetched):
            next(mapped)

    run(body)
    assert sorted(ran) == list(range(100))
    ran.clear()
    run(lambda: step.map(range(100), max_concurrency=4).cancel())
    assert len(ran) <= 4


def test_a_failure_that_nobody_looks_at_fails_the_flow():
    """After all inputs were taken."""
    with using(a_session()) as session, pytest.raises(ValueError, match="7"):
        run(lambda: fails_at.map(range(100), at=7, max_concurrency=4) and None)
    assert session.tally.counts().total == 100


def test_an_input_that_raises_is_the_error_of_the_loop():
    """With what ran before it."""

    def inputs():
        yield 1
        raise LookupError("no more rows")

    with pytest.raises(LookupError, match="no more rows"):
        run(lambda: double.map(inputs(), max_concurrency=1).result())
    with pytest.raises(ValueError, match="own"):
        run(lambda: double.map(_raises_value_error(), max_concurrency=1).result())


def _raises_value_error():
    yield 1
    raise ValueError("own")


def test_one_slow_task_does_not_hold_up_the_others():
    """While it runs, as many again may end as may run at a time."""
    go, ended = threading.Event(), []

    @task
    def step(x):
        if x == 0:
            go.wait(timeout=60)
        ended.append(x)
        if len(ended) == 3:
            go.set()

    run(lambda: step.map(range(8), max_concurrency=2).result())
    assert ended[:3] == [1, 2, 3]


def test_a_bounded_map_is_walked_as_its_tasks_end():
    """By as_completed(), in the order in which they do."""
    go = threading.Event()

    @task
    def step(x):
        if x == 0:
            go.wait(timeout=60)
        return x

    def body():
        seen = []
        for future in as_completed(step.map(range(3), max_concurrency=2)):
            seen.append(future.result())
            if len(seen) == 2:
                go.set()
        return seen

    assert run(body) == [1, 2, 0]


def test_a_loop_that_would_block_its_tasks_says_what_to_write():
    """In place of a deadlock."""

    async def body():
        with pytest.raises(UsageError, match="`async for`"):
            next(iter(double_on_loop.map([1], max_concurrency=1)))

    run(body)


def test_a_flow_returns_the_results_of_its_futures():
    """A list of them too, so that they can be stored and sent on."""
    assert run(lambda: double.submit(4)) == 8
    assert run(lambda: double.map([1, 2])) == [2, 4]
    assert run(lambda: {"a": double.submit(1), "b": 3}) == {"a": 2, "b": 3}
    assert type(run(lambda: double.map([1]))) is not FutureList
