"""`headrace migrate`: deployments and flows of Prefect, crontabs and CronJobs as our files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from headrace.cli.printing import counted
from headrace.cli.render import as_yaml

if TYPE_CHECKING:
    from headrace.migration.report import Migrated

Option = typer.Option


def register(app: typer.Typer) -> None:
    """Adds `headrace migrate`."""
    app.command(name="migrate")(migrate)


def migrate(  # noqa: PLR0913 - one argument an option
    source: Annotated[
        list[Path], typer.Argument(help="A prefect.yaml, a Python module, a crontab, or a manifest of CronJobs.")
    ],
    *,
    to: Annotated[Path, Option("--to", metavar="DIR", help="Folder to write into.")] = Path("migrated"),
    dry_run: Annotated[bool, Option("--dry-run", help="Print the report and the files; write nothing.")] = False,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace files that are there with other content.")] = False,
    namespace: Annotated[str, Option("--namespace", "-n", help="Of what names none. Else that of kubectl.")] = "",
    image: Annotated[str | None, Option(help="Image that has the commands of a crontab.")] = None,
    output: Annotated[Literal["text", "json"], Option("--output", "-o", help="json has every finding.")] = "text",
) -> None:
    """
    Turns jobs of Prefect, cron and Kubernetes into Flows and Deployments, and lists what it could not carry over.

    Sources are read, never run. Every manifest is checked before anything is written.
    """
    from headrace.migration import sources, writing  # noqa: PLC0415 - the API's models; other commands start without them

    found = sources.migrate(source, sources.Options(namespace, image))
    files = _files(found)
    written = [] if dry_run else writing.write(to, files, overwrite=overwrite)
    print(_as_json(found) if output == "json" else _as_text(found, to, len(written), dry_run=dry_run))
    if dry_run and output == "text":
        for name, text in files.items():
            print(f"\n# {to / name}\n{text}", end="")


def _files(found: Sequence[Migrated]) -> dict[str, str]:
    """The text of each file by its path; two sources never share one."""
    from headrace.migration.errors import MigrationError  # noqa: PLC0415 - as above

    files: dict[str, str] = {}
    for each in found:
        for output in each.outputs:
            if output.path in files:
                problem = (
                    f'another source is written to "{output.path}" too; migrate them one by one, --to a folder each'
                )
                raise MigrationError(each.source, 0, "", problem)
            files[output.path] = as_yaml([dict(manifest) for manifest in output.manifests]) or output.text
    return files


def _as_json(found: Sequence[Migrated]) -> str:
    from headrace.migration.report import as_json  # noqa: PLC0415 - as above

    return json.dumps([as_json(each) for each in found], indent=2, ensure_ascii=False)


def _as_text(found: Sequence[Migrated], to: Path, written: int, *, dry_run: bool) -> str:
    from headrace.migration.report import Outcome, as_text  # noqa: PLC0415 - as above

    left = sum(len(each.of(Outcome.LEFT)) for each in found)
    end = "nothing was written (--dry-run)" if dry_run else f"{counted(written, 'file')} written below {to}"
    return "\n".join([*map(as_text, found), f"{end}; {counted(left, 'part')} left behind"])
