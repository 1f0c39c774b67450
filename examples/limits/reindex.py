"""Builds the indices of the warehouse anew, over two connections."""

import time

from headrace import flow, get_run_logger


@flow
def main() -> str:
    """Reindexes everything."""
    get_run_logger().info("reindexing")
    time.sleep(2)
    return "reindexed"


if __name__ == "__main__":
    main()
