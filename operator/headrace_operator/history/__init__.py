"""
How finished runs come into the history store (docs/history.md): what waits, who writes it and when, what is told if that fails.

The store itself, its schema and its readers are `headrace.history`. Nothing of this room is loaded where no store is set.
"""
