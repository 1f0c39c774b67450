"""Sources of the tests, and what comes of them."""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path

import yaml

from headrace.cli.render import as_yaml
from headrace.migration.report import Migrated, Outcome, as_text
from headrace.migration.sources import Options, migrate

HERE = Path(__file__).parent
SOURCES = HERE / "sources"
EXPECTED = HERE / "expected"
EXAMPLES = ("prefect.yaml", "flows/orders.py", "plain.py", "served.py", "crontab", "system-crontab", "cronjobs.yaml")


def migrated_example(*names: str) -> list[Migrated]:
    """What comes of these examples, as if the user stood in their folder."""
    with chdir(SOURCES):
        return migrate([Path(name) for name in names], Options())


def migrated_text(folder: Path, name: str, text: str, **options: str) -> Migrated:
    """What comes of one source with this text."""
    place = folder / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(text.encode())
    with chdir(folder):
        return migrate([Path(name)], Options(**options))[0]


def files_of(found: list[Migrated]) -> dict[str, str]:
    """The text of each file, and the reports."""
    files = {
        output.path: as_yaml([dict(each) for each in output.manifests]) if output.manifests else output.text
        for each in found
        for output in each.outputs
    }
    return files | {"report.txt": "\n".join(map(as_text, found)) + "\n"}


def manifests_of(found: Migrated, kind: str = "") -> list[dict]:
    """The manifests of this kind, as YAML holds them."""
    return [
        manifest
        for output in found.outputs
        for manifest in yaml.safe_load_all(as_yaml([dict(each) for each in output.manifests]))
        if manifest and kind in ("", manifest["kind"])
    ]


def texts(found: Migrated, outcome: Outcome) -> list[str]:
    """Findings as the report shows them: "line part: text"."""
    return [f"{each.line} {each.part}: {each.text}" for each in found.of(outcome)]


def module_of(found: Migrated) -> str:
    """The rewritten module."""
    return next(output.text for output in found.outputs if output.path.endswith(".py"))


def folder_of(name: str) -> Path:
    """Where the golden files of an example are."""
    return EXPECTED / name.replace("/", "-").replace(".", "-")


def write_expected() -> None:
    """Writes the golden files anew; read the difference before you commit it."""
    for name in EXAMPLES:
        for path, text in files_of(migrated_example(name)).items():
            place = folder_of(name) / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)


if __name__ == "__main__":
    write_expected()
