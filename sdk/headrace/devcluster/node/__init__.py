"""
A node without a container runtime: it takes the pods bound to it and runs their containers as local processes.

To the API server it is a kubelet: Node, Lease, pod status, logs. The image of a container is not used; command,
environment, volumes, probes, grace periods and restart policy are. docs/local-cluster.md lists what differs.

    watch ──> one worker a pod ──> one loop a container ──> one process a run, started through launch.py
                    └── status, written whenever it changed       └── log file, read by the https server
"""
