"""
Tasks in pods of their own.

    flow's pod                                       task's pod
    calling: arguments ──> storage ──> FlowRun ──>   running: arguments <── storage
             value or exception <── storage <──────────────── value or exception ──> storage

`cargo` is what lies in the storage, `naming` where and under which name. Loaded when such a task is called.
"""
