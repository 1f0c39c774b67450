"""Objects as people name them: "etl-7", "run/etl-7", "deployment/nightly", "fdep/nightly"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from headrace.api import keys
from headrace.errors import UsageError


@dataclass(frozen=True, slots=True)
class Reference:
    """One object of ours."""

    resource: keys.Resource
    name: str

    def __str__(self) -> str:
        return f"{self.resource.singular}/{self.name}"


def reference(text: str, allowed: Sequence[keys.Resource]) -> Reference:
    """
    What is meant; without a kind, the first one that is allowed.

    Raises: UsageError: it is of another kind, or no name.
    """
    kind, slash, name = text.rpartition("/")
    names = {word: resource for resource in allowed for word in _words(resource)}
    if (slash and kind.lower() not in names) or not name:
        example = " or ".join(f"{resource.singular}/NAME" for resource in allowed)
        raise UsageError(f'"{text}": expected a name, or {example}')
    return Reference(names[kind.lower()] if slash else allowed[0], name)


def _words(resource: keys.Resource) -> set[str]:
    known = {resource.singular, resource.plural, resource.short_name, resource.crd_name}
    return known | _SHORTER.get(resource, frozenset())


_SHORTER: Final[Mapping[keys.Resource, frozenset[str]]] = {
    keys.FLOWRUNS: frozenset({"run", "runs"}),
    keys.CONCURRENCYLIMITS: frozenset({"limit", "limits"}),
}
"""What people call them."""
