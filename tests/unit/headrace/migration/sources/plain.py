"""A flow that uses only what headrace has too."""

from __future__ import annotations

import prefect
from prefect import flow, get_run_logger as logger_of, task, unmapped  # the usual
from prefect.futures import as_completed
from prefect.logging import get_run_logger
from prefect.tasks import exponential_backoff

DELAYS = exponential_backoff(backoff_factor=2)


@task(retries=2, retry_delay_seconds=DELAYS)
def double(number: int, factor: int) -> int:
    logger_of().info("doubling %d", number)
    return number * factor


@prefect.task(name="total", timeout_seconds=10, tags=None)
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
    numbers = sorted(future.result(timeout=5) for future in as_completed(futures, timeout=5))
    logger.info("attempt %d", prefect.runtime.flow_run.run_count)
    return add(numbers)


if __name__ == "__main__":
    print(plain())
