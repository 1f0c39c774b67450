"""A file of a million readings goes from task to task as a reference of some hundred bytes."""

from collections.abc import Iterator

from headrace import flow, task
from headrace.results import Reference, store_stream

READINGS = 1_000_000


def readings() -> Iterator[bytes]:
    """Lines, as a sensor would send them; never all at once."""
    for number in range(READINGS):
        yield b"%d,%d\n" % (number, number * number % 97)


@task
def record() -> Reference:
    """Stores them while they come in, and returns where."""
    return store_stream("readings.csv", readings())


@task
def highest(stored: Reference) -> int:
    """Reads them line by line, wherever this task runs."""
    with stored.open() as file:
        return max(int(line.partition(b",")[2]) for line in file)


@flow(log_prints=True)
def main() -> int:
    """Records the readings, and finds the highest one."""
    stored = record()
    print(f"{stored.size} bytes are stored, and what goes on is {stored.key}")
    return highest(stored)


if __name__ == "__main__":
    main()
