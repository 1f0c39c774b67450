"""
Spans of OpenTelemetry for runs.

`setup` finds or makes what exports them, `spans` watches runs, `context` carries the current span to other processes.
Without the extra `headrace[otel]`, or where nothing is configured, none of it but `context` is loaded.
"""
