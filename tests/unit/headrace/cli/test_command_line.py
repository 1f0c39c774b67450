"""The command line as a whole: its commands, its help, exit statuses, sign-in, completion."""

from __future__ import annotations

import ssl
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

import click
import pytest
import typer.main
import yaml
from typer.testing import CliRunner

from headrace.cli.cluster import ClusterRefusal
from headrace.cli.completion import SCRIPTS
from headrace.cli.exits import status_of
from headrace.cli.main import COMMANDS, _asked_for, application, run
from headrace.cli.signin import plain_connection
from headrace.errors import HeadraceError, UsageError
from headrace.kubeapi.errors import ApiError, ConfigurationError, Forbidden, NotFound, Unauthorized, Unreachable
from tests.unit.headrace.hostile_text import BAD, GOOD

SNAPSHOT = Path(__file__).with_name("help.txt")


def commands(group: Any, *path: str) -> dict[str, Any]:
    found = {}
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found |= commands(command, *path, name)
        else:
            found[" ".join((*path, name))] = command
    return found


def summary() -> str:
    """Each command with its options, in their order."""
    lines = []
    for name, command in commands(typer.main.get_command(application())).items():
        options = ["/".join(parameter.opts + parameter.secondary_opts) for parameter in command.params]
        lines.append(f"{name}: {', '.join(options)}")
    return "\n".join(lines) + "\n"


def test_commands_and_options_are_those_that_were_agreed() -> None:
    """What scripts rely on does not go by accident; write the file anew with this module as a program when it changes on purpose."""
    assert summary() == SNAPSHOT.read_text()


def test_the_table_names_what_the_modules_add() -> None:
    assert set(COMMANDS) == set(typer.main.get_command(application()).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_comes_with_its_own_module_alone(name: str) -> None:
    """And says what it does."""
    asked = CliRunner().invoke(application(name), [name, "--help"])
    assert asked.exit_code == 0, asked.output
    assert len(asked.output.splitlines()) > 5


def test_a_list_needs_no_slow_module() -> None:
    """Each of them takes longer than the list itself."""
    code = """
import sys
from headrace.cli.main import application
application("list")
import headrace.cli.signin, headrace.kubeapi.client
slow = {"kubernetes", "aiohttp", "pydantic", "rich.progress", "cryptography"} & set(sys.modules)
sys.exit(f"loads {slow}" if slow else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "only"), [(["list", "-A"], "list"), (["--help"], None), (["nonsense"], None), ([], None)]
)
def test_the_first_word_is_the_command(words: list[str], only: str | None) -> None:
    assert _asked_for(words) == only


def caused(error: Exception) -> ClusterRefusal:
    refusal = ClusterRefusal("do it", "no")
    refusal.__cause__ = error
    return refusal


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UsageError("no"), 2),
        (caused(NotFound(404, "NotFound", "")), 3),
        (caused(Forbidden(403, "Forbidden", "")), 4),
        (caused(Unauthorized(401, "Unauthorized", "")), 4),
        (Unreachable(0, "Unreachable", ""), 5),
        (ConfigurationError("none"), 5),
        (ClusterRefusal("do it", "no"), 1),
        (ApiError(418, "Teapot", ""), 1),
        (HeadraceError("no"), 1),
    ],
)
def test_exit_statuses(error: Exception, status: int) -> None:
    assert status_of(error) == status


def test_an_error_commands_no_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It may quote what somebody else has written."""
    monkeypatch.setattr(sys, "argv", ["headrace", "rerun", "r", "--set", BAD])
    with pytest.raises(SystemExit) as left:
        run()
    assert left.value.code == 2
    assert capsys.readouterr().err == f"headrace: -p {GOOD}: expected NAME=VALUE, such as -p day=2026-01-01\n"


def a_kubeconfig(tmp_path: Path, user: dict[str, Any], **cluster: Any) -> Path:
    path = tmp_path / "config"
    config = {
        "current-context": "here",
        "contexts": [
            {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "team-a"}},
            {"name": "there", "context": {"cluster": "c", "user": "u"}},
        ],
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1/", **cluster}}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(yaml.safe_dump(config))
    return path


def test_a_plain_kubeconfig_is_read_here(tmp_path: Path) -> None:
    """Server, namespace of the context, token."""
    path = a_kubeconfig(tmp_path, {"token": "t"})
    found = plain_connection(path, None)
    assert found is not None
    assert (found.server, found.namespace, found.authorization()) == ("https://127.0.0.1:1", "team-a", "Bearer t")
    assert isinstance(found.ssl, ssl.SSLContext)
    assert found.ssl.verify_mode == ssl.CERT_REQUIRED
    other = plain_connection(path, "there")
    assert other is not None
    assert other.namespace == "default"


@pytest.mark.parametrize(
    "user", [{"exec": {"command": "x"}}, {"tokenFile": "/t"}, {"username": "a"}, {"auth-provider": {"name": "gcp"}}]
)
def test_any_other_sign_in_is_left_to_the_package(tmp_path: Path, user: dict[str, Any]) -> None:
    assert plain_connection(a_kubeconfig(tmp_path, user), None) is None


@pytest.mark.parametrize("key", ["insecure-skip-tls-verify", "proxy-url", "tls-server-name"])
def test_any_other_way_to_the_server_is_left_to_the_package(tmp_path: Path, key: str) -> None:
    """To pass over it would be to talk to the wrong server, or to one that was not checked."""
    assert plain_connection(a_kubeconfig(tmp_path, {"token": "t"}, **{key: "x"}), None) is None


def test_a_certificate_authority_that_is_none_is_an_error(tmp_path: Path) -> None:
    """Which the package tells in its own words: it is never passed over."""
    path = a_kubeconfig(tmp_path, {"token": "t"}, **{"certificate-authority-data": b64encode(b"x").decode()})
    with pytest.raises((OSError, ValueError)):
        plain_connection(path, None)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_completion_script_is_one_of_its_shell(shell: str) -> None:
    """Where that shell is there to say so."""
    program = f"/bin/{shell}"
    if not Path(program).exists():
        pytest.skip(f"{shell} is not installed")
    assert subprocess.run([program, "-n"], input=SCRIPTS[shell], text=True, check=False).returncode == 0


def test_a_shell_is_told_commands_and_options() -> None:
    environment = {
        "_HEADRACE_COMPLETE": "complete_bash",
        "COMP_WORDS": "headrace backfill re",
        "COMP_CWORD": "2",
        "PATH": "/bin",
    }
    done = subprocess.run(
        [sys.executable, "-m", "headrace.cli"], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["resume", "retry-failed"]


def test_every_command_of_a_cluster_takes_a_kubeconfig() -> None:
    """Beside --context, which it declares itself."""
    for name, command in commands(typer.main.get_command(application())).items():
        names = {parameter.name for parameter in command.params}
        assert ("context" in names) == ("kubeconfig" in names), name


if __name__ == "__main__":
    SNAPSHOT.write_text(summary())
    click.echo(f"{SNAPSHOT} is written")
