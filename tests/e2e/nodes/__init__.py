"""
Real nodes without Docker: a control plane, and kubelets with containerd and runc, in namespaces of their own.

    a room (process ids, mounts, network)      etcd, API server, controllers; a bridge, 10.99.0.1
    ├── a room in it for each node             containerd, kubelet, kube-proxy, and the pods; 10.99.0.11, .12, …
    └── a relay                                from a port of the machine's loopback to the API server

What is in a room ends with the one that made it, however that one ends. Outside is nothing but a cgroup in each
hierarchy, which the room's first process removes.
"""
