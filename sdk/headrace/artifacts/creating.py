"""What authors call. Each function blocks while it stores the content; in an `async def` write `await function.aio(…)`."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.artifacts.content import Table
    from headrace.engine.showcase import Artifact

P = ParamSpec("P")
R = TypeVar("R")


class Blocking(Generic[P, R]):
    """A function that blocks, and the same for `async def`."""

    def __init__(self, function: Callable[P, R]) -> None:
        self._function = function
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """As the function."""
        return self._function(*args, **kwargs)

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """As the function; the event loop stays free."""
        from headrace.off_loop import off_the_loop  # noqa: PLC0415 - only those who await it need it

        done: R = await off_the_loop(self._function)(*args, **kwargs)
        return done


@Blocking
def create_markdown_artifact(markdown: str, key: str | None = None, description: str | None = None) -> Artifact:
    """
    Keeps a text in Markdown. Returns: the artifact, with the URL where it is.

    Args:
        key: Names it in the run: lower-case letters, digits and "-". One with a key that is there already takes its
            place. None: "markdown-0", "markdown-1", …, in a task with the task run in front: "load-3-markdown-0".
        description: In one line, for lists. None: none.
    Raises: UsageError: the key or the content cannot be one. ResultsError: the result storage failed.
    """
    from headrace.artifacts import content, keeping  # noqa: PLC0415 - flows without artifacts do not load it

    return keeping.kept("markdown", content.markdown(markdown), key, description)


@Blocking
def create_table_artifact(table: Table, key: str | None = None, description: str | None = None) -> Artifact:
    """
    Keeps a table: a list of dicts (rows), a dict of lists (columns), or a list of lists.

    Other arguments, result and errors as of create_markdown_artifact.
    """
    from headrace.artifacts import content, keeping  # noqa: PLC0415 - as above

    return keeping.kept("table", content.table(table), key, description)


@Blocking
def create_link_artifact(
    link: str, link_text: str | None = None, key: str | None = None, description: str | None = None
) -> Artifact:
    """
    Notes a URL, which is kept as it is.

    Args:
        link_text: What it is called. None: the URL alone.
    Other arguments, result and errors as of create_markdown_artifact.
    """
    from headrace.artifacts import content, keeping  # noqa: PLC0415 - as above

    told = ": ".join(text for text in (link_text, description) if text)
    return keeping.kept("link", content.link(link), key, told)


@Blocking
def create_image_artifact(
    image_url: str | Path | bytes, key: str | None = None, description: str | None = None
) -> Artifact:
    """
    Keeps an image: the file of a path, the bytes of a PNG, JPEG, GIF, WebP or SVG; or notes the URL of one.

    Other arguments, result and errors as of create_markdown_artifact.
    """
    from headrace.artifacts import content, keeping  # noqa: PLC0415 - as above

    return keeping.kept("image", content.image(image_url), key, description)


@Blocking
def create_progress_artifact(progress: float, key: str | None = None, description: str | None = None) -> Artifact:
    """
    Tells how far the run is, in per cent. The log has it at most once a second, and always the last of it.

    Other arguments, result and errors as of create_markdown_artifact.
    """
    from headrace.artifacts import content, keeping  # noqa: PLC0415 - as above

    return keeping.told("progress", content.per_cent(progress), key, description)


@Blocking
def update_progress_artifact(
    artifact_id: Artifact | str, progress: float, description: str | None = None, key: str | None = None
) -> Artifact:
    """
    Tells how far the run is now; `artifact_id` is what create_progress_artifact returned, or its key.

    Other arguments, result and errors as of create_markdown_artifact. A description of None stays as it was.
    """
    from headrace.artifacts import content, keeping  # noqa: PLC0415 - as above

    found: Any = artifact_id
    return keeping.told("progress", content.per_cent(progress), key or getattr(found, "key", found), description)
