"""
Result storage: bytes by key, in a folder or an object store that several pods reach.

What the bytes mean is for others to know (`headrace.remote`); here is only where they are, and whether they are whole.
"""

from __future__ import annotations

from headrace.results.storage import Storage, open_storage

__all__ = ["Storage", "open_storage"]
