"""Runs one flow or task description: transitions (pure), execution, reporting. Knows no decorators and no Kubernetes."""
