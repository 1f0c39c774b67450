"""
Results that outlive the process of their run, and how they are found again.

    places ──> checkpoint     of one flow run: what an earlier attempt has finished
          └──> cache          across runs: what was computed from the same, under a lock
                 deposits     the one place where it is decided that a result is stored now

`fingerprints` tells values apart, `policies` says which of them count, `shelf` is the storage as a run uses it. Loaded when
a result is to be kept. What goes wrong here is told in the log, and never ends a task: the result is in memory.
"""
