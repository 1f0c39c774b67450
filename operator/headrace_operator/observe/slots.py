"""
The Leases of ConcurrencyLimits as the API last told of them.

    stream ──> seen(), gone() ──> indices by limit, holder and pod, free slots and counts by limit ──> news for each engine
    answers to our own writes ──^

What is asked for with each run costs the same whether its limit has ten slots or a thousand. All engines of a process share one store.

A slot whose run is over may be offered: it counts as free here, though its Lease still names that run, and the next one takes it by the
write that would take a free one. This process alone knows of an offer. One that nobody takes ends, and the slot is taken back as that of any
run that is over.

As in the cache, newer wins and gone is gone. Time is counted only from what the stream told: a holder whose renewals do
not arrive here, as the stream is broken, must not be taken for silent by our own answers.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from typing import Any

from headrace import slots
from headrace.slots import PodHolder, parse_holder
from headrace_operator.decide.leases import RateLease, Slot
from headrace_operator.decide.queueing.slots import namespace_of
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.observe.doors import is_echo
from headrace_operator.observe.gone import Gone
from headrace_operator.observe.parse import instant, object_key, version_of
from headrace_operator.observe.slot_news import SlotNews

Record = Slot | RateLease
PASSING = {"version", "renewed", "unchanged_since_s"}
_PLACE = attrgetter("limit", "index")
_LASTING = attrgetter(*(field.name for field in fields(Slot) if field.name not in PASSING))
PodName = tuple[str, str, str]
"""Namespace, name and uid."""


@dataclass(frozen=True, slots=True)
class Offer:
    """
    A slot that is for the next run.

    Args:
        slot: As its Lease says.
        at_s: The monotonic second since which it is.
    """

    slot: Slot
    at_s: float


class Slots:
    """Belongs to one event loop; nothing here waits."""

    def __init__(self) -> None:
        self.held: dict[ObjectKey, Record] = {}
        """Every Lease of a limit, slots and rates."""
        self._of: dict[str, dict[ObjectKey, Record]] = {}
        self._held_by: dict[str, dict[ObjectKey, Slot]] = {}
        self._in_pod: dict[PodName, dict[ObjectKey, Slot]] = {}
        self._rates: dict[str, dict[ObjectKey, RateLease]] = {}
        self._begins_at = 0.0
        self._free: dict[str, list[tuple[int, ObjectKey]]] = {}
        self._free_here: dict[str, list[tuple[int, ObjectKey]]] = {}
        self._used_here: set[ObjectKey] = set()
        self._holders: dict[str, dict[str, int]] = {}
        self._taken: Counter[str] = Counter()
        self._engines: list[SlotNews] = []
        self._served: dict[str, SlotNews | None] = {}
        self._picked: set[ObjectKey] = set()
        self._doubted: set[ObjectKey] = set()
        self._offers: dict[str, dict[ObjectKey, Offer]] = {}
        self._noting: dict[str, asyncio.Lock] = {}
        self._gone = Gone()

    def listen(self, serves: Callable[[str], bool]) -> SlotNews:
        """
        News for one more engine; all that is held is news to it.

        Args:
            serves: Whether a namespace is the engine's.
        """
        news = SlotNews(serves)
        news.limits.update(self._of)
        for limit, held in self._holders.items():
            for holder, count in held.items():
                if serves(namespace_of(holder)):
                    news.note(limit, holder)
                    news.count(limit, count)
        self._engines.append(news)
        self._served.clear()
        return news

    def leave(self, news: SlotNews) -> None:
        """The engine is told no more."""
        self._engines.remove(news)
        self._served.clear()

    def seen(self, obj: Mapping[str, Any], at_s: float | None = None) -> str | None:
        """
        A Lease is there, or has changed. Returns the limit of which there is news; a renewal is none.

        Args:
            at_s: The monotonic second at which the stream told of it; None: it is the answer to our own request.
        """
        old = self.held.get(object_key(obj))
        if old is not None and is_echo(self.held, obj):
            self._stamp(old, version_of(obj), at_s)
            return None
        record = record_from(obj, at_s)
        if record is None:
            return self._disowned(old, obj)
        if record.uid in self._gone:
            return None
        if old is not None and old.version >= record.version:
            return None
        self._replace(old, record)
        self._doubted.discard(record.key)
        return None if old is not None and _is_same(old, record) else self._told(old, record)

    def gone(self, key: ObjectKey, uid: str) -> str | None:
        """A Lease was deleted. Returns the limit of which it is news."""
        self._gone.add(uid)
        old = self.held.get(key)
        if old is None or old.uid != uid:
            return None
        self._replace(old, None)
        self._doubted.discard(key)
        return self._told(old, None)

    def of(self, limit: str) -> tuple[Slot, ...]:
        """The slots of a limit, by index."""
        found = (record for record in self._of.get(limit, {}).values() if isinstance(record, Slot))
        return tuple(sorted(found, key=lambda slot: slot.index))

    def held_by(self, holder: str) -> tuple[Slot, ...]:
        """The slots that carry this holderIdentity, by limit and index."""
        held = self._held_by.get(holder)
        if held is None:
            return ()
        if len(held) == 1:  # most holders have one
            return tuple(held.values())
        return tuple(sorted(held.values(), key=_PLACE))

    def count(self, limit: str) -> int:
        """How many slots the limit has."""
        return len(self._of.get(limit, ())) - len(self._rates.get(limit, ()))

    def holders(self, limit: str) -> dict[str, int]:
        """How many slots of the limit each holder has."""
        return dict(self._holders.get(limit, {}))

    def taken(self, limit: str) -> int:
        """How many slots of the limit are held."""
        return self._taken[limit]

    def numbers(self, limit: str, holders: Iterable[str]) -> dict[str, int]:
        """How many slots of the limit each of these holders has, 0 for none."""
        held = self._holders.get(limit, {})
        return {holder: held.get(holder, 0) for holder in holders}

    def rate_of(self, limit: str) -> RateLease | None:
        """Where the limit's starts are noted; None where there is no such Lease."""
        return next(iter(self._rates.get(limit, {}).values()), None)

    def limits(self) -> tuple[str, ...]:
        """The limits that have Leases, whether they exist or not."""
        return tuple(self._of)

    def limits_held_in_pod(self, namespace: str, name: str, uid: str) -> set[str]:
        """The limits of which code in this pod holds slots."""
        return {slot.limit for slot in self._in_pod.get((namespace, name, uid), {}).values()}

    def pick(self, limit: str) -> Slot | None:
        """
        A free slot that nobody else here is about to take, None if there is none; pair it with `put_down`.

        One that was last held by a run that is served here comes first: other replicas leave those alone while they have their own.
        It is not taken by this: that is for the API server to say.
        """
        found = next((key for key in self._in_order(limit) if key not in self._picked), None)
        slot = None if found is None else self.held[found]
        if not isinstance(slot, Slot):
            return None
        self._picked.add(slot.key)
        return slot

    def _in_order(self, limit: str) -> Iterable[ObjectKey]:
        for _, key in self._free_here.get(limit, ()):
            yield key
        others = self._free.get(limit, ())
        begin = bisect_left(others, (int(self._begins_at * self.count(limit)),))
        for place in (*range(begin, len(others)), *range(begin)):
            yield others[place][1]

    def begin_at(self, fraction: float) -> None:
        """
        Replicas that begin at different places seldom meet.

        Args:
            fraction: Where among the free slots that nobody here has held yet the first is picked, from 0 to below 1.
        """
        self._begins_at = fraction

    def put_down(self, slot: Slot) -> None:
        """Whoever picked it is done."""
        self._picked.discard(slot.key)

    def doubt(self, slot: Slot) -> None:
        """It is about to be given back, and may be free before that is known here."""
        self._doubted.add(slot.key)

    def is_doubted(self, slot: Slot) -> bool:
        """Whether nothing newer was told of it since it was doubted."""
        return slot.key in self._doubted

    def offer(self, slot: Slot, at_s: float) -> bool:
        """
        The slot's run is over: whoever picks it next may have it. Returns whether that is so; it is not where there is news of the slot, or
        may be some that has not come yet.

        Args:
            at_s: The present monotonic second.
        """
        if self.held.get(slot.key) != slot or self.is_doubted(slot):
            return False
        free = replace(slot, holder="")
        self._replace(slot, free)
        self._offers.setdefault(slot.limit, {})[slot.key] = Offer(slot, at_s)
        self._told(slot, free)
        return True

    def offered(self, limit: str) -> int:
        """How many slots of the limit are offered."""
        return len(self._offers.get(limit, ()))

    def end_offers(self, limit: str, *, before_s: float) -> None:
        """Slots that were offered by then, and that nobody is about to take, are again those of the runs that their Leases name."""
        for offer in tuple(self._offers.get(limit, {}).values()):
            if offer.at_s <= before_s and offer.slot.key not in self._picked:
                free = self.held[offer.slot.key]
                self._replace(free, offer.slot)
                self._told(free, offer.slot)

    def noting(self, limit: str) -> asyncio.Lock:
        """Hold it while a start is noted: of two at once, one would have to do it again."""
        return self._noting.setdefault(limit, asyncio.Lock())

    def _disowned(self, old: Record | None, obj: Mapping[str, Any]) -> str | None:
        """Somebody took the label off: it is no slot any more."""
        if old is None or old.version >= version_of(obj):
            return None
        self._replace(old, None)
        return self._told(old, None)

    def _told(self, old: Record | None, new: Record | None) -> str:
        """The limit of which this is news; all engines have it."""
        limit = next(record.limit for record in (new, old) if record is not None)
        for news in self._engines:
            news.limits.add(limit)
        is_used_here = False
        for record in (old, new):
            if isinstance(record, Slot) and record.holder:
                whose = self._whose(record.holder)
                if whose is not None:
                    whose.note(limit, record.holder)
                    is_used_here = True
        if isinstance(new, Slot) and new.holder:
            (self._used_here.add if is_used_here else self._used_here.discard)(new.key)
        return limit

    def _stamp(self, old: Record, version: int, at_s: float | None) -> None:
        """The stream may tell of a version that an answer told of before: its time begins now."""
        if isinstance(old, Slot) and old.version == version and old.unchanged_since_s is None and at_s is not None:
            self._file(old, replace(old, unchanged_since_s=at_s))

    def _replace(self, old: Record | None, new: Record | None) -> None:
        if old is not None:
            self._end_offer(old)
        self._file(old, new)
        if isinstance(old, Slot) and isinstance(new, Slot) and (old.holder, old.closed) == (new.holder, new.closed):
            return
        if isinstance(old, Slot):
            self._uncount(old)
        if isinstance(new, Slot):
            self._count(new)

    def _end_offer(self, record: Record) -> None:
        offers = self._offers.get(record.limit, {})
        if offers.pop(record.key, None) is not None and not offers:
            del self._offers[record.limit]

    def _file(self, old: Record | None, new: Record | None) -> None:
        if old is not None and not (new is not None and _is_found_alike(old, new)):
            del self.held[old.key]
            for index, name in self._indices(old):
                del index[name][old.key]
                if not index[name]:
                    del index[name]
        if new is not None:
            self.held[new.key] = new
            for index, name in self._indices(new):
                index.setdefault(name, {})[new.key] = new

    def _count(self, slot: Slot) -> None:
        if slot.holder:
            self._add(slot, 1)
        elif not slot.closed:
            insort(self._free_like(slot), (slot.index, slot.key))

    def _uncount(self, slot: Slot) -> None:
        if slot.holder:
            self._add(slot, -1)
        elif not slot.closed:
            free = self._free_like(slot)
            del free[bisect_left(free, (slot.index, slot.key))]

    def _free_like(self, slot: Slot) -> list[tuple[int, ObjectKey]]:
        """Where it is kept while it is free; that changes only while it is held."""
        free = self._free_here if slot.key in self._used_here else self._free
        return free.setdefault(slot.limit, [])

    def _add(self, slot: Slot, change: int) -> None:
        holders = self._holders.setdefault(slot.limit, {})
        holders[slot.holder] = holders.get(slot.holder, 0) + change
        if not holders[slot.holder]:
            del holders[slot.holder]
        self._taken[slot.limit] += change
        whose = self._whose(slot.holder)
        if whose is not None:
            whose.count(slot.limit, change)

    def _whose(self, holder: str) -> SlotNews | None:
        """News for the engine that the holder belongs to; None: it is another replica's."""
        namespace = namespace_of(holder)
        if namespace not in self._served:
            self._served[namespace] = next((news for news in self._engines if news.serves(namespace)), None)
        return self._served[namespace]

    def _indices(self, record: Record) -> Iterable[tuple[dict[Any, dict[ObjectKey, Any]], Any]]:
        yield self._of, record.limit
        if isinstance(record, RateLease):
            yield self._rates, record.limit
        elif record.holder:
            yield self._held_by, record.holder
            holder = parse_holder(record.holder)
            if isinstance(holder, PodHolder):
                yield self._in_pod, (holder.namespace, holder.name, holder.uid)


def record_from(obj: Mapping[str, Any], at_s: float | None = None) -> Record | None:
    """A Lease as it is held; None for one that is neither a slot nor the rate of the limit that its label names."""
    metadata = obj["metadata"]
    limit = (metadata.get("labels") or {}).get(slots.LIMIT_LABEL)
    if not limit:
        return None
    key, uid, version = object_key(obj), metadata["uid"], version_of(obj)
    if key.name == slots.rate_name(limit):
        return RateLease(key, uid, version, limit, slots.rate_of(obj), slots.starts_of(obj))
    index = slots.slot_index(limit, key.name)
    if index is None:
        return None
    spec, notes = obj.get("spec") or {}, metadata.get("annotations") or {}
    return Slot(
        key,
        uid,
        version,
        limit,
        index,
        holder=slots.holder_of(obj),
        acquired=instant(spec.get("acquireTime")),
        renewed=instant(spec.get("renewTime")),
        transitions=slots.transitions_of(obj),
        duration_s=spec.get("leaseDurationSeconds"),
        closed=slots.CLOSED_ANNOTATION in notes,
        noted_duration_s=slots.duration_of(obj) if slots.DURATION_ANNOTATION in notes else None,
        unchanged_since_s=at_s,
    )


def _is_found_alike(old: Record, new: Record) -> bool:
    """Whether every index has both in the same place."""
    is_held_alike = isinstance(old, Slot) and isinstance(new, Slot) and old.holder == new.holder
    return is_held_alike and (old.key, old.limit) == (new.key, new.limit)


def _is_same(old: Record, new: Record) -> bool:
    """Whether nothing has changed but the version, the time of renewal and the time of its being told."""
    if isinstance(old, Slot) and isinstance(new, Slot):
        return _LASTING(old) == _LASTING(new)
    return old == new
