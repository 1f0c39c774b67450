"""`headrace completion`: what a shell needs to complete commands, options, and names from the cluster."""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import redirect_stdout, suppress
from io import StringIO
from typing import Annotated, Final, Literal

import typer

VARIABLE: Final = "_HEADRACE_COMPLETE"
SCRIPTS: Final = {
    "bash": f"""_headrace() {{
  local IFS=$'\\n'
  COMPREPLY=( $(COMP_WORDS="${{COMP_WORDS[*]}}" COMP_CWORD=$COMP_CWORD {VARIABLE}=complete_bash "$1") )
}}
complete -o default -F _headrace headrace""",
    "zsh": f"""#compdef headrace
_headrace() {{
  eval $(_TYPER_COMPLETE_ARGS="${{words[1,$CURRENT]}}" {VARIABLE}=complete_zsh headrace)
}}
compdef _headrace headrace""",
    "fish": f"""function __headrace
  env {VARIABLE}=complete_fish _TYPER_COMPLETE_FISH_ACTION=$argv[1] _TYPER_COMPLETE_ARGS=(commandline -cp) headrace
end
complete --command headrace --no-files --arguments "(__headrace get-args)" --condition "__headrace is-args\"""",
}
"""By shell; what they ask, typer answers."""
NO_FILES: Final = ":4"
"""How a program tells kubectl that it has said all: no names of files beside."""


def register(app: typer.Typer) -> None:
    """Adds `headrace completion`."""
    app.command(name="completion")(completion)


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="For which shell.")],
) -> None:
    """
    Prints a script for your shell: `source <(headrace completion bash)`.

    It completes commands, options, and names from the cluster. For fish: `headrace completion fish | source`.
    """
    print(SCRIPTS[shell])


def line_being_typed() -> list[str]:
    """The words that a shell asks to complete, the program first; empty where none asks."""
    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or ""
    try:
        return shlex.split(line) if VARIABLE in os.environ else []
    except ValueError:  # a quote that is not closed yet
        return line.split() if VARIABLE in os.environ else []


def for_kubectl() -> None:
    """`kubectl_complete-headrace WORD...`: what kubectl asks for `kubectl headrace` at each tab. Exits."""
    from headrace.cli.main import run  # noqa: PLC0415 - it imports this module

    words = sys.argv[1:]
    os.environ |= {
        VARIABLE: "complete_bash",
        "COMP_WORDS": shlex.join(["headrace", *words])
        if words and words[-1]
        else f"{shlex.join(['headrace', *words[:-1]])} ",
        "COMP_CWORD": str(max(1, len(words))),
    }
    sys.argv = ["headrace"]
    told = StringIO()
    with redirect_stdout(told), suppress(SystemExit):
        run()
    print(told.getvalue().rstrip("\n"))
    print(NO_FILES)
