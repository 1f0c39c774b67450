"""
What runs read and write: declared by tasks (`reads=`, `writes=`), or told while they run.

    from headrace import lineage

    @task(reads="postgres://warehouse/shop/public/orders")
    def export(day: date) -> None:
        lineage.writes(f"s3://lake/orders/{day}.parquet", outputStatistics={"rowCount": 42})

`datasets` knows names, `declared` the options, `watch` records, `events` and `sending` speak OpenLineage.
"""

from __future__ import annotations

from typing import Any

from headrace.lineage.datasets import Dataset, Direction, dataset_of

__all__ = ["Dataset", "reads", "writes"]


def reads(dataset: str | Dataset, **facets: Any) -> None:
    """
    Tells that the running task, or flow, reads this dataset. Outside of both, nothing is told to anybody.

    Args:
        dataset: A URI such as "s3://bucket/key", or a Dataset. A password in it is left out.
        facets: What OpenLineage knows of it beside its name, such as `inputStatistics={"rowCount": 10}`.
    Raises: UsageError: this is no dataset.
    """
    _noted("inputs", "lineage.reads()", dataset, facets)


def writes(dataset: str | Dataset, **facets: Any) -> None:
    """
    Tells that the running task, or flow, writes this dataset, which counts if it succeeds. Else as reads().

    Args:
        facets: Such as `outputStatistics={"rowCount": 10, "size": 4096}`.
    """
    _noted("outputs", "lineage.writes()", dataset, facets)


def _noted(direction: Direction, label: str, dataset: object, facets: dict[str, Any]) -> None:
    from headrace.engine.scope import CURRENT  # noqa: PLC0415 - the engine is loaded where something runs

    given = dataset_of(label, dataset).with_facets(facets)
    run = CURRENT.get()
    if run is None:
        return
    from headrace.lineage.watch import lineage_of  # noqa: PLC0415 - as above

    lineage_of(run).noted(run, direction, given)
