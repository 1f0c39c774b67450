"""
The operator: observes, decides, acts.

`observe/` turns the API into frozen snapshots, `decide/` is a pure function of a snapshot and the time, `apply/`
carries its actions out. `handlers/` joins the three, one reconcile a kind.
"""
