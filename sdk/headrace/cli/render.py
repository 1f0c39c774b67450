"""`headrace render`: the manifests of a flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from headrace.cli.arguments import Entrypoint, Given, GivenFile, parameters
from headrace.cli.recording import arguments_of, headed
from headrace.entrypoints import load_flow
from headrace.errors import UsageError

if TYPE_CHECKING:
    import yaml

    from headrace.rendering import Place

Option = typer.Option
OnConflict = Literal["Queue", "Skip", "Replace"]
Inline = Annotated[
    bool | None,
    Option("--inline/--image-source", help="Whether the code goes into the manifest. Else: if it is given as a file."),
]
After = Annotated[
    list[str] | None,
    Option("--after", metavar="DEPLOYMENT", help="Start when a run of this Deployment has succeeded; may be repeated."),
]
File = Annotated[
    Path | None, Option("--output", "-o", metavar="FILE", help="Write a file that `headrace rerender` keeps current.")
]


def register(app: typer.Typer) -> None:
    """Adds `headrace render`."""
    app.command(name="render")(render)


def render(  # noqa: PLR0913 - one argument an option
    entrypoint: Entrypoint,
    *,
    name: Annotated[str | None, Option(help="Name of the resources. Else the flow's.")] = None,
    namespace: Annotated[str, Option("--namespace", "-n", help="Their namespace. Else that of kubectl.")] = "",
    image: Annotated[str | None, Option(help="Image to run in. Else the operator's image for Python flows.")] = None,
    inline: Inline = None,
    cron: Annotated[str | None, Option(help='Five fields, such as "0 7 * * *".')] = None,
    interval: Annotated[int | None, Option(metavar="SECONDS", help="Seconds from one run to the next.")] = None,
    rrule: Annotated[str | None, Option(help='RFC 5545, such as "FREQ=MONTHLY;BYDAY=-1FR".')] = None,
    time_zone: Annotated[str | None, Option(help="Of --cron and --rrule, such as Europe/London. Else UTC.")] = None,
    after: After = None,
    param: Given = None,
    params_file: GivenFile = None,
    concurrency: Annotated[int | None, Option(metavar="N", help="Runs that may be active at once.")] = None,
    on_conflict: Annotated[OnConflict | None, Option(help="What becomes of a run too many. Else Queue.")] = None,
    deployment: Annotated[
        bool, Option("--deployment", help="Print a Deployment even if no other option asks for one.")
    ] = False,
    output: File = None,
) -> None:
    """
    Prints the manifests of a flow: `headrace render etl.py:main --cron "0 7 * * *" | kubectl apply -f -`.

    A Flow, and a Deployment if a schedule, --after, parameters or a concurrency limit are given.
    """
    given = dict(locals())  # each option by its name, while there is nothing else
    from headrace import rendering  # noqa: PLC0415 - the API's models; other commands start without them

    source = load_flow(entrypoint)
    place = _place(
        entrypoint, name or rendering.resource_name(source, entrypoint), namespace, image=image, inline=inline
    )
    parts: dict[str, Any] = {
        "parameters": source.parameters.to_json(parameters(source, param or (), params_file)),
        "schedules": _schedules({"cron": cron, "intervalSeconds": interval, "rrule": rrule}, time_zone),
        "concurrency": _concurrency(concurrency, on_conflict),
        "triggers": _triggers(after or ()),
    }
    manifests = [rendering.flow_manifest(source, place)]
    if deployment or any(parts.values()):
        manifests.append(rendering.deployment_manifest(place, **parts))
    if output is None:
        typer.echo(as_yaml(manifests), nl=False)
        return
    arguments = arguments_of(entrypoint, _options(given), output.resolve().parent)
    output.write_text(headed(as_yaml(manifests), arguments), encoding="utf-8")


def _options(given: Mapping[str, Any]) -> dict[str, object]:
    """What `arguments_of` takes: all that was given but the flow and the file that is written."""
    options = {
        f"--{name.replace('_', '-')}": value for name, value in given.items() if name not in {"entrypoint", "output"}
    }
    return options | {"--image-source": given["inline"] is False}


def as_yaml(manifests: list[dict[str, Any]]) -> str:
    """The manifests as YAML documents, with text of several lines as it was written."""
    import yaml  # noqa: PLC0415 - as above

    class Dumper(yaml.SafeDumper):
        """SafeDumper's own style but for text."""

    Dumper.add_representer(str, _text)
    return yaml.dump_all(manifests, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


def _place(entrypoint: str, name: str, namespace: str, *, image: str | None, inline: bool | None) -> Place:
    from headrace.rendering import Place, inline_files  # noqa: PLC0415 - as above

    path, _, function = entrypoint.rpartition(":")
    is_file = path.endswith(".py")
    if inline and not is_file:
        raise UsageError(
            f'--inline needs a file: write "{path.replace(".", "/")}.py:{function}" in place of "{entrypoint}"'
        )
    if inline is False or not is_file:
        return Place(entrypoint, name, namespace, image)
    file = Path(path)
    return Place(f"{file.name}:{function}", name, namespace, image, inline_files(file))


def _schedules(times: Mapping[str, str | int | None], time_zone: str | None) -> list[dict[str, Any]]:
    names = {"cron": "cron", "intervalSeconds": "interval", "rrule": "rrule"}
    given = [{"name": names[field], field: value} for field, value in times.items() if value is not None]
    on_wall_clock = [each for each in given if "intervalSeconds" not in each]
    if time_zone and not on_wall_clock:
        raise UsageError("--time-zone belongs to --cron or --rrule; an interval is the same everywhere")
    for each in on_wall_clock:
        each.update({"timeZone": time_zone} if time_zone else {})
    return given


def _triggers(after: Sequence[str]) -> list[dict[str, Any]]:
    """One, on any of these Deployments."""
    return [{"name": "after", "run": {"deployments": list(after), "phases": ["Succeeded"]}}] if after else []


def _concurrency(limit: int | None, on_conflict: OnConflict | None) -> dict[str, Any] | None:
    if limit is None:
        if on_conflict:
            raise UsageError("--on-conflict belongs to --concurrency: give the number of runs that may be active")
        return None
    return {"limit": limit, **({"onConflict": on_conflict} if on_conflict else {})}
