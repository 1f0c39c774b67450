"""
The table of finished runs, and how it came to be what it is: numbered migrations, each done once and never changed again.

Where the databases differ, a statement says `{time}`, `{json}` or `{now}`. People query this table by SQL: docs/history.md describes
every column, and a column that is there stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

TABLE: Final = "headrace_runs"
VERSIONS: Final = "headrace_history_version"
"""A table with one row, the number of the last migration."""

MIGRATIONS: Final[Mapping[int, tuple[str, ...]]] = {
    1: (
        """
        create table headrace_runs (
          uid text primary key,
          namespace text not null,
          name text not null,
          flow text,
          deployment text,
          schedule text,
          revision text,
          phase text not null,
          reason text,
          message text,
          scheduled_for {time},
          created_at {time},
          queued_at {time},
          started_at {time},
          finished_at {time} not null,
          duration_s double precision,
          attempt_count integer,
          pool text,
          cpu_s double precision,
          max_memory_bytes bigint,
          cost_amount numeric,
          cost_currency text,
          labels {json},
          parameters {json},
          spec {json},
          attempts {json},
          tasks {json},
          result {json},
          artifacts {json},
          lineage {json},
          pauses {json},
          log_tail text,
          refused text,
          recorded_at {time} not null default {now}
        )
        """,
        "create index headrace_runs_finished on headrace_runs (finished_at)",
        "create index headrace_runs_deployment on headrace_runs (namespace, deployment, finished_at)",
        "create index headrace_runs_phase on headrace_runs (phase, finished_at)",
        "create index headrace_runs_name on headrace_runs (namespace, name)",
    ),
    2: (
        "alter table headrace_runs add column backfill text",
        "alter table headrace_runs add column partition text",
        "create index headrace_runs_backfill on headrace_runs (namespace, backfill, partition) where backfill is not null",
    ),
    3: ("alter table headrace_runs add column audit {json}",),
}
CURRENT: Final = max(MIGRATIONS)

DOCUMENTS: Final = (
    "labels",
    "parameters",
    "spec",
    "attempts",
    "tasks",
    "result",
    "artifacts",
    "lineage",
    "pauses",
    "audit",
)
"""Columns of JSON."""
COLUMNS: Final = (
    *("uid", "namespace", "name", "flow", "deployment", "schedule", "backfill", "partition", "revision"),
    *("phase", "reason", "message", "scheduled_for", "created_at", "queued_at", "started_at", "finished_at"),
    *("duration_s", "attempt_count", "pool", "cpu_s", "max_memory_bytes", "cost_amount", "cost_currency"),
    *DOCUMENTS,
    *("log_tail", "refused"),
)
"""Those that a record has; `recorded_at` is the database's."""
