"""A report made of runs of another flow: one for each region, side by side."""

import asyncio

from headrace import emit_event, flow, run_deployment


@flow
def count(region: str) -> dict[str, int]:
    """Orders of a region, by day. In a cluster it is the Flow of a Deployment, with its own pods."""
    return {f"2026-01-{day:02}": len(region) * day for day in range(1, 32)}


@flow(name="add up")
def add_up(counts: list[dict[str, int]]) -> int:
    """All orders of all regions; a flow in the flow, in the same pod."""
    return sum(sum(each.values()) for each in counts)


@flow
async def main(regions: list[str], month: str = "2026-01") -> int:
    """Starts a run of the Deployment `count` for each region, waits for them, and tells what came of it."""
    runs = await asyncio.gather(*(run_deployment.aio("count", {"region": each}) for each in regions))
    total = add_up([await run.result_aio() for run in runs])
    emit_event("report.made", f"report-{month}", {"orders": total, "runs": [run.name for run in runs]})
    return total


if __name__ == "__main__":
    print(add_up([count(region) for region in ("north", "south")]))
