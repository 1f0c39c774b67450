"""
An API server in memory, with nodes, for the whole operator in one process.

    Store       objects, versions, watches, the garbage collector       store.py
    Api         paths, params and bodies to the Store                    api.py
    client      a KubeClient whose requests go to an Api, with faults    client.py, faults.py
    Nodes       ends pods as it is told                                  nodes.py
    Timeless    an event loop whose time passes as soon as all wait      timeless.py

Its answers are those of a real API server: tests/cluster/test_simulated_api.py has both pass the same tests.
"""
