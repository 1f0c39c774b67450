"""Names that Kubernetes takes, made from names that people gave."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass, field

HASH_LENGTH = 5
"""Of a name that is cut: two long names with one beginning stay apart."""


def dns_name(text: str, limit: int, fallback: str = "migrated") -> str:
    """
    The text as a DNS label: lower-case ASCII letters, digits and inner hyphens.

    Args:
        limit: Characters at most, 10 or more. A longer name is cut, and ends with a hash of the whole text.
        fallback: A DNS label, for text that has no letter or digit.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    label = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-") or fallback
    if len(label) <= limit:
        return label
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:HASH_LENGTH]
    return f"{label[: limit - HASH_LENGTH - 1].rstrip('-')}-{digest}"


@dataclass(frozen=True, slots=True)
class Names:
    """The names that are taken, over all sources of one migration, by kind and namespace."""

    _taken: dict[tuple[str, str], set[str]] = field(default_factory=dict)

    def take(self, text: str, kind: str, namespace: str, limit: int) -> str:
        """A name made from `text` that no other object of this kind and namespace has; it is taken from now on."""
        taken = self._taken.setdefault((kind, namespace), set())
        name, number = dns_name(text, limit), 1
        while name in taken:
            number += 1
            ending = f"-{number}"
            name = dns_name(text, limit - len(ending)) + ending
        taken.add(name)
        return name

    def first(self, name: str, kind: str) -> bool:
        """Whether no object of this kind and without a namespace has the name; it is taken from now on."""
        taken = self._taken.setdefault((kind, ""), set())
        is_first = name not in taken
        taken.add(name)
        return is_first
