"""Two tasks that say what they read and write."""

from datetime import date

from headrace import flow, lineage, task


@task(reads="postgres://warehouse/shop/public/orders", writes="s3://lake/orders/{day}.csv")
def export(day: date) -> str:
    """Known before it runs: declared, with the parameters filled in."""
    return f"s3://lake/orders/{day}.csv"


@task
def merge(files: list[str]) -> int:
    """Known only when it runs: told by the code."""
    for file in files:
        lineage.reads(file)
    lineage.writes("s3://lake/orders/all.csv", outputStatistics={"rowCount": 2 * len(files)})
    return len(files)


@flow
def main() -> int:
    """Exports two days, and merges them."""
    days = [date(2026, 1, 1), date(2026, 1, 2)]
    return merge(export.map(days))


if __name__ == "__main__":
    main()
