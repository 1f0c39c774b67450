"""Secrets, as a flow reads them: those that its Flow names in a pod, variables or a folder on a laptop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from headrace.errors import UsageError, shown
from headrace.secrecy.redaction import MASK, register

ONLY: Final = "value"
"""The key of a secret that is one text."""
REFERENCE: Final = "secretRef"


class Secret:
    """
    A Secret of the flow: `Secret.load("postgres")["password"]`, or `Secret.load("token").get()` where it has one entry.

    What is loaded is never shown by this process: it is taken out of logs, errors and reports.
    """

    __slots__ = ("_entries", "name")

    def __init__(self, name: str, entries: Mapping[str, bytes]) -> None:
        self.name = name
        self._entries = entries

    @classmethod
    def load(cls, name: str) -> Secret:
        """
        The Secret of this name. Raises: UsageError: there is none here.

        In a pod it is one that the Flow names in spec.secrets. Elsewhere it is a folder of this name in
        HEADRACE_SECRETS_DIR, or the variable HEADRACE_SECRET_<NAME>: a JSON object of texts, or one text.
        """
        from headrace.mounts import folders  # noqa: PLC0415 - most processes load no secret

        around = folders.folder(folders.SECRETS_DIR_ENV)
        found = folders.entries(around / folders.checked_name("secret", name)) if around else {}
        variable = folders.variable_name(folders.SECRET_PREFIX, name)
        found = found or _from_environment(variable)
        if not found:
            raise UsageError(_missing(name, variable))
        for value in found.values():
            register(value)
        return cls(name, found)

    def get(self, key: str | None = None) -> str:
        """
        The text under this key; without a key the only one, or that under "value".

        Raises: UsageError: there is none, or it is no text.
        """
        if key is None:
            key = next(iter(self._entries)) if len(self._entries) == 1 else ONLY
        try:
            return self.data(key).decode()
        except UnicodeDecodeError:
            raise UsageError(f'secret "{self.name}": "{key}" is no text; .data("{key}") gives its bytes') from None

    def data(self, key: str) -> bytes:
        """The bytes under this key. Raises: UsageError: there is no such key."""
        if key not in self._entries:
            raise UsageError(f'secret "{self.name}" has no key {shown(key)}; its keys: {", ".join(self._entries)}')
        return self._entries[key]

    def __getitem__(self, key: str) -> str:
        return self.get(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<secret {self.name}: {', '.join(f'{key}={MASK}' for key in self._entries)}>"


def is_reference(value: Any) -> bool:
    """Whether it names a secret instead of being one: `{"secretRef": {"name": "postgres", "key": "password"}}`."""
    if not isinstance(value, dict) or value.keys() != {REFERENCE}:
        return False
    found = value[REFERENCE]
    return (
        isinstance(found, dict) and found.keys() == {"name", "key"} and all(isinstance(x, str) for x in found.values())
    )


def referenced(value: Mapping[str, Any]) -> str:
    """The text that a reference names. Raises: UsageError: it is not here."""
    return Secret.load(value[REFERENCE]["name"]).get(value[REFERENCE]["key"])


def _from_environment(variable: str) -> Mapping[str, bytes]:
    import json  # noqa: PLC0415 - as above
    import os  # noqa: PLC0415 - as above

    text = os.environ.get(variable, "")
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = None
    if isinstance(parsed, dict) and parsed and all(isinstance(value, str) for value in parsed.values()):
        return {key: value.encode() for key, value in parsed.items()}
    return {ONLY: text.encode()} if text else {}


def _missing(name: str, variable: str) -> str:
    return (
        f'secret "{name}" is not here: name it in spec.secrets of the Flow; on a laptop set {variable} to its text, or to a '
        "JSON object with a text for each key"
    )
