"""
Pages of the documentation as programs: their blocks in order, and a shell that types what they tell to type.

    ```python file=etl.py        is saved as this file
    ```console                   `$ ` begins a command, `> ` goes on with it; the rest is what it shows
    ```console exit=1            the same, and the last command ends with this status
    ```console no-run="why"      is only read

In what a command shows, `…` stands for anything: the rest of a line, or lines if it has one to itself. Times, durations,
ages, made-up ids and the width of columns differ each time and are not compared.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
OPTIONS = {"python": {"file"}, "yaml": {"file"}, "console": {"exit", "no-run"}}
DIFFERS = (
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "INSTANT"),
    (re.compile(r"\b\d{14}-[0-9a-f]{4}\b"), "STARTED-ID"),
    (re.compile(r"\b(\d+[dhms])+\b"), "AGE"),
    (re.compile(r"\b\d\d:\d\d:\d\d\.\d{3}\b"), "TIME"),
    (re.compile(r"(?<=-)[0-9a-f]{12}\b"), "ID"),
    (re.compile(r"\b\d[\d.e-]* s\b"), "SECONDS"),
    (re.compile(r"[ \t]+"), " "),
)
END = "end-of-command"


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. `section` is the heading of the second level above it; `line` is that of the fence, from 1."""

    page: Path
    line: int
    section: str
    language: str
    options: Mapping[str, str]
    text: str

    @property
    def place(self) -> str:
        """Where a person finds it."""
        return f"{self.page.name}:{self.line}"


@dataclass(frozen=True, slots=True)
class Command:
    """What is typed, and what is seen then."""

    typed: str
    shown: str


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order. Raises: ValueError: one has an option that does not exist."""
    tokens = MarkdownIt().parse(page.read_text())
    section = ""
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type == "heading_open" and token.tag == "h2" and following:
            section = following.content
        elif token.type == "fence" and token.map:
            language, *words = shlex.split(token.info) or [""]
            options = dict(word.partition("=")[::2] for word in words)
            block = Block(page, token.map[0] + 1, section, language, options, token.content)
            if unknown := options.keys() - OPTIONS.get(language, set()):
                raise ValueError(f"{block.place}: {language} blocks have no {', '.join(sorted(unknown))}")
            yield block


def commands(block: Block) -> list[Command]:
    """The commands of a console block. Raises: ValueError: it does not begin with one."""
    found: list[Command] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:], ""))
        elif not found:
            raise ValueError(f'{block.place}: begins with "{line}", expected "$ " and a command')
        elif line.startswith("> ") and not found[-1].shown:
            found[-1] = Command(f"{found[-1].typed}\n{line[2:]}", "")
        else:
            found[-1] = Command(found[-1].typed, f"{found[-1].shown}{line}\n")
    return found


def comparable(text: str) -> str:
    """Without what differs from run to run."""
    for pattern, word in DIFFERS:
        text = pattern.sub(word, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def is_shown(expected: str, seen: str) -> bool:
    """Whether a command has shown what its page says."""
    lines = [
        r"(?:.*\n)*?" if line.strip() == "…" else re.escape(line).replace("…", ".*") + "\n"
        for line in comparable(expected).splitlines()
    ]
    return re.fullmatch("".join(lines), f"{comparable(seen)}\n" if seen.strip() else "") is not None


class Shell:
    """
    A bash in a folder, with one session for all commands: variables, folders and background processes stay.

    Use it as a context: at the end everything that it has started is killed.
    """

    def __init__(self, folder: Path, **environment: str) -> None:
        self._folder = folder
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("HEADRACE_", "OTEL_"))}
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env={
                **inherited,
                "HOME": str(folder),
                "KUBECONFIG": str(folder / "no-kubeconfig"),
                "NO_COLOR": "1",
                "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
                "XDG_CACHE_HOME": str(folder / ".cache"),
                **environment,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def follow(self, block: Block) -> None:
        """Does what the block tells. Raises: AssertionError: a command shows something else, or ends otherwise."""
        if name := block.options.get("file"):
            (self._folder / name).write_text(block.text)
        elif block.language == "console" and "no-run" in block.options:
            print(f"{block.place} was not run: {block.options['no-run']}")
        elif block.language == "console":
            self._type(block)

    def _type(self, block: Block) -> None:
        typed = commands(block)
        for number, command in enumerate(typed, start=1):
            seen, status = self.run(command.typed)
            expected = int(block.options.get("exit", 0)) if number == len(typed) else 0
            told = f"{block.place}: $ {command.typed}\n--- seen\n{seen}\n--- on the page\n{command.shown}"
            assert status == expected, f"{told}\nexit status {status}, expected {expected}"
            assert is_shown(command.shown, seen), told

    def run(self, command: str) -> tuple[str, int]:
        """What a command shows, errors too, and its exit status."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{{ {command}\n}} </dev/null\nprintf '\\n%s %s\\n' {END} $?\n")
        self._process.stdin.flush()
        seen = ""
        for line in self._process.stdout:
            if line.startswith(f"{END} "):
                return seen.removesuffix("\n"), int(line.split()[1])
            seen += line
        raise AssertionError(f"the shell ended at: {command}\n{seen}")
