"""Orders: from the API to the warehouse."""

from datetime import date, timedelta

import httpx
from headrace import (
    flow,
    get_run_logger,  # lines of the run
    task,
    unmapped,
)
from headrace.caching import INPUTS
from headrace import concurrency, Backoff
from headrace.runtime import flow_run


@task(
    retries=3,
    retry_delay_seconds=Backoff(10, jitter=0.5),  # be kind to the API
    cache_policy=INPUTS,
    cache_expiration=timedelta(hours=1),
    timeout_seconds=30,
)
def fetch(page: int, limit: int) -> list[dict]:
    return httpx.get("https://api.example.com/orders", params={"page": page, "limit": limit}).json()


@task(log_prints=True)
def load(rows: list[dict]) -> int:
    with concurrency("warehouse-db", slots=2):
        print(f"loading {len(rows)} rows")
    return len(rows)


@flow(name="Orders", retries=2, retry_delay_seconds=60, timeout_seconds=1800.5, log_prints=True)
def main(since: date = date(2026, 1, 1), limit: int = 1000) -> int:
    logger = get_run_logger()
    logger.info("attempt %d of %s", flow_run.attempt, flow_run.name)
    pages = fetch.map(range(1, 4), limit=unmapped(limit))
    loaded = [load.submit(page) for page in pages]
    return sum(future.result(timeout_seconds=60) for future in loaded)


@flow
def train() -> None:
    """Trains the model."""


if __name__ == "__main__":
    main()
