"""
Headrace beside plain Python, Prefect and Dagster, each in an environment of its own.

The modules `with_…` run in those environments, where neither headrace's own tools nor the other peers are installed.
"""
