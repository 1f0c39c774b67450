"""
A small asynchronous client of the Kubernetes API: requests, and list-and-watch streams.

Shared by the operator, the command line and the local cluster; never imported by a flow. Anything that knows
what a Flow is belongs elsewhere.
"""
