"""
The Grafana dashboards of the chart: `python -m charts.make_dashboards [--check]` writes charts/headrace/dashboards/*.json.

    executive  how reliable, how punctual, how dear: what to ask the team about
    on-call    what fails, what waits, what is full: where to look first
    debug      the operator itself: its queue, its passes, its requests

`--check` writes nothing, and fails if a file is not what it would write.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from charts.grafana import BAD, GOOD, Dashboard, Panel, Query, as_json, one

FOLDER = Path(__file__).parent / "headrace" / "dashboards"

IN = 'namespace=~"$namespace"'
ENDED = 'phase=~"Succeeded|Failed|Crashed"'
FAILED = 'phase=~"Failed|Crashed"'


def success() -> str:
    """The share of runs that succeeded within the page's time."""
    wanted = f'headrace_runs_finished_total{{{IN}, phase="Succeeded"}}'
    every = f"headrace_runs_finished_total{{{IN}, {ENDED}}}"
    return f"sum(increase({wanted}[$__range])) / (sum(increase({every}[$__range])) > 0)"


def quantile(share: float, name: str, by: str = "", window: str = "$__rate_interval") -> str:
    """Of a histogram."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({name}_bucket{{{IN}}}[{window}])))"


OBJECTIVE = ((BAD, None), ("orange", 0.97), (GOOD, 0.99))

EXECUTIVE = Dashboard(
    "headrace-executive",
    "Headrace: reliability and cost",
    (
        Panel(
            "Success rate",
            "Runs that succeeded, of those that succeeded, failed or crashed.",
            one(success()),
            "stat",
            "percentunit",
            4,
            5,
            OBJECTIVE,
        ),
        Panel(
            "On time",
            "Scheduled runs that started within a minute of their time.",
            one(
                f'sum(increase(headrace_schedule_delay_seconds_bucket{{{IN}, le="60.0"}}[$__range])) / (sum(increase(headrace_schedule_delay_seconds_count{{{IN}}}[$__range])) > 0)'
            ),
            "stat",
            "percentunit",
            4,
            5,
            OBJECTIVE,
        ),
        Panel(
            "Time to recovery",
            "From the first failure in a row to the next success: the median.",
            one(quantile(0.5, "headrace_recovery_seconds", window="$__range")),
            "stat",
            "s",
            4,
            5,
        ),
        Panel(
            "Runs",
            "Runs that ended.",
            one(f"sum(increase(headrace_runs_finished_total{{{IN}}}[$__range]))"),
            "stat",
            "short",
            4,
            5,
        ),
        Panel(
            "Critical flows that failed",
            "Flows labelled headrace.dev/tier: critical with a failed run.",
            one(
                f"count(sum by (namespace, flow) (increase(headrace_runs_finished_total{{{IN}, {FAILED}}}[$__range])) > 0 "
                'and on (namespace, flow) headrace_flow_info{tier="critical"}) or vector(0)'
            ),
            "stat",
            "short",
            4,
            5,
            ((GOOD, None), (BAD, 1)),
        ),
        Panel(
            "Fully observable flows",
            "Flows with an owner, traces, history and stored results.",
            one(f"avg(min by (namespace, flow) (headrace_flow_signals{{{IN}}}))"),
            "stat",
            "percentunit",
            4,
            5,
        ),
        Panel(
            "Success rate by team",
            "By namespace, over the last hour.",
            one(f"1 - namespace:headrace_run_errors:ratio_rate1h{{{IN}}}", "{{namespace}}"),
            unit="percentunit",
        ),
        Panel(
            "Cost by team",
            "What runs cost in a day, by the prices of their WorkPools.",
            one(f"namespace_currency:headrace_run_cost:increase1d{{{IN}}}", "{{namespace}} {{currency}}"),
            is_stacked=True,
        ),
        Panel(
            "Dearest flows",
            "What the runs of each flow cost.",
            one(
                f"topk(15, sum by (namespace, flow, currency) (increase(headrace_run_cost_total{{{IN}}}[$__range])))",
                "{{namespace}}/{{flow}} {{currency}}",
            ),
            "bargauge",
        ),
        Panel(
            "Cost of a run",
            "The mean of each flow.",
            one(
                f"topk(15, sum by (namespace, flow) (increase(headrace_run_cost_total{{{IN}}}[$__range])) / "
                f"(sum by (namespace, flow) (increase(headrace_runs_finished_total{{{IN}, {ENDED}}}[$__range])) > 0))",
                "{{namespace}}/{{flow}}",
            ),
            "bargauge",
        ),
        Panel(
            "Least reliable flows",
            "Share of their runs that failed or crashed.",
            one(
                f"topk(15, sum by (namespace, flow) (increase(headrace_runs_finished_total{{{IN}, {FAILED}}}[$__range])) / "
                f"(sum by (namespace, flow) (increase(headrace_runs_finished_total{{{IN}, {ENDED}}}[$__range])) > 0))",
                "{{namespace}}/{{flow}}",
            ),
            "bargauge",
            "percentunit",
        ),
        Panel(
            "Nodes that are ready",
            "Of the nodes of each WorkPool.",
            one("pool:headrace_pool_availability:ratio", "{{pool}}"),
            unit="percentunit",
        ),
    ),
    since="now-7d",
)

ON_CALL = Dashboard(
    "headrace-on-call",
    "Headrace: on call",
    (
        Panel(
            "Alerts",
            "Alerts of headrace that fire now.",
            one('count(ALERTS{alertname=~"Headrace.*", alertstate="firing"}) or vector(0)'),
            "stat",
            "short",
            4,
            4,
            ((GOOD, None), (BAD, 1)),
        ),
        Panel(
            "Running",
            "Runs whose pods run.",
            one(f'sum(headrace_runs{{{IN}, phase="Running"}}) or vector(0)'),
            "stat",
            "short",
            4,
            4,
        ),
        Panel(
            "Waiting",
            "Runs that have not started.",
            one(f'sum(headrace_runs{{{IN}, phase="Pending"}}) or vector(0)'),
            "stat",
            "short",
            4,
            4,
        ),
        Panel(
            "Failed in an hour",
            "Runs that failed or crashed.",
            one(f"sum(increase(headrace_runs_finished_total{{{IN}, {FAILED}}}[1h])) or vector(0)"),
            "stat",
            "short",
            4,
            4,
            ((GOOD, None), (BAD, 1)),
        ),
        Panel(
            "Latest",
            "For how long the latest scheduled run has not started.",
            one(f"max(headrace_late_run_seconds{{{IN}}}) or vector(0)"),
            "stat",
            "s",
            4,
            4,
            ((GOOD, None), ("orange", 60), (BAD, 600)),
        ),
        Panel(
            "Open circuits",
            "Deployments that start nothing as they failed too often.",
            one(f"sum(headrace_circuit_open{{{IN}}}) or vector(0)"),
            "stat",
            "short",
            4,
            4,
            ((GOOD, None), (BAD, 1)),
        ),
        Panel(
            "Why runs fail",
            "By reason: docs/diagnosis.md tells what to do about each.",
            one(
                f"sum by (reason) (increase(headrace_runs_finished_total{{{IN}, {FAILED}}}[$__rate_interval]))",
                "{{reason}}",
            ),
            is_stacked=True,
        ),
        Panel(
            "Which flows fail",
            "Failed and crashed runs.",
            one(
                f"sum by (namespace, flow) (increase(headrace_runs_finished_total{{{IN}, {FAILED}}}[$__rate_interval])) > 0",
                "{{namespace}}/{{flow}}",
            ),
            is_stacked=True,
        ),
        Panel(
            "Attempts that are tried again",
            "By reason.",
            one(f"sum by (reason) (increase(headrace_attempts_failed_total{{{IN}}}[$__rate_interval]))", "{{reason}}"),
            is_stacked=True,
        ),
        Panel(
            "What waiting runs wait for",
            "By reason.",
            one(f"sum by (reason) (headrace_runs_waiting{{{IN}}})", "{{reason}}"),
            is_stacked=True,
        ),
        Panel(
            "Runs under way", "By phase.", one(f"sum by (phase) (headrace_runs{{{IN}}})", "{{phase}}"), is_stacked=True
        ),
        Panel(
            "From creation to start",
            "Half of the runs, and 95 of 100, started within.",
            (
                Query(quantile(0.5, "headrace_run_queue_seconds"), "median"),
                Query(quantile(0.95, "headrace_run_queue_seconds"), "95 %"),
            ),
            unit="s",
        ),
        Panel(
            "Slots that are held",
            "Of each ConcurrencyLimit.",
            one("max by (limit) (headrace_limit_slots_held) / max by (limit) (headrace_limit_slots)", "{{limit}}"),
            unit="percentunit",
        ),
        Panel(
            "Runs that wait for a limit",
            "For its slots or its rate.",
            one("max by (limit) (headrace_limit_waiting_runs)", "{{limit}}"),
        ),
        Panel(
            "Runs in pools",
            "And runs that wait for them.",
            (
                Query("sum by (pool) (headrace_pool_runs)", "{{pool}}"),
                Query("sum by (pool) (headrace_pool_queued_runs)", "{{pool}} waiting"),
            ),
        ),
        Panel(
            "Backfills",
            "Partitions that are left.",
            one(
                f'sum by (namespace, backfill) (headrace_backfill_partitions{{{IN}, state=~"pending|active"}})',
                "{{namespace}}/{{backfill}}",
            ),
        ),
        Panel(
            "Duration of runs",
            "95 of 100 runs of each flow ended within.",
            one(
                f"topk(10, {quantile(0.95, 'headrace_run_duration_seconds', 'namespace, flow', '1h')})",
                "{{namespace}}/{{flow}}",
            ),
            unit="s",
        ),
        Panel(
            "Tasks that needed another try",
            "Of all tasks.",
            one(f"namespace:headrace_task_retries:ratio_rate1h{{{IN}}}", "{{namespace}}"),
            unit="percentunit",
        ),
    ),
    since="now-6h",
)

DEBUG = Dashboard(
    "headrace-debug",
    "Headrace: the operator",
    (
        Panel(
            "Shards held",
            "By replica; without shards, 1 leads and 0 stands by.",
            one("headrace_shards_held", "{{pod}}{{instance}}"),
        ),
        Panel("Queue", "Objects that wait to be looked at.", one("headrace_workqueue_length", "{{pod}}{{instance}}")),
        Panel(
            "Passes",
            "By kind and outcome.",
            one("sum by (kind, outcome) (rate(headrace_reconciles_total[$__rate_interval]))", "{{kind}} {{outcome}}"),
            unit="ops",
        ),
        Panel(
            "Time of a pass",
            "99 of 100, by kind.",
            one(
                "histogram_quantile(0.99, sum by (le, kind) (rate(headrace_reconcile_duration_seconds_bucket[$__rate_interval])))",
                "{{kind}}",
            ),
            unit="s",
        ),
        Panel(
            "Requests to the API server",
            "By verb and resource.",
            one(
                "sum by (verb, resource) (rate(headrace_api_requests_total[$__rate_interval]))", "{{verb}} {{resource}}"
            ),
            unit="reqps",
            is_stacked=True,
        ),
        Panel(
            "Requests that failed",
            "By answer.",
            one(
                'sum by (code) (rate(headrace_api_requests_total{code!="ok"}[$__rate_interval])) or vector(0)',
                "{{code}}",
            ),
            unit="reqps",
        ),
        Panel(
            "Requests for a run",
            "Writes and reads of the operator for each run that ended.",
            one(
                "sum(rate(headrace_api_requests_total[$__rate_interval])) / (sum(rate(headrace_runs_finished_total[$__rate_interval])) > 0)"
            ),
        ),
        Panel(
            "CPU",
            "Of each replica, in cores.",
            one('rate(process_cpu_seconds_total{job=~".*headrace.*"}[$__rate_interval])', "{{pod}}{{instance}}"),
        ),
        Panel(
            "Memory",
            "Resident, of each replica.",
            one('process_resident_memory_bytes{job=~".*headrace.*"}', "{{pod}}{{instance}}"),
            unit="bytes",
        ),
        Panel(
            "Records for the history store",
            "By outcome.",
            one(
                "sum by (outcome) (rate(headrace_history_records_total[$__rate_interval])) or vector(0)", "{{outcome}}"
            ),
            unit="ops",
        ),
        Panel(
            "The history store is behind by",
            "How long the first run that waits has waited.",
            one("max(headrace_history_lag_seconds)"),
            unit="s",
        ),
        Panel(
            "Runs that wait for their records",
            "Held back until the store has them.",
            one("sum(headrace_history_waiting_runs)"),
        ),
    ),
    has_namespaces=False,
    since="now-1h",
)

DASHBOARDS = (EXECUTIVE, ON_CALL, DEBUG)


def written() -> dict[Path, str]:
    """Each file, and what is in it."""
    return {FOLDER / f"{each.name}.json": json.dumps(as_json(each), indent=2) + "\n" for each in DASHBOARDS}


def main(arguments: Sequence[str]) -> int:
    """Writes the files. With --check: 1 if one is not current."""
    if "--check" in arguments:
        stale = [path for path, text in written().items() if not path.is_file() or path.read_text() != text]
        for path in stale:
            print(f"{path} is not current: run python -m charts.make_dashboards")
        return int(bool(stale))
    FOLDER.mkdir(exist_ok=True)
    for path, text in written().items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
