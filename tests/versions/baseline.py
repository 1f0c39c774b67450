"""
The definitions as the last release has them.

    python -m tests.versions.baseline      takes today's: a step of each release, when nothing in them breaks what was before
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from headrace.api.crd import custom_resource_definitions

FOLDER = Path(__file__).parent / "baseline"


def stored() -> dict[str, dict[str, Any]]:
    """The definitions of the last release, by name."""
    found = (json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json")))
    return {definition["metadata"]["name"]: definition for definition in found}


def bare(definition: Any) -> Any:
    """Without texts for people, which may change."""
    if isinstance(definition, dict):
        return {
            key: bare(value)
            for key, value in definition.items()
            if key != "additionalPrinterColumns" and not (key in {"description", "message"} and isinstance(value, str))
        }
    return [bare(each) for each in definition] if isinstance(definition, list) else definition


def write() -> None:
    """Today's definitions become the baseline."""
    FOLDER.mkdir(exist_ok=True)
    for definition in custom_resource_definitions():
        path = FOLDER / f"{definition['spec']['names']['plural']}.json"
        path.write_text(json.dumps(bare(definition), indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    write()
