"""Benchmarks: each prints its figures beside its budget. `python -m bench [NAME …]` runs them."""
