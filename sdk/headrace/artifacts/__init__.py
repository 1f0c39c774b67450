"""
Artifacts: what a flow leaves for people to look at: texts, tables, links, images, progress.

Here is what authors call, how the content is written, and where it goes. That a run has them is known to the engine
(`headrace.engine.showcase`).
"""

from __future__ import annotations

from headrace.artifacts.creating import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

__all__ = [
    "create_image_artifact",
    "create_link_artifact",
    "create_markdown_artifact",
    "create_progress_artifact",
    "create_table_artifact",
    "update_progress_artifact",
]
