"""Files of a day that are published together, or not at all."""

import tempfile
from pathlib import Path

from headrace import Transaction, flow, get_transaction, runtime, task, transaction

FOLDER = Path(tempfile.gettempdir()) / "headrace-export"


@task
def export(region: str, day: str) -> int:
    """Writes the orders of a region to a draft."""
    draft = FOLDER / f"{day}-{region}.csv.draft"
    get_transaction().set("draft", str(draft))
    draft.parent.mkdir(parents=True, exist_ok=True)
    return draft.write_text(f"{day},{region},17\n")


@export.on_rollback
def remove(txn: Transaction) -> None:
    """May be called twice, if a process dies in between: the second time there is nothing."""
    print("removes", txn.get("draft"))
    Path(txn.get("draft")).unlink(missing_ok=True)


@export.on_commit
def publish(txn: Transaction) -> None:
    """The same holds here."""
    draft = Path(txn.get("draft"))
    print("publishes", draft.stem)
    if draft.exists():
        draft.rename(draft.with_suffix(""))


@task(persist_result=False)
def check(sizes: list[int]) -> None:
    """Something is wrong with the files of the first attempt."""
    if runtime.flow_run.attempt == 1 or not all(sizes):
        raise ValueError("the totals do not match")


@flow(retries=1, log_prints=True)
def main(day: str = "2026-01-01") -> int:
    """Exports three regions: readers see all files of a day, or none."""
    with transaction(key=f"export-{day}") as txn:
        if txn.is_committed():
            print("done already")
            return 0
        sizes = export.map(["north", "south", "west"], day).result()
        check(sizes)
    return sum(sizes)


if __name__ == "__main__":
    main()
