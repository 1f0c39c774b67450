"""
Runs one flow or task description: transitions (pure), execution, reporting. Knows no decorators and no Kubernetes.

Only `description` and `retries` are imported with `headrace`; the rest is, when the first flow or task is called.
"""
