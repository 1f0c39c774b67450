"""
Writes what is made from the chart, and what the chart takes from the operator.

    python -m charts.generate            writes
    python -m charts.generate --check    writes nothing, exits with 1 and names what is out of date

values.schema.json has `settings` from the operator's own; docs/install.md has a table of all values; config/ has what the chart
renders, for `kubectl apply -k config/default` (its definitions are written by `make crds`).
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel

from headrace.devcluster.progress import Silent
from headrace_dashboard.settings import Settings as DashboardSettings
from headrace_operator.settings import Settings
from tests.gotools import provide
from tests.tools import HELM

ROOT: Final = Path(__file__).parents[1]
CHART: Final = ROOT / "charts" / "headrace"
SCHEMA: Final = CHART / "values.schema.json"
PAGE: Final = ROOT / "docs" / "install.md"
CONFIG: Final = ROOT / "config"
NAMESPACE: Final = "headrace-system"
OLDEST: Final = "--kube-version=1.32.0"
"""Of the clusters that are supported; a Helm that was built without its release's flags assumes 1.20."""
HEADER: Final = "# Generated from charts/headrace by `make manifests`; edit the chart.\n"
SET_BY_THE_CHART: Final = {
    "namespace": "operator.namespaces",
    "operator_namespace": "the release's namespace",
    "cluster_objects": "operator.namespaces",
    "identity": "the pod's name",
    "default_image": "runtimeImage",
    "history_url": "history",
    "webhook_port": "webhook",
    "webhook_name": "webhook",
    "webhook_certificate": "webhook.certificate",
}
"""Settings that are no value of `settings`, and what they follow from."""
DASHBOARD_SET_BY_THE_CHART: Final = {
    "host": "all addresses of the pod",
    "port": "dashboard.port",
    "auth": "dashboard.auth",
    "proxy_secret": "dashboard.proxySecret",
    "history_url": "dashboard.history",
}
"""The same for `dashboard.settings`."""
TABLE: Final = re.compile(r"(<!-- values -->\n).*(<!-- /values -->)", re.DOTALL)
HELM_LABELS: Final = ("helm.sh/chart", "app.kubernetes.io/managed-by")


def generated_files() -> dict[Path, str]:
    """The content of every generated file."""
    schema = current_schema()
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    rows = "".join(f"| {path} | {default} | {text} |\n" for path, default, text in described(schema, values))
    table = "| value | default | meaning |\n| --- | --- | --- |\n" + rows
    page = TABLE.sub(lambda found: found[1] + table + found[2], PAGE.read_text())
    return {SCHEMA: json.dumps(schema, indent=2) + "\n", PAGE: page} | plain_manifests()


def current_schema() -> dict[str, Any]:
    """The schema of the values, with the operator's settings as they are."""
    schema: dict[str, Any] = json.loads(SCHEMA.read_text())
    schema["properties"]["settings"] = {
        "type": "object",
        "description": "Settings of the operator, `HEADRACE_<NAME>`; more on each in [operations.md](operations.md#settings).",
        "additionalProperties": False,
        "properties": fields_of(Settings, SET_BY_THE_CHART),
    }
    # Patterns, as `properties` would each need a default in values.yaml.
    fields = fields_of(DashboardSettings, DASHBOARD_SET_BY_THE_CHART)
    given = schema["properties"]["dashboard"]["properties"]["settings"]
    given["patternProperties"] = {f"^{name}$": field for name, field in fields.items()}
    given["additionalProperties"] = False
    return schema


def fields_of(settings: type[BaseModel], left_out: Container[str]) -> dict[str, Any]:
    """The schema of each setting but these, by its name in values."""
    return {
        camel(name): {key: value for key, value in field.items() if key not in {"title", "default"}}
        for name, field in settings.model_json_schema()["properties"].items()
        if name not in left_out
    }


def camel(name: str) -> str:
    """`leader_lease_s` as `leaderLeaseS`."""
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def described(schema: Mapping[str, Any], values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str, str]]:
    """Path, default and description of each value and each group of them, in the order of values.yaml."""
    for name, value in values.items():
        field = schema["properties"][name]
        if "properties" in field:
            yield f"**{path}{name}**", "", field["description"]
            yield from described(field, value, f"{path}{name}.")
        else:
            default = "" if value in ("", [], {}) else f"`{json.dumps(value)}`"
            yield f"`{path}{name}`", default.replace("|", "\\|"), field["description"].replace("|", "\\|")


def plain_manifests() -> dict[Path, str]:
    """What is under config/: the chart's defaults, for a cluster without Helm."""
    objects = [a_namespace(), *map(_without_helm, rendered("--set=crds.install=false", "--no-hooks"))]
    return {
        CONFIG / "crds" / "kustomization.yaml": _manifest([_kustomization("crds.yaml")]),
        CONFIG / "default" / "headrace.yaml": _manifest(objects),
        CONFIG / "default" / "kustomization.yaml": _manifest([_kustomization("../crds", "headrace.yaml")]),
    }


def rendered(*options: str) -> list[dict[str, Any]]:
    """What the chart makes of its defaults and these options of `helm template`."""
    helm = provide(HELM, Silent()).program
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [helm, "template", "headrace", CHART, f"--namespace={NAMESPACE}", OLDEST, *options],
            env={f"HELM_{part}_HOME": home for part in ("CACHE", "CONFIG", "DATA")},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        msg = f"helm template of {CHART} ended with status {done.returncode}: {done.stderr}"
        raise SystemExit(msg)
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def a_namespace() -> dict[str, Any]:
    """The operator's; nothing in it needs more than `restricted` allows."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}


def _kustomization(*resources: str) -> dict[str, Any]:
    return {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": list(resources)}


def _without_helm(manifest: dict[str, Any]) -> dict[str, Any]:
    for holder in (manifest, (manifest.get("spec") or {}).get("template") or {}):
        for label in HELM_LABELS:
            holder.get("metadata", {}).get("labels", {}).pop(label, None)
    return manifest


def _manifest(objects: Sequence[Mapping[str, Any]]) -> str:
    return HEADER + yaml.safe_dump_all(objects, sort_keys=False, width=120, allow_unicode=True)


def main(arguments: Sequence[str]) -> int:
    """Exit status: 0 when the files are current or were written, 1 when `--check` finds a difference."""
    stale = {path: text for path, text in generated_files().items() if not path.is_file() or path.read_text() != text}
    if "--check" in arguments:
        for path in stale:
            sys.stderr.write(f"{path.relative_to(ROOT)}: differs from the chart; run `make manifests`\n")
        return int(bool(stale))
    for path, text in stale.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
