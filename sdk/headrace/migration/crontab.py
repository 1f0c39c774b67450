"""
A crontab: each job line becomes a Flow with a command and a Deployment with its schedule.

It is read as cron does: variables hold for the lines below them, the first `%` that is not escaped ends the command and
begins its standard input. `/etc/crontab` and files in `cron.d` name a user before the command.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final
from zoneinfo import available_timezones

from headrace.api.cronshape import MACROS
from headrace.api.deployment import MAX_NAME
from headrace.api.keys import FLOW_CONTAINER
from headrace.migration.checking import checked, cron_problems, manifest
from headrace.migration.cronlines import translated, vixie_needs_both_days
from headrace.migration.names import Names, dns_name
from headrace.migration.report import Migrated, Notes, Output

STAND_IN_IMAGE: Final = "debian:stable-slim"
VARIABLE: Final = re.compile(r"^([A-Za-z_]\w*)\s*=\s*(.*)$")
JOB: Final = re.compile(r"^-?(@\w+|(?:\S+\s+){4}\S+)\s+(.+)$")
USER: Final = re.compile(r"^([a-z_][a-z0-9_-]*)\s+(.+)$")
SYSTEM_USERS: Final = {"root", "www-data", "nobody"}
"""Users that are named like no program."""
SYSTEM_HEADER: Final = re.compile(r"^#.*\buser(-name)?\s+command\b", re.MULTILINE)
PLAIN_WORDS: Final = {"sudo", "nice", "ionice", "nohup", "exec", "time", "env", "timeout", "flock", "cd", "sh", "bash"}
"""Words that say nothing about what a command is for."""
SHELL: Final = "/bin/sh"


@dataclass(slots=True)
class Setting:
    """The variables that hold at a line."""

    env: dict[str, str] = field(default_factory=dict)
    zone: str = ""
    delay_minutes: int = 0


@dataclass(frozen=True, slots=True)
class Job:
    """A job line with the variables that hold for it. `user` is empty in a user's own crontab."""

    line: int
    times: str
    command: str
    stdin: str | None
    user: str
    env: Mapping[str, str]
    zone: str
    delay_minutes: int

    @property
    def part(self) -> str:
        """How findings name it."""
        return self.command if len(self.command) <= 60 else f"{self.command[:59]}…"


def migrated(path: Path, text: str, *, names: Names, namespace: str, image: str | None) -> Migrated:
    """
    The manifests of a crontab.

    Args:
        image: Of every command. None: one that stands in, with a finding for each job.
    """
    notes = Notes(str(path))
    system = is_system(path, text)
    form = "system" if system else "user"
    manifests = [
        each
        for job in _jobs(text, notes, system=system)
        for each in _manifests(job, notes, names, namespace=namespace, image=image)
    ]
    output = Output(f"{path.name.removesuffix('.txt')}.headrace.yaml", tuple(manifests))
    return Migrated(str(path), f"{form} crontab", (output,) if manifests else (), tuple(notes.found))


def is_system(path: Path, text: str) -> bool:
    """Whether lines name a user before the command: by the file's place, its header, or the users that all of them name."""
    if path.resolve() == Path("/etc/crontab") or path.resolve().parent.name == "cron.d":
        return True
    rests = [found[2] for line in text.splitlines() if (found := _job_match(line))]
    users = [found[1] if (found := USER.match(rest)) else "" for rest in rests]
    by_header = bool(SYSTEM_HEADER.search(text)) and all(users)
    return bool(users) and (by_header or all(user in SYSTEM_USERS for user in users))


def _job_match(line: str) -> re.Match[str] | None:
    text = line.strip()
    return None if text.startswith("#") or VARIABLE.match(text) else JOB.match(text)


def _jobs(text: str, notes: Notes, *, system: bool) -> list[Job]:
    setting, jobs = Setting(), []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if variable := VARIABLE.match(line):
            _set(setting, variable[1], _unquoted(variable[2].strip()), line=number, notes=notes)
        elif found := JOB.match(line):
            jobs += _job(found, number, setting, notes, system=system)
        else:
            notes.left(number, line, "it is neither a job nor a variable; write five fields and a command")
    return jobs


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"" else text


def _set(setting: Setting, name: str, value: str, *, line: int, notes: Notes) -> None:
    if name == "CRON_TZ":
        setting.zone = value
        notes.carried(line, name, "schedules[].timeZone")
    elif name == "RANDOM_DELAY" and value.isdigit():
        setting.delay_minutes = int(value)
        notes.carried(line, name, "schedules[].jitterSeconds")
    elif name in {"MAILTO", "MAILFROM"}:
        advice = "output is in the log of the run's pod; alert on runs that fail: docs/operations.md"
        notes.left(line, f"{name}={value}", advice)
    elif name in {"LOGNAME", "USER", "ANACRON", "START_HOURS_RANGE"}:
        notes.changed(line, f"{name}={value}", "it means nothing in a pod")
    else:
        setting.env[name] = value
        notes.carried(line, name)


def _job(found: re.Match[str], line: int, setting: Setting, notes: Notes, *, system: bool) -> list[Job]:
    times, rest, user = found[1], found[2], ""
    if system:
        named = USER.match(rest)
        if named is None:
            notes.left(line, rest, "it names no user before the command, as a system crontab does; write the line anew")
            return []
        user, rest = named[1], named[2]
    command, stdin = _split_input(rest)
    job = Job(line, times, command, stdin, user, dict(setting.env), setting.zone, setting.delay_minutes)
    return [job] if _can_run(job, notes) else []


def _split_input(text: str) -> tuple[str, str | None]:
    r"""The command and its standard input: `%` begins it and separates its lines, `\%` is a percent sign."""
    parts = [part.replace("\\%", "%") for part in re.split(r"(?<!\\)%", text)]
    return parts[0].strip(), "\n".join(parts[1:]) if len(parts) > 1 else None


def _can_run(job: Job, notes: Notes) -> bool:
    if job.times.lower() == "@reboot":
        advice = "refused: a cluster does not start as a machine does; apply a FlowRun once, or use a DaemonSet"
        notes.left(job.line, f"@reboot {job.part}", advice)
        return False
    if job.times.startswith("@") and job.times.lower() not in MACROS:
        notes.left(
            job.line,
            f"{job.times} {job.part}",
            f"it is not known here; write five fields, or one of {', '.join(MACROS)}",
        )
        return False
    return True


def _manifests(job: Job, notes: Notes, names: Names, *, namespace: str, image: str | None) -> Sequence[dict[str, Any]]:
    schedule = _schedule(job, notes)
    if schedule is None:
        return ()
    wanted = _wanted_name(job)
    name = names.take(wanted, "Flow", namespace, MAX_NAME)
    deployment = names.take(name, "Deployment", namespace, MAX_NAME)
    notes.carried(job.line, job.part, f"Flow {name}")
    if dns_name(wanted, MAX_NAME) != name or name != deployment:
        text = f'its Flow is named "{name}" and its Deployment "{deployment}", as others have the name "{wanted}"'
        notes.changed(job.line, job.part, text)
    if image is None:
        text = f"{STAND_IN_IMAGE} stands in; write an image that has the command into spec.image of Flow {name}, or give --image"
        notes.left(job.line, job.part, text)
    _about_user(job, notes)
    metadata = {"namespace": namespace}
    spec = {
        "command": [job.env.get("SHELL") or SHELL],
        "args": ["-c", _script(job)],
        "image": image or STAND_IN_IMAGE,
        "env": [{"name": key, "value": value} for key, value in job.env.items() if key not in {"SHELL", "HOME"}],
        "podTemplate": _pod_template(job),
    }
    flow = manifest("Flow", {"name": name, **metadata}, spec)
    when = manifest(
        "Deployment", {"name": deployment, **metadata}, {"flowRef": {"name": name}, "schedules": [schedule]}
    )
    return (checked(flow, notes, job.line), checked(when, notes, job.line))


def _schedule(job: Job, notes: Notes) -> dict[str, Any] | None:
    both = vixie_needs_both_days(job.times)
    times = translated(job.times, both_days=both)
    problem = times.problem or (next(cron_problems(times.cron), "") if times.cron else "")
    if not problem and job.zone and job.zone not in available_timezones():
        problem = f'CRON_TZ "{job.zone}" is no IANA name; write one, such as Europe/London'
    if problem:
        notes.left(job.line, f"{job.times} {job.part}", problem)
        return None
    if not job.zone:
        text = "cron goes by the machine's time zone; runs go by Etc/UTC unless schedules[].timeZone names another"
        notes.changed(job.line, f"{job.times} {job.part}", text)
    if times.rrule:
        notes.changed(job.line, job.times, f"both of its days must match, which a recurrence rule says: {times.rrule}")
    return {
        "name": "cron" if times.cron else "rrule",
        **({"cron": times.cron} if times.cron else {"rrule": times.rrule}),
        **({"timeZone": job.zone} if job.zone else {}),
        **({"jitterSeconds": job.delay_minutes * 60} if job.delay_minutes else {}),
    }


def _about_user(job: Job, notes: Notes) -> None:
    if job.user and job.user != "root":
        advice = "write securityContext.runAsUser into podTemplate.spec, or let the image say it"
        notes.left(job.line, f"user {job.user}", advice)
    elif job.user:
        notes.changed(job.line, "user root", "the command runs as the user of the image")


def _wanted_name(job: Job) -> str:
    """The program that a command runs: `/opt/app/bin/backup.sh --full` is a "backup"."""
    words = re.split(r"\s+", re.sub(r"[|;&<>(){}\"'`$]", " ", job.command))
    for word in words:
        stem = PurePosixPath(word).name
        if (
            word.startswith("-")
            or "=" in word
            or stem.isdigit()
            or stem in PLAIN_WORDS
            or not re.search("[A-Za-z]", stem)
        ):
            continue
        if word.endswith("/") or re.fullmatch(r"python[\d.]*|php\d*|perl|ruby|node|java", stem):
            continue
        if _is_folder(word, words):
            continue
        return re.sub(r"\.(sh|py|pl|rb|php|js|jar)$", "", stem)
    return "job"


def _is_folder(word: str, words: Sequence[str]) -> bool:
    """What `cd` changes to names no program."""
    at = words.index(word)
    return at > 0 and words[at - 1] == "cd"


def _script(job: Job) -> str:
    if job.stdin is None:
        return job.command
    end = "END_OF_INPUT"
    while end in job.stdin.split("\n"):
        end += "_"
    text = job.stdin.removesuffix("\n")
    return f"{{ {job.command}\n}} <<'{end}'\n{text}\n{end}\n"


def _pod_template(job: Job) -> dict[str, Any] | None:
    home = job.env.get("HOME")
    return {"spec": {"containers": [{"name": FLOW_CONTAINER, "workingDir": home}]}} if home else None
