"""
What a task in another process reads and writes, told to the process of its flow.

It goes among the log lines of the task, on a logger of its own, as these find their way from wherever the task runs.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from headrace.engine.ledger import Direction
from headrace.engine.scope import CURRENT, Run
from headrace.lineage.datasets import Dataset, dataset_of
from headrace.lineage.watch import lineage_of

LOGGER: Final = logging.getLogger("headrace.lineage")


class NotedByLines:
    """In the process of the task: the Noting of its run."""

    def noted(self, run: Run, direction: Direction, dataset: Dataset) -> None:
        """As promised by Noting."""
        record = LOGGER.makeRecord(LOGGER.name, logging.INFO, "", 0, "touches %s", (str(dataset),), None)
        record.__dict__.update(run.fields, event="lineage_noted", direction=direction, dataset=dataset)
        LOGGER.handle(record)  # whatever level is wanted: this is no line for people


def note_line(facts: Mapping[str, Any]) -> None:
    """In the process of the flow, inside the task run: takes what such a line tells."""
    run = CURRENT.get()
    if run is not None:
        # Facets that cannot be sent come without their dataset: as text.
        lineage_of(run).noted(run, facts["direction"], dataset_of("a task in a process", facts["dataset"]))
