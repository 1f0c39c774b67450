"""
The Secrets and ConfigMaps that a flow reads: volumes of its pod, and the variables that tell its process of them.

The process of a Python flow must show no secret, so it is told of each that it gets: those of `envFrom` are mounted too, as
nobody but the kubelet knows the names of their keys; variables from a key of a Secret are named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from headrace.api import keys
from headrace_operator.decide.snapshot import ResolvedFlow

SECRETS_DIR = "/opt/headrace/secrets"
VARIABLES_DIR = "/opt/headrace/variables"
READABLE_BY_ALL = 0o444
"""Inside the container: its process may run as any user, and none but root could read a narrower mode without fsGroup."""


def with_sources(manifest: dict[str, Any], flow: ResolvedFlow) -> dict[str, Any]:
    """
    The pod with what the flow reads, and what its process must know of it.

    Args:
        manifest: With all templates merged in. Where one has put something that is no pod, it is left for the API
            server to refuse.
    """
    spec = manifest.get("spec")
    container = next((each for each in _mappings(spec, "containers") if each.get("name") == keys.FLOW_CONTAINER), None)
    if not isinstance(spec, Mapping) or container is None:
        return manifest
    secrets, maps = _secrets(container, flow), [(name, False) for name in flow.spec.variables]
    volumes = [*_volumes("secret", secrets, "secretName"), *_volumes("configMap", maps, "name")]
    mounts = [*_mounts("secret", SECRETS_DIR, secrets), *_mounts("configMap", VARIABLES_DIR, maps)]
    told = {
        "HEADRACE_SECRETS_DIR": SECRETS_DIR if secrets else "",
        "HEADRACE_VARIABLES_DIR": VARIABLES_DIR if maps else "",
        "HEADRACE_REDACT_ENV": ",".join(_named(container)) if flow.spec.entrypoint else "",
    }
    env = [{"name": name, "value": value} for name, value in told.items() if value]
    added = {"env": env, "volumeMounts": mounts}
    filled = {**container, **{key: [*_list(container, key), *more] for key, more in added.items() if more}}
    containers = [filled if each is container else each for each in spec["containers"]]
    return {
        **manifest,
        "spec": {
            **spec,
            "containers": containers,
            **({"volumes": [*_list(spec, "volumes"), *volumes]} if volumes else {}),
        },
    }


def _secrets(container: Mapping[str, Any], flow: ResolvedFlow) -> list[tuple[str, bool]]:
    """
    Each Secret by its name, and whether the pod may start without it.

    Those of `envFrom` may be missing here: what the kubelet says of a missing variable is clearer than of a volume.
    """
    found = dict.fromkeys(flow.spec.secrets, False)
    for each in _mappings(container, "envFrom") if flow.spec.entrypoint else ():
        source = each.get("secretRef")
        if isinstance(source, Mapping) and isinstance(source.get("name"), str):
            found.setdefault(source["name"], True)
    return list(found.items())


def _named(container: Mapping[str, Any]) -> Iterator[str]:
    """Variables whose value is a key of a Secret."""
    for each in _mappings(container, "env"):
        source = each.get("valueFrom")
        if isinstance(source, Mapping) and source.get("secretKeyRef"):
            yield str(each.get("name"))


def _volumes(kind: str, sources: Sequence[tuple[str, bool]], key: str) -> Iterator[dict[str, Any]]:
    for index, (name, optional) in enumerate(sources):
        source = {key: name, "defaultMode": READABLE_BY_ALL, **({"optional": True} if optional else {})}
        yield {"name": _volume(kind, index), kind: source}


def _mounts(kind: str, folder: str, sources: Sequence[tuple[str, bool]]) -> Iterator[dict[str, Any]]:
    for index, (name, _) in enumerate(sources):
        yield {"name": _volume(kind, index), "mountPath": f"{folder}/{name}", "readOnly": True}


def _volume(kind: str, index: int) -> str:
    """Names of objects may be longer than those of volumes."""
    return f"headrace-{kind.lower()}-{index}"


def _list(holder: Mapping[str, Any], key: str) -> list[Any]:
    found = holder.get(key)
    return found if isinstance(found, list) else []


def _mappings(holder: Any, key: str) -> Iterator[Mapping[str, Any]]:
    entries = _list(holder, key) if isinstance(holder, Mapping) else []
    return (each for each in entries if isinstance(each, Mapping))
