"""A run that fails after its dear tasks, and does not pay for them twice."""

import time

from headrace import flow, runtime, task


@task
def count(region: str) -> int:
    """Orders of a region; takes a while."""
    time.sleep(1)
    return len(region)


@task(persist_result=False)
def is_open() -> bool:
    """Whether the warehouse takes reports: asked in every attempt."""
    return runtime.flow_run.attempt > 1


@flow(retries=1, log_prints=True)
def main() -> int:
    """Counts the orders of three regions, and reports them to a warehouse that is closed at first."""
    counts = count.map(["north", "south", "west"]).result()
    if not is_open():
        raise ConnectionError("the warehouse is closed")
    print("reported", total := sum(counts))
    return total


if __name__ == "__main__":
    main()
