"""
Results of tasks, kept where other attempts, other processes and other pods reach them.

For authors of flows: `store`, `store_file` and `store_stream` put a large value aside, and the small `Reference` that
they return goes from task to task in its place (docs/results.md). For the engine: `open_storage` gives bytes by key.
What they mean is in `cargo`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.results.storage import Storage, open_storage

if TYPE_CHECKING:
    from headrace.results.references import Reference, Stream, store, store_file, store_stream

__all__ = ["Reference", "Storage", "Stream", "open_storage", "store", "store_file", "store_stream"]


def __getattr__(name: str) -> Any:
    """What authors use knows the run that it is called in; who only opens a storage does not load the engine for it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from headrace.results import references  # noqa: PLC0415 - see above

    return getattr(references, name)
