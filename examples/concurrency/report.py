"""A report that takes longer than the time from one run of it to the next."""

import time

from headrace import flow, get_run_logger, task


@task
def collect(seconds: int) -> int:
    """Takes its time."""
    time.sleep(seconds)
    return seconds


@flow
def main(seconds: int = 7) -> int:
    """Makes the report."""
    taken = collect(seconds)
    get_run_logger().info("the report is ready after %d s", taken)
    return taken


if __name__ == "__main__":
    main(1)
