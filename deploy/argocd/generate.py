"""
Argo CD's settings for our kinds, from the Lua files of this folder.

    lua/prelude.lua                 put before each health check, as Argo CD runs every script alone
    lua/KIND/health.lua
    lua/KIND/actions/discovery.lua  which actions an object has now
    lua/KIND/actions/NAME.lua       one action

    values.yaml       for the chart argo-cd: helm upgrade argo-cd argo/argo-cd --values values.yaml
    argocd-cm.yaml    the same as a patch: kubectl patch configmap argocd-cm --patch-file argocd-cm.yaml

`python -m deploy.argocd.generate` writes both; with --check it says whether they are current.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from headrace.api import keys

HERE = Path(__file__).parent
LUA = HERE / "lua"
KINDS = (
    keys.FLOWS.kind,
    keys.DEPLOYMENTS.kind,
    keys.FLOWRUNS.kind,
    keys.WORKPOOLS.kind,
    keys.CONCURRENCYLIMITS.kind,
    keys.BACKFILLS.kind,
    keys.AUTOMATIONS.kind,
)
HEAD = "# Generated from lua/ by `python -m deploy.argocd.generate`; change it there.\n"


def main(arguments: list[str]) -> int:
    """Exit status 1 with --check where a file is not current."""
    stale = [path for path, text in files().items() if not path.exists() or path.read_text() != text]
    if "--check" in arguments:
        for path in stale:
            sys.stderr.write(f"{path.relative_to(HERE)} is out of date: python -m deploy.argocd.generate\n")
        return 1 if stale else 0
    for path in stale:
        path.write_text(files()[path])
    return 0


def files() -> dict[Path, str]:
    """What is generated, by its path."""
    patch = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "argocd-cm",
            "namespace": "argocd",
            "labels": {"app.kubernetes.io/name": "argocd-cm", "app.kubernetes.io/part-of": "argocd"},
        },
        "data": customizations(),
    }
    return {
        HERE / "values.yaml": HEAD + _yaml({"configs": {"cm": customizations()}}),
        HERE / "argocd-cm.yaml": HEAD + _yaml(patch),
    }


def customizations() -> dict[str, str]:
    """Entries of the ConfigMap argocd-cm, by their keys."""
    found: dict[str, str] = {}
    for kind in KINDS:
        name = f"{keys.GROUP}_{kind}"
        health = (LUA / "prelude.lua").read_text() + "\n" + (LUA / kind / "health.lua").read_text()
        found[f"resource.customizations.health.{name}"] = health
        if (LUA / kind / "actions").is_dir():
            found[f"resource.customizations.actions.{name}"] = _yaml(_actions(LUA / kind / "actions"))
    return found


def _actions(folder: Path) -> dict[str, Any]:
    scripts = sorted(path for path in folder.glob("*.lua") if path.name != "discovery.lua")
    return {
        "discovery.lua": (folder / "discovery.lua").read_text(),
        "definitions": [{"name": path.stem, "action.lua": path.read_text()} for path in scripts],
    }


class _Dumper(yaml.SafeDumper):
    """Text of several lines as it was written."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def _yaml(content: Any) -> str:
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=120)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
