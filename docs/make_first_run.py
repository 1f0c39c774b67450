# ruff: noqa: INP001 - a script beside the pages
"""
Makes docs/first-run.svg: `python docs/make_first_run.py` runs the demo on a pseudo-terminal and draws what it wrote.

Lines appear in the picture when they appeared on the terminal. It needs no script: a CSS animation shows each line at
its time and moves the page up as a terminal scrolls. Where animations do not run, the last screen is shown.
"""

from __future__ import annotations

import html
import os
import pty
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from rich.style import Style
from rich.text import Text

ROOT = Path(__file__).parents[1]
PICTURE = Path(__file__).with_name("first-run.svg")
COMMAND = ["make", "demo"]

COLUMNS, ROWS = 124, 30
CELL, LINE, SIZE, PADDING, BAR = 7.8, 19, 13, 16, 34
"""In pixels: width of a character, height of a line, size of the letters, margin, and the window's bar."""
HOLD_S = 6.0
"""The last screen stays before it begins again."""
COLOURS = {1: "#ff7b72", 2: "#7ee787", 3: "#e3b341", 6: "#79c0ff"}
"""By the number of the terminal's colour."""
TEXT, DIM, GROUND, FRAME = "#e6edf3", "#8b949e", "#0d1117", "#30363d"
FONT = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"
ERASED = re.compile(r".*\x1b\[2K|\x1b\[\?25[lh]|\r", re.DOTALL)
"""What was on a line before it was erased, and the cursor's comings and goings."""
UP = "\x1b[1A\x1b[2K"
"""One line up, and erase it."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the terminal; `at_s` in seconds from the begin."""

    at_s: float
    text: Text


def main() -> None:
    """Writes the picture, unless the demo fails: then its output is on the screen."""
    lines = list(recorded(COMMAND))
    PICTURE.write_text(drawn(lines))
    sys.stdout.write(f"{PICTURE.relative_to(ROOT)}: {len(lines)} lines, {lines[-1].at_s:.1f} s\n")


def recorded(command: list[str]) -> Iterator[Line]:
    """What the command writes to a terminal of 124 columns, the command itself first. Raises: SystemExit: it failed."""
    yield Line(0.0, Text.assemble(("$ ", "green"), (" ".join(command), "bold")))
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hr") as folder:
        child, terminal = pty.fork()
        if child == 0:
            os.chdir(ROOT)
            os.environ |= {"COLUMNS": str(COLUMNS), "TERM": "xterm-256color", "TMPDIR": folder}
            os.execvp(command[0], command)  # noqa: S606 - the demo
        for at, text in written(terminal):
            yield Line(at - began, Text.from_ansi(shortened(text, folder)))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        sys.exit(f"{' '.join(command)} ended with {status}; no picture was made")


def written(terminal: int) -> Iterator[tuple[float, str]]:
    """The lines that stay on a terminal, each with the time at which it was complete."""
    held: list[tuple[float, str]] = []
    for line in whole_lines(terminal):
        if UP in line:  # a spinner's last picture is ended by a line feed, and then erased
            held.clear()
        yield from held
        held = [(time.monotonic(), ERASED.sub("", line))]
    yield from held


def whole_lines(terminal: int) -> Iterator[str]:
    """What is written between line feeds."""
    rest = b""
    while True:
        try:
            chunk = os.read(terminal, 4096)
        except OSError:  # Linux's word for the end of a terminal
            return
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line.decode(errors="replace") for line in lines)


def shortened(text: str, folder: str) -> str:
    """Temporary folders as a reader wants to see them."""
    return re.sub(re.escape(folder) + r"/headrace-demo-\w+", "/tmp/demo", text)  # noqa: S108 - a picture


def drawn(lines: list[Line]) -> str:
    """The picture of a window in which the lines appear, and which then begins anew."""
    total_s = lines[-1].at_s + HOLD_S
    width = round(COLUMNS * CELL + 2 * PADDING)
    height = BAR + ROWS * LINE + 2 * PADDING
    body = "\n".join(row(number, line) for number, line in enumerate(lines))
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">
<title>make demo: a flow runs on a Kubernetes API on this machine</title>
<style>
text {{ font: {SIZE}px {FONT}; fill: {TEXT}; white-space: pre }}
.dim {{ fill: {DIM} }} .bold {{ font-weight: 600 }}
{" ".join(f".c{number} {{ fill: {value} }}" for number, value in COLOURS.items())}
@media (prefers-reduced-motion: no-preference) {{
#page {{ animation: scroll {total_s:.2f}s step-end infinite }}
#page text {{ animation-duration: {total_s:.2f}s; animation-timing-function: step-end; animation-iteration-count: infinite }}
{appearances(lines, total_s)}
{scrolling(lines, total_s)}
}}
</style>
<rect width="{width}" height="{height}" rx="10" fill="{GROUND}" stroke="{FRAME}"/>
<g fill="{FRAME}"><circle cx="20" cy="17" r="6"/><circle cx="40" cy="17" r="6"/><circle cx="60" cy="17" r="6"/></g>
<svg x="{PADDING}" y="{BAR}" width="{width - 2 * PADDING}" height="{ROWS * LINE + PADDING}">
<g id="page" transform="translate(0 {-offset(len(lines))})">
{body}
</g>
</svg>
</svg>
"""


def row(number: int, line: Line) -> str:
    """One line as an element of text."""
    spans = "".join(span(text, style) for text, style in pieces(line.text))
    return f'<text id="l{number}" y="{(number + 1) * LINE - 5}" xml:space="preserve">{spans}</text>'


def pieces(text: Text) -> Iterable[tuple[str, Style]]:
    """Runs of one style."""
    edges = sorted({0, len(text), *(edge for each in text.spans for edge in (each.start, each.end))})
    for start, end in pairwise(edges):
        styles = [each.style for each in text.spans if each.start <= start and end <= each.end]
        known = [Style.parse(each) if isinstance(each, str) else each for each in styles]
        yield text.plain[start:end], Style.combine([Style.null(), *known])


def span(text: str, style: Style) -> str:
    """A run of text in its colour."""
    number = style.color.number if style.color else None
    names = [name for name, on in (("dim", style.dim), ("bold", style.bold), (f"c{number}", number in COLOURS)) if on]
    shown = html.escape(text, quote=False)
    return f'<tspan class="{" ".join(names)}">{shown}</tspan>' if names else shown


def appearances(lines: list[Line], total_s: float) -> str:
    """A rule for each time at which lines appear."""
    numbers: dict[str, list[int]] = {}
    for number, line in enumerate(lines):
        numbers.setdefault(f"{100 * line.at_s / total_s:.2f}", []).append(number)
    rules = []
    for order, (percent, those) in enumerate(numbers.items()):
        hidden = "" if percent == "0.00" else f"0% {{ opacity: 0 }} {percent}% {{ opacity: 1 }}"
        if hidden:
            chosen = ", ".join(f"#l{number}" for number in those)
            rules.append(f"@keyframes a{order} {{ {hidden} }} #page {chosen} {{ animation-name: a{order} }}")
    return "\n".join(rules)


def scrolling(lines: list[Line], total_s: float) -> str:
    """The movement of the page, a line up whenever the window is full."""
    steps = {
        f"{100 * line.at_s / total_s:.2f}": offset(number)
        for number, line in enumerate(lines, start=1)
        if offset(number)
    }
    moves = " ".join(f"{percent}% {{ transform: translateY(-{up}px) }}" for percent, up in steps.items())
    return f"@keyframes scroll {{ 0% {{ transform: none }} {moves} 100% {{ transform: translateY(-{offset(len(lines))}px) }} }}"


def offset(shown: int) -> int:
    """Pixels by which the page is moved up when so many lines are shown."""
    return max(0, shown - ROWS) * LINE


if __name__ == "__main__":
    main()
