"""
What a flow tells the world: events, in the shape of CloudEvents 1.0.

    emitting (what authors write) ──> envelope: the event ──> the log
                                                          └─> delivery: the FlowRun's Events, and a URL

Only `emitting` is imported with `headrace`; the rest is loaded by the first event.
"""
