"""
Headrace beside plain Python, Prefect and Dagster, in one run: `python -m bench peers`.

Import, tasks and size of the bare install. Each contender has an environment of its own, which is made the first time;
where there is no network, headrace is measured alone. What they log at level INFO goes to a file.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from bench.figures import Figure, shown, tell
from bench.peers.environments import (
    ROOT,
    Environment,
    NotInstallable,
    cache_folder,
    environment_of,
    environment_of_headrace,
)

CALLED = 1_000
MAPPED = 10_000
IMPORTS = 9
LIMIT_S = 900.0
"""For one measurement of one contender."""
QUIET: Mapping[str, str] = {
    "DAGSTER_DISABLE_TELEMETRY": "yes",
    "DO_NOT_TRACK": "1",
    "PREFECT_API_REQUEST_TIMEOUT": "600",  # its server falls behind where other programs want the cores too
    "PREFECT_LOGGING_LEVEL": "INFO",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # Nothing answers there: whoever means to call home cannot.
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "NO_PROXY": "127.0.0.1,localhost",
}
"""The peers call nobody, and send no log line to a server that nobody looks at."""


@dataclass(frozen=True, slots=True)
class Contender:
    """Who is measured, and how long a stretch of its work is."""

    name: str
    module: str
    imports: str
    mapped: int = MAPPED
    """Mapped tasks of one measurement; the figure is scaled to 10,000."""
    rounds: int = 7


PLAIN = Contender("plain Python", "with_plain", "")
HEADRACE = Contender("headrace", "with_headrace", "from headrace import flow, task")
PEERS = (
    Contender("Prefect", "with_prefect", "from prefect import flow, task", mapped=1_000, rounds=3),
    Contender("Dagster", "with_dagster", "from dagster import job, op", mapped=1_000, rounds=3),
)


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one contender. Tuples hold one entry a round, none if it did not run; None: not measured."""

    imports_ms: tuple[float, ...]
    called_us: tuple[float, ...]
    mapped_s: tuple[float, ...]
    """Of 10,000 tasks."""
    distributions: int | None = None
    megabytes: float | None = None


def main() -> int:
    """Prints the table. Returns 1 if headrace exceeds a budget."""
    entries = _entries()
    seen = {contender: _figures(contender, environment) for contender, environment in entries.items()}
    print(_table(seen, entries))
    return tell(*_with_budgets(seen[HEADRACE]))


def _with_budgets(ours: Figures) -> Iterator[Figure]:
    yield Figure("import over an empty interpreter", min(ours.imports_ms), "ms", 60)
    yield Figure("a called task", min(ours.called_us), "µs", 100)
    yield Figure("10,000 mapped tasks", min(ours.mapped_s), "s", 2)
    if ours.distributions is not None and ours.megabytes is not None:
        yield Figure("bare install", ours.distributions, "distributions", 8)
        yield Figure("bare install", ours.megabytes, "MB", 20)


def _entries() -> dict[Contender, Environment | None]:
    """Whoever can be measured, and where; None: the interpreter that runs this."""
    entries: dict[Contender, Environment | None] = {PLAIN: None, HEADRACE: None}
    try:
        entries[HEADRACE] = environment_of_headrace()
        for peer in PEERS:
            entries[peer] = environment_of(peer.name.lower())
    except NotInstallable as error:
        print(f"the others are left out: no environment can be made, mostly for want of a package index: {error}\n")
    return entries


def _figures(contender: Contender, environment: Environment | None) -> Figures:
    print(f"measuring {contender.name}", file=sys.stderr, flush=True)
    called_s = _measured(contender, environment, "called", CALLED)
    mapped_s = _measured(contender, environment, "mapped", contender.mapped)
    return Figures(
        imports_ms=_imports_ms(contender, environment),
        called_us=tuple(seconds / CALLED * 1e6 for seconds in called_s),
        mapped_s=tuple(seconds / contender.mapped * MAPPED for seconds in mapped_s),
        distributions=environment.distributions if environment else None,
        megabytes=environment.megabytes if environment else None,
    )


def _measured(contender: Contender, environment: Environment | None, case: str, tasks: int) -> list[float]:
    """Seconds of each round that went well. Each is a process of its own: what the last one left to a server is gone."""
    rounds = [_round_s(contender, environment, case, tasks) for _ in range(contender.rounds)]
    return [seconds for seconds in rounds if seconds is not None]


def _round_s(contender: Contender, environment: Environment | None, case: str, tasks: int) -> float | None:
    cache_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_folder(), ignore_cleanup_errors=True) as name:
        folder = Path(name)
        outcome, log = folder / "seconds.json", folder / "log"
        module = f"bench.peers.{contender.module}"
        command = [_python(environment), "-m", module, case, str(tasks), str(outcome)]
        problem = _problem_of(command, _surroundings(environment, folder), log)
        if not outcome.exists():
            kept = cache_folder() / f"{contender.module}-{case}.log"
            shutil.copy(log, kept)
            print(f"{contender.name}: {case} did not run, {problem}; its log is {kept}", file=sys.stderr)
            return None
        seconds: float = json.loads(outcome.read_text())
        return seconds


def _problem_of(command: list[str], surroundings: Mapping[str, str], log: Path) -> str:
    """Runs it to its end, or to that of all its processes: how it ended."""
    with (
        log.open("w", encoding="utf-8") as told,
        subprocess.Popen(
            command, cwd=ROOT, env=surroundings, stdout=told, stderr=told, start_new_session=True
        ) as process,
    ):
        try:
            return f"exit status {process.wait(LIMIT_S)}"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return f"{LIMIT_S:g} s are over"


def _imports_ms(contender: Contender, environment: Environment | None) -> tuple[float, ...]:
    """Over an empty interpreter; both by turns, so that a busy machine slows both."""
    if contender is PLAIN:
        return ()
    with tempfile.TemporaryDirectory(dir=cache_folder()) as home:
        python, surroundings = _python(environment), _surroundings(environment, Path(home))
        pairs = [
            (_started_ms(python, code, surroundings) for code in ("pass", contender.imports)) for _ in range(IMPORTS)
        ]
        started = [(empty, loaded) for empty, loaded in pairs][1:]  # the first round compiles modules and fills caches
    empty_ms = min(empty for empty, _ in started)
    return tuple(loaded - empty_ms for _, loaded in started)


def _started_ms(python: str, code: str, surroundings: Mapping[str, str]) -> float:
    began_s = time.perf_counter()
    subprocess.run([python, "-c", code], check=True, cwd="/", env=surroundings)
    return (time.perf_counter() - began_s) * 1e3


def _python(environment: Environment | None) -> str:
    return str(environment.python) if environment else sys.executable


def _surroundings(environment: Environment | None, home: Path) -> dict[str, str]:
    if environment is None:
        return dict(os.environ)
    homes = ("HOME", "PREFECT_HOME", "DAGSTER_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return {**kept, **QUIET, **dict.fromkeys((*homes, "TMPDIR"), str(home))}


def _table(seen: Mapping[Contender, Figures], entries: Mapping[Contender, Environment | None]) -> str:
    """In Markdown, as docs/benchmarks.md shows it."""
    ours = seen[HEADRACE]
    rows = [
        ("", *(_title(contender, entries[contender]) for contender in seen)),
        ("---", *("---:" for _ in seen)),
        ("import over an empty interpreter", *(_row(each.imports_ms, "ms", ours.imports_ms) for each in seen.values())),
        ("a task called, of 1,000", *(_row(each.called_us, "µs", ours.called_us) for each in seen.values())),
        ("10,000 tasks mapped", *(_row(each.mapped_s, "s", ours.mapped_s) for each in seen.values())),
        ("distributions of a bare install", *(_count(each.distributions, "", "d") for each in seen.values())),
        ("size of a bare install", *(_count(each.megabytes, " MB", ".0f") for each in seen.values())),
    ]
    lines = [f"{_machine()}: the fastest round (the median), and how many times the fastest of headrace\n"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def _title(contender: Contender, environment: Environment | None) -> str:
    if contender not in PEERS or environment is None:
        return contender.name
    pinned = Path(__file__).with_name(f"requirements-{contender.name.lower()}.txt").read_text()
    (version,) = [line.partition("==")[2] for line in pinned.splitlines() if line.startswith(contender.name.lower())]
    return f"{contender.name} {version}"


def _row(figures: tuple[float, ...], unit: str, ours: tuple[float, ...]) -> str:
    if not figures:
        return "-"
    text = f"{shown(min(figures))} {unit} ({shown(median(figures))})"
    times = min(figures) / min(ours)
    return (
        text if figures is ours else f"{text}, {shown(times)} times" if times >= 1 else f"{text}, 1/{shown(1 / times)}"
    )


def _count(value: float | None, unit: str, form: str) -> str:
    return "-" if value is None else f"{value:{form}}{unit}"


def _machine() -> str:
    cores = os.cpu_count()
    return f"{datetime.now(UTC):%Y-%m-%d}, {platform.system()} {platform.machine()}, {cores} cores, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main())
