"""A Dockerfile as data: its stages, and what each does. Knows the instructions that ours uses and no others."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from string import Template
from typing import Any

WORDS = ("ARG", "ENV", "COPY", "RUN", "USER", "WORKDIR", "EXPOSE", "ENTRYPOINT", "CMD")


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction, such as `COPY` with `sdk ./sdk`."""

    word: str
    text: str


@dataclass(frozen=True, slots=True)
class Stage:
    """From `FROM base AS name` to the next; `base` is another stage or an image."""

    name: str
    base: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Config:
    """What a container of an image gets unless its pod says otherwise."""

    environment: tuple[tuple[str, str], ...] = ()
    user: str = ""
    folder: str = "/"
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()

    def after(self, step: Step) -> Config:
        """The configuration that an instruction leaves; unchanged by those that concern files."""
        if step.word == "ENV":
            named = {**dict(self.environment), **dict(pairs(step.text))}
            return replace(self, environment=tuple(named.items()))
        if step.word == "ENTRYPOINT":
            return replace(self, entrypoint=tuple(json.loads(step.text)), command=())
        read = READ.get(step.word)
        return replace(self, **{read[0]: read[1](step.text)}) if read else self


READ: dict[str, tuple[str, Callable[[str], Any]]] = {
    "USER": ("user", str),
    "WORKDIR": ("folder", str),
    "EXPOSE": ("ports", lambda text: tuple(text.split())),
    "CMD": ("command", lambda text: tuple(json.loads(text))),
}
"""The field that an instruction sets, and how its text is read."""


def parse(text: str, arguments: Mapping[str, str]) -> dict[str, Stage]:
    """
    The stages by name, in order.

    Args:
        arguments: As of `--build-arg`; they replace the defaults of the `ARG`s above the first stage.
    Raises: ValueError: an instruction that is not known here.
    """
    known: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    current: Stage | None = None
    for step in _steps(text):
        if step.word == "FROM":
            base, name = step.text.replace(" AS ", " ").split()
            current = Stage(name, Template(base).substitute(known), ())
        elif current is None and step.word == "ARG":
            name, _, default = step.text.partition("=")
            known[name] = arguments.get(name, default)
        elif current is None or step.word not in WORDS:
            msg = f"Dockerfile: instruction {step.word!r} is not known here; known: FROM, {', '.join(WORDS)}"
            raise ValueError(msg)
        else:
            current = replace(current, steps=(*current.steps, step))
        if current is not None:
            stages[current.name] = current
    return stages


def pairs(text: str) -> Sequence[tuple[str, str]]:
    """`A=1 B="x y"` as names and values."""
    split = [word.partition("=") for word in shlex.split(text)]
    return [(name, value) for name, _, value in split]


def _steps(text: str) -> list[Step]:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    split = [line.split(maxsplit=1) for line in joined.splitlines()]
    return [Step(word, rest.strip()) for word, rest in split]
