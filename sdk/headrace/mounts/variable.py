"""Variables: values that a flow reads and that change without a change of the flow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from headrace.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


class Variable:
    """A value from the ConfigMaps that the Flow names in spec.variables: `Variable.get("batch_size", default=100)`."""

    @staticmethod
    def get(name: str, default: Any = None) -> Any:
        """
        The value under this key: what its JSON says, or the text where it is no JSON. `default` if there is none.

        It is read anew by each call. The variable HEADRACE_VARIABLE_<NAME> comes before the ConfigMaps.

        Args:
            name: The key, such as "batch_size"; "settings/batch_size" says which ConfigMap is meant.
        Raises: UsageError: several ConfigMaps have the key.
        """
        import os  # noqa: PLC0415 - flows without variables do not load the rest either

        from headrace.mounts import folders  # noqa: PLC0415 - as above

        text = os.environ.get(folders.variable_name(folders.VARIABLE_PREFIX, name))
        if text is None:
            text = _from_folders(name)
        return default if text is None else _value(text)


def _from_folders(name: str) -> str | None:
    from headrace.mounts import folders  # noqa: PLC0415 - as above

    source, _, key = name.rpartition("/")
    for part in (source, key) if source else (key,):
        folders.checked_name("variable", part)
    around = folders.folder(folders.VARIABLES_DIR_ENV)
    found = [path for path in _places(around, source, key) if path.is_file()] if around else []
    if len(found) > 1:
        sources = [path.parent.name for path in found]
        raise UsageError(
            f'variable "{name}" is in the ConfigMaps {" and ".join(sources)}; say which one you mean: '
            f'Variable.get("{sources[0]}/{key}")'
        )
    return found[0].read_text(encoding="utf-8") if found else None


def _places(around: Path, source: str, key: str) -> Iterator[Path]:
    """Where the key may be; in a folder without folders, such as one on a laptop, it is a file itself."""
    if source:
        yield around / source / key
        return
    yield around / key
    yield from (path / key for path in (sorted(around.iterdir()) if around.is_dir() else []) if path.is_dir())


def _value(text: str) -> Any:
    import json  # noqa: PLC0415 - as above

    try:
        return json.loads(text)
    except ValueError:
        return text
