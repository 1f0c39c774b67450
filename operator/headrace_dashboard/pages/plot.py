"""How full something was over time, as SVG: an area for what is used, a line for what waits, one for what there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from headrace_dashboard.pages.html import Html, join, tag
from headrace_dashboard.pages.times import duration
from headrace_dashboard.watching.saturation import Level, Sample

WIDTH: Final = 1000
HEIGHT: Final = 100
POINTS: Final = 240
"""Points of a line at most; of the samples in between the fullest counts."""


def plot(samples: Sequence[Sample], now: datetime, *, points: int = POINTS) -> Html:
    """The samples over their time, and in words what the eye sees; no picture of fewer than two."""
    if len(samples) < 2:
        return tag("p", "Nothing is known yet of the time before: look again in a minute.", class_="hint")
    chosen = _thinned(samples, points)
    top = max(max(each.level.used, each.level.waiting, each.level.most or 0) for each in chosen) or 1
    first, last = chosen[0].at, chosen[-1].at
    span_s = max((last - first).total_seconds(), 1.0)
    places = [(each.at - first).total_seconds() / span_s * WIDTH for each in chosen]

    def line(value: Callable[[Level], int | None]) -> str:
        return _steps(places, [value(each.level) for each in chosen], top)

    used = line(lambda level: level.used)
    told = summary(samples)
    chart = tag(
        "svg",
        tag("title", told),
        tag("path", d=f"{used} L{WIDTH} {HEIGHT} L0 {HEIGHT} Z", class_="used"),
        tag("path", d=line(lambda level: level.waiting), class_="waiting"),
        tag("path", d=line(lambda level: level.most), class_="most"),
        viewBox=f"0 -4 {WIDTH} {HEIGHT + 8}",
        preserveAspectRatio="none",
        role="img",
        aria_label=told,
        class_="plot",
    )
    ago = f"{duration((now - first).total_seconds())} ago"
    axis = tag("p", tag("span", ago), tag("span", f"top: {top:,}"), tag("span", "now"), class_="axis")
    return tag("div", chart, axis)


def summary(samples: Sequence[Sample]) -> str:
    """In words: how much was used at most, how often it was full, and how many waited."""
    used, waiting = (max(values) for values in zip(*((s.level.used, s.level.waiting) for s in samples), strict=True))
    full = sum(1 for each in samples if each.level.most is not None and each.level.used >= each.level.most)
    share = f"full for {100 * full // len(samples)} % of the time" if full else "never full"
    return f"{used:,} in use at most, {share}, {waiting:,} waiting at most"


def legend() -> Html:
    """What the lines are."""
    return join(
        (
            tag("span", "in use", class_="key used"),
            " ",
            tag("span", "waiting", class_="key waiting"),
            " ",
            tag("span", "there is", class_="key most"),
        )
    )


def _thinned(samples: Sequence[Sample], points: int) -> Sequence[Sample]:
    """At most so many: of neighbours the one in which most was used, and of these the one for which most waited."""
    size = -(-len(samples) // points)
    if size == 1:
        return samples
    groups = [samples[start : start + size] for start in range(0, len(samples), size)]
    return [max(group, key=lambda each: (each.level.used, each.level.waiting)) for group in groups]


def _steps(places: Sequence[float], values: Sequence[int | None], top: int) -> str:
    """A path that keeps each value until the next one, with gaps where there is none; empty for none at all."""
    parts: list[str] = []
    previous: int | None = None
    for place, value in zip(places, values, strict=True):
        if value is not None:
            height = HEIGHT - value / top * HEIGHT
            parts.append(f"M{place:.0f} {height:.1f}" if previous is None else f"H{place:.0f} V{height:.1f}")
        previous = value
    return " ".join(parts)
