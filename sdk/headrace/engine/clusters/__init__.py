"""
Tasks on a Dask or Ray cluster that is there already: the flow's side of it, and what runs on the cluster's workers.

What goes over, and what comes back, is that of tasks in processes (`headrace.engine.processes`).
"""
