"""Writes one day into the warehouse, over one connection."""

import time

from headrace import flow, get_run_logger


@flow
def main(day: int = 1) -> int:
    """Loads the day."""
    get_run_logger().info("loading day %d", day)
    time.sleep(2)
    return day


if __name__ == "__main__":
    main(1)
