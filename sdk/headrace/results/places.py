"""
Where results lie: the URL of an object, and how a URL may be shown.

A results URL is `scheme://who@host/path?options`; the key of an object is put behind its path, before the options.
"""

from __future__ import annotations

import hashlib
import re
from urllib.parse import SplitResult, urlsplit, urlunsplit


def joined(url: str, key: str) -> str:
    """The URL of an object below a results URL."""
    plain, mark, options = url.partition("?")
    return f"{plain.rstrip('/')}/{key}{mark}{options}"


def split(url: str) -> tuple[str, str]:
    """The folder's URL and the name of the object in it."""
    plain, mark, options = url.partition("?")
    folder, _, name = plain.rpartition("/")
    return f"{folder}{mark}{options}", name


def task_folder(namespace: str, run: str, uid: str, task_run: str) -> str:
    """The key below which a task run's objects lie, without a slash in front or behind."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", task_run).strip(".")
    if safe != task_run:
        safe = f"{safe[:100]}-{hashlib.sha256(task_run.encode()).hexdigest()[:8]}"
    return f"{namespace}/{run}/{uid}/{safe}"


def without_password(url: str) -> str:
    """The URL as it may be shown, logged and kept: without a password, and without options that may hold one."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=_nameless(parts), query=_harmless(parts.query), fragment=""))


def password_of(url: str) -> str:
    """The password in the URL, as it stands there; empty if there is none."""
    who, at, _ = urlsplit(url).netloc.rpartition("@")
    return who.partition(":")[2] if at else ""


def with_password_of(ours: str, url: str) -> str:
    """A URL that was shown, with what it was shown without, if it is of the same place as the results URL `ours`."""
    shown, mine, told = urlsplit(without_password(ours)), urlsplit(ours), urlsplit(url)
    if (shown.scheme, shown.netloc, shown.query) != (told.scheme, told.netloc, told.query):
        return url
    return urlunsplit(told._replace(netloc=mine.netloc, query=mine.query))


def _nameless(parts: SplitResult) -> str:
    who, at, host = parts.netloc.rpartition("@")
    return f"{who.partition(':')[0]}{at}{host}"


def _harmless(options: str) -> str:
    secret = re.compile(r"pass|secret|token|key|sig", re.IGNORECASE)
    return "&".join(each for each in options.split("&") if not secret.search(each.partition("=")[0]))
