"""What holds for every test of the project."""

from __future__ import annotations

from hypothesis import settings

# How long one generated case may take says something of the machine, nothing of the code.
settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")
