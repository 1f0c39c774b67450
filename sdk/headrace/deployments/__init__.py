"""
Runs of Deployments that a flow starts, and waits for.

    calls (what authors write) ──> request ──> starting: claimed by name, watched ──> run (what came of it)
                                                  └ here: in a pod; outside: on a laptop

Only `calls` and `run` are imported with `headrace`; the rest is loaded by the first call.
"""
