"""The sources of a migration: what each is, and what comes of it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from headrace.migration import cronjob, crontab, prefect_yaml, python_source
from headrace.migration.errors import MigrationError
from headrace.migration.names import Names
from headrace.migration.prefect_deployments import Case, Code
from headrace.migration.report import Migrated
from headrace.migration.yamlfiles import documents

YAML = {".yaml", ".yml", ".json"}


@dataclass(frozen=True, slots=True)
class Options:
    """What holds for every source. `namespace` may be empty; `image` is for the commands of crontabs."""

    namespace: str = ""
    image: str | None = None


def migrate(sources: Sequence[Path], options: Options) -> list[Migrated]:
    """
    What comes of each source; nothing is written. Names are unique over all of them.

    Raises: MigrationError: one cannot be read, or holds what cannot be migrated; the error says what to do.
    """
    names = Names()
    return [_one(path, options, names) for path in sources]


def _one(path: Path, options: Options, names: Names) -> Migrated:
    text = _text(path)
    if path.suffix == ".py":
        return python_source.migrated(path, text, place=_place(path), names=names, namespace=options.namespace)
    if path.suffix not in YAML:
        return crontab.migrated(path, text, names=names, namespace=options.namespace, image=options.image)
    found = documents(text, path)
    if found and isinstance(found[0], Mapping) and "deployments" in found[0] and "kind" not in found[0]:
        return prefect_yaml.migrated(
            path, found[0], lambda entry, case: _code(path, entry, case), names=names, namespace=options.namespace
        )
    if any(_is_kubernetes(each) for each in found):
        return cronjob.migrated(path, found, names=names, namespace=options.namespace)
    problem = "it is neither a prefect.yaml (with deployments) nor manifests of CronJobs (with kind); name another file"
    raise MigrationError(str(path), 0, "", problem)


def _text(path: Path) -> str:
    if path.is_dir():
        raise MigrationError(str(path), 0, "", f"it is a folder; name its files, such as {path}/*.py")
    try:
        return path.read_bytes().decode("utf-8-sig")  # line ends stay as they are
    except OSError as error:
        raise MigrationError(
            str(path), 0, "", f"it cannot be read ({error.strerror}); name a file that is there"
        ) from None
    except UnicodeDecodeError:
        raise MigrationError(str(path), 0, "", "it is no UTF-8 text; name another file") from None


def _is_kubernetes(document: Any) -> bool:
    return isinstance(document, Mapping) and "kind" in document


def _place(path: Path) -> PurePosixPath:
    """A module keeps its folders below the working folder, so that its imports still work; one from elsewhere has none."""
    here = Path(os.path.relpath(path))
    return PurePosixPath(path.name if here.parts[0] == ".." else here.as_posix())


def _code(path: Path, entrypoint: str, case: Case) -> Code | None:
    module, _, function = entrypoint.rpartition(":")
    file = module if module.endswith(".py") else f"{module.replace('.', '/')}.py"
    found = python_source.code_of(path.parent / file, function, case)
    # Only a file can go into a Flow: a module's name belongs to an image.
    return found if found is None or module.endswith(".py") else Code(found.name, found.spec)
