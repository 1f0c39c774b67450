"""What a visitor may do, as the API server says: a SubjectAccessReview for every object and action, kept for some seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from headrace.api.keys import GROUP, Resource
from headrace.kubeapi.client import KubeClient
from headrace_dashboard.access.remembered import Remembered
from headrace_dashboard.access.visitors import Person, Visitor

REVIEWS: Final = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
SELF_REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
REMEMBERED: Final = 50_000
AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class Right:
    """One thing to do: in a namespace or, where that is empty, in all of them; to one object, or to any."""

    verb: str
    resource: str
    namespace: str = ""
    name: str = ""
    group: str = GROUP
    subresource: str = ""

    def attributes(self) -> dict[str, str]:
        """As a review takes them."""
        return {
            "verb": self.verb,
            "group": self.group,
            "resource": self.resource,
            "subresource": self.subresource,
            "namespace": self.namespace,
            "name": self.name,
        }

    def __str__(self) -> str:
        what = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.verb} {what}{f'.{self.group}' if self.group else ''}{where}"


@dataclass(frozen=True, slots=True)
class Scope:
    """Namespaces that may be shown: all of them, or those that are named."""

    everywhere: bool = False
    namespaces: frozenset[str] = frozenset()

    def has(self, namespace: str) -> bool:
        """Whether objects of the namespace may be shown."""
        return self.everywhere or namespace in self.namespaces


class Rights:
    """
    Answers of the API server.

    Args:
        ttl_s: Seconds that an answer counts: for so long a right that was taken away is still used.
        only: The only namespace that is served; empty: all.
    """

    def __init__(self, api: KubeClient, ttl_s: float, clock_s: Callable[[], float], *, only: str = "") -> None:
        self._api = api
        self._only = only
        self._answers: Remembered[tuple[Person, Right], bool] = Remembered(ttl_s, REMEMBERED, clock_s)
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def may(self, visitor: Visitor, right: Right) -> bool:
        """Whether the visitor has the right. Raises: ApiError: nobody knows now, so nothing is to be shown."""
        if self._only and right.namespace and right.namespace != self._only:
            return False
        return await self._answers.get((visitor.person, right), lambda: self._reviewed(visitor, right))

    async def scope(self, visitor: Visitor, resource: Resource, namespaces: Iterable[str]) -> Scope:
        """Those of the namespaces in which the visitor may list the resource. Raises: ApiError."""
        if not (self._only and resource.namespaced) and await self.may(visitor, Right("list", resource.plural)):
            return Scope(everywhere=True)
        if not resource.namespaced:
            return Scope()
        names = [self._only] if self._only else sorted(set(namespaces))
        rights = [Right("list", resource.plural, name) for name in names]
        answers = await asyncio.gather(*(self.may(visitor, right) for right in rights))
        return Scope(namespaces=frozenset(name for name, is_allowed in zip(names, answers, strict=True) if is_allowed))

    async def _reviewed(self, visitor: Visitor, right: Right) -> bool:
        attributes = {"resourceAttributes": right.attributes()}
        kind, path, spec = (
            ("SelfSubjectAccessReview", SELF_REVIEWS, attributes)
            if visitor.is_self
            else ("SubjectAccessReview", REVIEWS, {**visitor.person.spec(), **attributes})
        )
        body: dict[str, Any] = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
        async with self._turns:
            answer = await self._api.create(path, body)
        return (answer.get("status") or {}).get("allowed") is True
