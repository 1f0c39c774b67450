"""
Limits inside flows and tasks: `concurrency` and `rate_limit`.

    blocks ──> choice ──> local     in this process, without a cluster
                     └──> cluster   Leases; `view` sees them change, `keeper` renews them

What waits is written once, as coroutines over a Way (`ways`). Nothing here knows flows or tasks.
"""
