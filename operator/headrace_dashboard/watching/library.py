"""All shelves, the streams that fill them, and whole objects read for pages of one object."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from headrace.api import keys
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.errors import NotFound
from headrace.kubeapi.stream import Stream
from headrace_dashboard.watching.news import News
from headrace_dashboard.watching.records import Kept, RunRecord, kept, kept_flow, newest_run, run_record
from headrace_dashboard.watching.saturation import Saturation, sampling
from headrace_dashboard.watching.shelf import Shelf

TICK_S: Final = 1.0
WHOLE: Final = 64
"""Objects that are held as a whole, as somebody looks at them."""


class Library:
    """
    What the cluster holds.

    Args:
        namespace: The only one; empty: all.
    """

    def __init__(self, api: KubeClient, namespace: str = "") -> None:
        self._api = api
        self._namespace = namespace
        self._whole: OrderedDict[tuple[str, str, str], Mapping[str, Any]] = OrderedDict()
        self.news = News()
        self.runs: Shelf[RunRecord] = Shelf(
            keys.FLOWRUNS.plural, run_record, self.news, order=newest_run, last_first=True
        )
        self.flows = self._kept(keys.FLOWS, kept_flow)
        self.deployments = self._kept(keys.DEPLOYMENTS, kept)
        self.backfills = self._kept(keys.BACKFILLS, kept)
        self.pools = self._kept(keys.WORKPOOLS, kept)
        self.limits = self._kept(keys.CONCURRENCYLIMITS, kept)
        self.automations = self._kept(keys.AUTOMATIONS, kept)
        self.saturation = Saturation()

    def _kept(self, resource: keys.Resource, slim: Any) -> Shelf[Kept]:
        return Shelf(resource.plural, slim, self.news, order=_by_name)

    def shelves(self) -> Mapping[keys.Resource, Shelf[Any]]:
        """Every shelf by the kind that it holds."""
        return {
            keys.FLOWRUNS: self.runs,
            keys.FLOWS: self.flows,
            keys.DEPLOYMENTS: self.deployments,
            keys.BACKFILLS: self.backfills,
            keys.WORKPOOLS: self.pools,
            keys.CONCURRENCYLIMITS: self.limits,
            keys.AUTOMATIONS: self.automations,
        }

    @property
    def is_filled(self) -> bool:
        """Whether the runs were listed, which take longest; other kinds tell their problems on the page."""
        return self.runs.is_filled.is_set()

    def problems(self) -> list[str]:
        """Why what is shown may be out of date."""
        return [f"{shelf.plural}: {shelf.problem}" for shelf in self.shelves().values() if shelf.problem]

    async def run(self, now: Callable[[], datetime]) -> None:
        """Watches every kind, and samples how full pools and limits are. Never returns; cancel it."""
        streams = [
            Stream(self._api, path_of(kind, self._scope(kind)), {}, shelf) for kind, shelf in self.shelves().items()
        ]
        async with asyncio.TaskGroup() as group:
            for stream in streams:
                group.create_task(stream.run())
            group.create_task(self.news.run(TICK_S))
            group.create_task(sampling(self.saturation, self.pools, self.limits, news=self.news, now=now))

    async def whole(self, resource: keys.Resource, namespace: str, name: str) -> Mapping[str, Any] | None:
        """
        The object as it is: read once for each of its versions, however many look at it. None: there is none.

        Raises: ApiError.
        """
        key = (resource.plural, namespace, name)
        record = self.shelves()[resource].get(namespace, name)
        held = self._whole.get(key)
        if held is not None and record is not None and _version(held) >= record.version:
            self._whole.move_to_end(key)
            return held
        try:
            found = await self._api.get(path_of(resource, namespace, name))
        except NotFound:
            self._whole.pop(key, None)
            return None
        self._whole[key] = found
        self._whole.move_to_end(key)
        if len(self._whole) > WHOLE:
            self._whole.popitem(last=False)
        return found

    def forget(self, resource: keys.Resource, namespace: str, name: str) -> None:
        """The object was changed: whoever looks next reads it anew."""
        self._whole.pop((resource.plural, namespace, name), None)

    def _scope(self, resource: keys.Resource) -> str:
        return self._namespace if resource.namespaced else ""


def path_of(resource: keys.Resource, namespace: str = "", name: str = "") -> str:
    """The path of a collection of ours (all namespaces where none is given), or of one object in it."""
    within = f"/namespaces/{namespace}" if namespace else ""
    collection = f"/apis/{keys.API_VERSION}{within}/{resource.plural}"
    return f"{collection}/{name}" if name else collection


def _by_name(record: Kept) -> tuple[str, str]:
    return (record.namespace, record.name)


def _version(obj: Mapping[str, Any]) -> int:
    return int(obj["metadata"]["resourceVersion"])
