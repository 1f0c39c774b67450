"""A flow that needs as much memory as it is told."""

from headrace import flow


@flow
def main(mebibytes: int = 300) -> int:
    """Fills memory, and tells how much."""
    filled = b"x" * (mebibytes * 2**20)
    return len(filled) // 2**20


if __name__ == "__main__":
    main()
