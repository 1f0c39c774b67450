"""
Transactions: several tasks whose results count together, or not at all.

    current      which transaction is around the running code; all that a run without one pays for
    scopes       the Transaction as authors see it: its values, its state
    blocks       the block itself: what is done inside is committed at its end, or rolled back
    calling      calls the hooks of authors
    journal      what a block notes in the result storage, so that it outlives the process
    recovery     what an attempt that died still owes
    known        the hooks of tasks, by the names that a later process knows them by

A result of a task in a block is put under its key at once, and names the commit record without which it counts as absent.
So a commit is one write. Where results lie, and when they are stored, is decided in `engine.keeping`.
"""
