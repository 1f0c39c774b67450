"""
Tasks in pods of their own.

    flow's pod                                       task's pod
    calling: arguments ──> storage ──> FlowRun ──>   running: arguments <── storage
             value or exception <── storage <──────────────── value or exception ──> storage

`flow_runs` claims and awaits the FlowRuns, `naming` says how they and what lies in the storage are called, `references` how
the task's pod finds its function. What lies there is `headrace.results.cargo`. Loaded when such a task is called.
"""
