"""A flow that uses only what headrace has too."""

from __future__ import annotations

import headrace
from headrace import flow, get_run_logger as logger_of, task, unmapped, Backoff  # the usual
from headrace import as_completed
from headrace import get_run_logger

DELAYS = Backoff(2, jitter=0)


@task(retries=2, retry_delay_seconds=DELAYS)
def double(number: int, factor: int) -> int:
    logger_of().info("doubling %d", number)
    return number * factor


@headrace.task(name="total", timeout_seconds=10)
def add(numbers: list[int]) -> int:
    return sum(numbers)  # not prefect.flow


@flow(
    name="Plain flow",
    retries=3,
    retry_delay_seconds=[10, 20, 40],
    description="Adds numbers.",
    validate_parameters=False,
)
def plain(count: int = 3) -> int:
    logger = get_run_logger()
    futures = double.map(range(count), factor=unmapped(2))
    numbers = sorted(future.result(timeout_seconds=5) for future in as_completed(futures, timeout_seconds=5))
    logger.info("attempt %d", headrace.runtime.flow_run.attempt)
    return add(numbers)


if __name__ == "__main__":
    print(plain())
