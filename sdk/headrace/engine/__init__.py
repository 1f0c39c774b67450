"""
Runs one flow or task description: transitions (pure), execution, reporting. Knows no decorators and no Kubernetes.

What decorators and options are made of (`description`, `retries`, `runners` and the like) is imported with `headrace`;
what runs them, `execution` first, when the first flow or task is called.
"""
