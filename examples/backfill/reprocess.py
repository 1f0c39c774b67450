"""Reprocesses one day of orders; that of 4 January has a line that only a lenient reader takes."""

from datetime import datetime

from headrace import flow, get_run_logger


@flow
def main(start: datetime, end: datetime, *, lenient: bool = False) -> int:
    """Counts the orders from start until end."""
    if start.day == 4 and not lenient:
        message = f"the orders of {start:%Y-%m-%d} have a broken line; lenient leaves such lines out"
        raise ValueError(message)
    orders = 100 * int((end - start).total_seconds() // 3600)
    get_run_logger().info("%d orders from %s until %s", orders, start, end)
    return orders


if __name__ == "__main__":
    main(datetime.fromisoformat("2026-01-01T00:00:00Z"), datetime.fromisoformat("2026-01-02T00:00:00Z"))
